"""The tables of tags, filled by the modules that know the types.

A tag is a short name on the wire, and its payload is made of plain msgpack values and of further tagged values.
Encoders are found by exact type, decoders by tag; nothing on the wire names a class. Packages that are slow to
import or may be missing register when the first value of theirs is met (`LATE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ..errors import Malformed
from .frame import Sink, Source

__all__ = [
    "DECODERS",
    "ENCODERS",
    "LATE",
    "STEPS",
    "Encoder",
    "Inner",
    "Refused",
    "Step",
    "decoder_for",
    "decodes",
    "encoder_for",
    "encodes",
    "fields",
    "steps_for",
]

Encoder: TypeAlias = Callable[[Any, Sink], tuple[str, object]]
Decoder: TypeAlias = Callable[[Any, Source], object]
Step: TypeAlias = tuple[str, object]
Steps: TypeAlias = Callable[[Any], Iterable[Step]]

ENCODERS: dict[type, Encoder] = {}
DECODERS: dict[str, Decoder] = {}
STEPS: dict[type, Steps] = {}
"""How to go into values that hold others and are no builtin containers: pairs of the step's text and the child."""

LATE: dict[str, Callable[[], None]] = {}
"""Top package of a type → function that registers what we know of that package."""


class Refused(Exception):
    """A value that cannot travel, before its place is known; `at` is the part inside `culprit`, such as ``.tzinfo``."""

    def __init__(self, culprit: object, reason: str, advice: str | None = None, at: str = "") -> None:
        super().__init__(reason)
        self.culprit, self.reason, self.advice, self.at = culprit, reason, advice, at


class Inner:
    """A tagged value inside a payload, and its place in the value `owner` that it is a part of.

    For parts that are made while writing: no walk through `owner` would meet the same object again, so that what is
    refused inside could not be located without this.
    """

    __slots__ = ("owner", "place", "value")

    def __init__(self, owner: object, place: str, value: object) -> None:
        self.owner, self.place, self.value = owner, place, value


def encodes(*kinds: type) -> Callable[[Encoder], Encoder]:
    """Register a function (value, sink) → (tag, payload) for exact types."""

    def register(encoder: Encoder) -> Encoder:
        ENCODERS.update(dict.fromkeys(kinds, encoder))
        return encoder

    return register


def decodes(tag: str) -> Callable[[Decoder], Decoder]:
    """Register a function (payload, source) → value for a tag."""

    def register(decoder: Decoder) -> Decoder:
        DECODERS[tag] = decoder
        return decoder

    return register


def _load_scientific() -> None:
    """Fill the tables with what is known of NumPy and its kin; only when needed, as NumPy takes 70 ms to import."""
    from . import arrays, arrow, datasets, geo, tables  # noqa: F401 - they fill the tables

    LATE.pop("numpy", None)


LATE.update(
    dict.fromkeys(
        ("numpy", "xarray", "cftime", "pandas", "pyarrow", "polars", "shapely", "geopandas", "pyproj"),
        _load_scientific,
    )
)


def _meet(kind: type) -> None:
    package = kind.__module__.partition(".")[0]
    while (register := LATE.get(package)) is not None:
        register()
        if LATE.get(package) is register:
            return


def encoder_for(kind: type) -> Encoder | None:
    """Return the encoder for exactly this type, or None."""
    if kind not in ENCODERS:
        _meet(kind)
    return ENCODERS.get(kind)


def decoder_for(tag: str) -> Decoder | None:
    """Return the decoder for a tag, or None."""
    if tag not in DECODERS and LATE.get("numpy") is _load_scientific:
        _load_scientific()
    return DECODERS.get(tag)


def steps_for(kind: type) -> Steps | None:
    """Return how to go into values of exactly this type, or None if they hold nothing."""
    if kind not in STEPS and kind not in ENCODERS:
        _meet(kind)
    return STEPS.get(kind)


def fields(payload: object, *kinds: type | tuple[type, ...]) -> list[Any]:
    """Return `payload` if it is a list of exactly these types (``object`` stands for any), else raise `Malformed`."""
    if type(payload) is not list or len(payload) != len(kinds):
        raise Malformed(f"a payload of {len(kinds)} fields was expected")
    for value, kind in zip(payload, kinds, strict=True):
        if kind is not object and type(value) is not kind and not (type(kind) is tuple and type(value) in kind):
            raise Malformed(f"a payload holds a {type(value).__name__} in a wrong place")
    return payload
