"""The two functions of this package: a value to the parts of a frame, and back.

msgpack does the plain part in C. What it does not know comes to a hook, is looked up by its exact type, and becomes
ext type 1 holding ``msgpack([tag, payload])``; a payload is plain again, or holds further values for the hook.
"""

from __future__ import annotations

import re
from typing import Any

import msgpack

from ..errors import CannotTravel, LandbridgeError, Malformed, TooLarge
from . import plain, times  # noqa: F401 - they fill the tables
from .frame import DEFAULT, INLINE_BYTES, MAJOR, MINOR, Limits, Part, Sink, Source, frame_parts, split_frame
from .functions import TAG as _FUNCTION
from .functions import FunctionOf, Functions
from .places import LEAVES, TooDeep, TooMany, locate, survey
from .references import ReferenceData, ReferenceOf
from .refusals import refusal
from .registry import OWN, decode_own, encode_own
from .tags import Inner, Refused, decoder_for, encoder_for

__all__ = ["decode", "encode"]

_EXT = 1
_LONG_TEXT = 64 * 1024
_SWALLOWED = frozenset({memoryview, msgpack.ExtType, msgpack.Timestamp})
"""Types that msgpack would write as something else although we never asked it to."""

_AWKWARD = _SWALLOWED | {bytearray, bytes}
_NUMBERS = frozenset({type(None), bool, int, float})


class _Prefixes(dict[str, bytes]):
    def __missing__(self, tag: str) -> bytes:
        prefix: bytes = b"\x92" + msgpack.packb(tag)
        self[tag] = prefix
        return prefix


_PREFIXES = _Prefixes()


class _Writer(Sink):
    """One frame being written. Kept for the next frame, because making a msgpack packer costs more than its work."""

    __slots__ = ("level", "packers", "rewrite")

    def __init__(self) -> None:
        super().__init__()
        self.packers: list[Any] = []
        self.level = 0
        self.rewrite = False

    def pack(self, value: object) -> bytes:
        # One packer per level: a packer that is called again from its own hook mixes both outputs without a word.
        if self.level == len(self.packers):
            self.packers.append(msgpack.Packer(default=self.hook, strict_types=True, buf_size=1024))
        packer = self.packers[self.level]
        self.level += 1
        packed: bytes = packer.pack(self.rewritten(value) if self.rewrite else value)
        self.level -= 1
        return packed

    def hook(self, value: object) -> Any:
        kind = type(value)
        encoder = encoder_for(kind)
        if encoder is None:
            if kind is Inner:
                return self.inner(value)  # type: ignore[arg-type]
            if kind in OWN:
                return self.own(value)
            raise refusal(value)
        tag, payload = encoder(value, self)
        if kind is set or kind is frozenset:
            # Sorted by their bytes, so that equal sets give equal frames whatever the order of their hashes.
            elements = sorted(self.pack(element) for element in payload)  # type: ignore[attr-defined]
            return msgpack.ExtType(_EXT, _PREFIXES[tag] + _array_head(len(elements)) + b"".join(elements))
        return msgpack.ExtType(_EXT, _PREFIXES[tag] + self.pack(payload))

    def inner(self, part: Inner) -> Any:
        try:
            return self.hook(part.value)
        except Refused as refused:
            inside = locate(part.value, refused.culprit, depth=DEFAULT.depth) or ""
            at = part.place + inside.removeprefix("value") + refused.at
            raise Refused(part.owner, refused.reason, refused.advice, at) from refused.__cause__

    def own(self, value: object) -> Any:
        """Write a value of a registered type; nobody has looked into what its function gives yet."""
        name, payload = encode_own(value)
        if self.level > DEFAULT.depth:
            raise TooDeep
        odd = survey(payload, depth=DEFAULT.depth, items=DEFAULT.items)
        self.rewrite = self.rewrite or not odd.isdisjoint(_AWKWARD)
        try:
            return msgpack.ExtType(_EXT, _PREFIXES[name] + self.pack(payload))
        except Refused as refused:
            inside = (locate(payload, refused.culprit, depth=DEFAULT.depth) or "value") + refused.at
            at = f" (encoded as {name}: {inside})"
            raise Refused(value, refused.reason, refused.advice, at) from refused.__cause__

    def rewritten(self, value: object) -> object:
        """Return `value` with everything marked that msgpack would inline, convert or take for something else."""
        kind = type(value)
        if kind is list:
            if _NUMBERS.issuperset(map(type, value)):  # type: ignore[call-overload]
                return value
            return [self.rewritten(child) for child in value]  # type: ignore[attr-defined]
        if kind is dict:
            return {self.rewritten(key): self.rewritten(child) for key, child in value.items()}  # type: ignore[attr-defined]
        if kind is bytearray or (kind is bytes and len(value) >= INLINE_BYTES):  # type: ignore[arg-type]
            return plain.Blob(value)  # type: ignore[arg-type]
        if kind is str and len(value) >= _LONG_TEXT:  # type: ignore[arg-type]
            return plain.Blob(value)  # type: ignore[arg-type]
        if kind in _SWALLOWED:
            raise refusal(value)
        return value


def _array_head(length: int) -> bytes:
    if length < 16:
        return bytes((0x90 | length,))
    return b"\xdc" + length.to_bytes(2, "big") if length < 2**16 else b"\xdd" + length.to_bytes(4, "big")


_idle: list[_Writer] = []


def encode(value: object, *, itemsizes: list[int] | None = None) -> list[Part]:
    """Return the parts of one frame holding `value`.

    Arrays are not copied if they are contiguous: the parts are views of them, so send before changing them.

    Parameters
    ----------
    value : object
        Any value that travels; ``spec/wire.md`` lists the types.
    itemsizes : list of int, optional
        Is filled with the size of the items of each buffer, in bytes, for whoever compresses them.

    Returns
    -------
    list of bytes or memoryview
        Their concatenation is the frame.

    Raises
    ------
    CannotTravel
        When something inside would not arrive exactly; the text tells where it stands.
    TooLarge
        When so much of the value is no array or binary data that it passes the header's limit.

    Examples
    --------
    >>> b"".join(encode(3)).hex()
    '4c420100010000000000000003'
    """
    try:
        writer = _idle.pop()
    except IndexError:
        writer = _Writer()
    grown = False
    try:
        if type(value) not in LEAVES:
            odd = survey(value, depth=DEFAULT.depth, items=DEFAULT.items)
            writer.rewrite = not odd.isdisjoint(_AWKWARD)
        header = writer.pack(value)
        if len(header) > _LONG_TEXT:
            grown = True
            header = _shortened(writer, value, header)
        if len(writer.buffers) > DEFAULT.buffers:
            raise CannotTravel("value", f"it has more than {DEFAULT.buffers:,} long arrays or texts", _JOIN_ARRAYS)
        parts = frame_parts(header, writer.buffers)
        if itemsizes is not None:
            itemsizes += writer.itemsizes
    except Refused as refused:
        raise _cannot_travel(value, refused) from refused.__cause__
    except UnicodeEncodeError as error:
        raise _cannot_travel(value, Refused(error.object, *_SURROGATE)) from None
    except (TooDeep, RecursionError):
        raise CannotTravel(*_depth_problem(value)) from None
    except TooMany:
        raise CannotTravel("value", f"it has more than {DEFAULT.items:,} entries", _USE_ARRAYS) from None
    if writer.buffers or writer.rewrite:
        writer.buffers, writer.itemsizes, writer.rewrite = [], [], False
    if not grown:  # a packer never gives back the memory of its largest message
        _idle.append(writer)
    return parts


_SURROGATE = (
    "it is text with half of a surrogate pair, which is not Unicode",
    'Clean it with .encode("utf-8", "replace").decode(), or send bytes',
)
_JOIN_ARRAYS = "Join them to fewer: one array of several dimensions, columns of one dtype"
_USE_ARRAYS = "Send numbers as a NumPy array, and long text or bytes as one value"


# The marker of a msgpack string whose length, four bytes, is 64 Ki to 16 Mi. It may turn up in numbers by chance,
# which costs a second pass and nothing else.
_MARK_OF_LONG_TEXT = re.compile(rb"\xdb\x00[^\x00]", re.DOTALL)


def _shortened(writer: _Writer, value: object, header: bytes) -> bytes:
    """Return the header with long texts moved to buffers; looking for them is only worth it if there is much header."""
    if len(header) >= 2**24 or _MARK_OF_LONG_TEXT.search(header):
        writer.rewrite = True
        writer.buffers, writer.itemsizes = [], []
        header = writer.pack(value)
    if len(header) > DEFAULT.header_bytes:
        raise TooLarge("The part of the value that is not arrays", len(header), DEFAULT.header_bytes, _USE_ARRAYS)
    return header


def _cannot_travel(value: object, refused: Refused) -> CannotTravel:
    where = (locate(value, refused.culprit, depth=DEFAULT.depth) or "value") + refused.at
    if refused.advice is None:
        return CannotTravel(where, refused.reason)
    return CannotTravel(where, refused.reason, refused.advice)


def _depth_problem(value: object) -> tuple[str, str, str]:
    where = locate(value, TooDeep, depth=DEFAULT.depth) or "value"
    if len(where) > 60:
        where = where[:40] + "…" + where[-16:]
    return where, f"it is nested deeper than {DEFAULT.depth} levels, or contains itself", "Flatten it"


class _Reader:
    """One frame being read."""

    __slots__ = ("functions", "level", "limits", "reference_of", "source")

    def __init__(
        self, source: Source, limits: Limits, functions: Functions | None, reference_of: ReferenceOf | None
    ) -> None:
        self.source, self.limits, self.functions, self.level = source, limits, functions, 0
        self.reference_of = reference_of

    def unpack(self, data: bytes) -> object:
        if len(data) > 1024 and (b"\xdd" in data or b"\xdc" in data):
            # msgpack takes memory for as many entries as a list announces; 200 nested lists that announce a million
            # each cost 1.6 GB. Skipping builds nothing and fails where announced entries are missing.
            skimmer = msgpack.Unpacker(None, max_buffer_size=len(data))
            skimmer.feed(data)
            skimmer.skip()
        if self.level < 4:
            return msgpack.unpackb(data, strict_map_key=False, ext_hook=self.hook, object_pairs_hook=plain.mapping)
        # Each unpackb puts 40 KB on the C stack, so that deep nesting would end the process of a thread with a small
        # one. An Unpacker keeps the same on the heap.
        unpacker = msgpack.Unpacker(
            None,
            max_buffer_size=len(data),
            strict_map_key=False,
            ext_hook=self.hook,
            object_pairs_hook=plain.mapping,
        )
        unpacker.feed(data)
        value = unpacker.unpack()
        if unpacker.tell() != len(data):
            raise Malformed("bytes follow a tagged value")
        return value

    def hook(self, code: int, data: bytes) -> object:
        if code != _EXT:
            raise Malformed(f"unknown extension type {code}")
        self.level += 1
        if self.level > self.limits.depth:
            raise Malformed(f"nested deeper than {self.limits.depth} levels")
        pair = self.unpack(data)
        self.level -= 1
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str:
            raise Malformed("a tagged value is not a pair of tag and payload")
        if pair[0] == _FUNCTION:
            if self.functions is None:
                raise Malformed("a function, which only the arguments of a call may hold")
            return self.functions.take(pair[1])
        decoder = decoder_for(pair[0])
        if decoder is None:
            if "/" in pair[0]:
                _check_received(pair[1], self.limits)
                return decode_own(pair[0], pair[1])
            raise Malformed(f"unknown tag {pair[0][:60]!r}, which version {MAJOR}.{MINOR} of the wire does not have")
        value = decoder(pair[1], self.source)
        if type(value) is ReferenceData and self.reference_of is not None:
            return self.reference_of(value)
        return value


def decode(
    frame: bytes | bytearray | memoryview,
    *,
    limits: Limits = DEFAULT,
    function_of: FunctionOf | None = None,
    reference_of: ReferenceOf | None = None,
    read_only: bool = False,
) -> object:
    r"""Return the value that a frame holds.

    Arrays are writable and aligned. If `frame` is writable (a bytearray, or a memoryview of one) they are views of
    it and keep it alive; otherwise each is copied once, unless they may be read-only.

    Parameters
    ----------
    frame : bytes, bytearray or memoryview
        One whole frame, from anybody: nothing in it is trusted.
    limits : Limits
        What to accept.
    function_of : callable, optional
        Returns what to put in the place of the caller's function with a number, 0 to 63; asked once for each. Only
        for the arguments of a call: without it, a frame that holds functions is refused.
    reference_of : callable, optional
        Returns what to put in the place of a reference; without it, references are `ReferenceData`.
    read_only : bool
        Leave arrays of a frame that cannot be written to as views of it, which cannot be written to either.

    Raises
    ------
    Malformed
        When the frame breaks a rule.
    UnknownType
        When it holds a value of a type that nobody registered here (a `Malformed`).
    ProtocolMismatch
        When it is of a version this side does not know.
    TooLarge
        When it passes a limit in size.
    MissingExtra
        When it holds an object of xarray, pandas or another package that is not installed here.

    Examples
    --------
    >>> decode(b"LB\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x03")
    3
    """
    try:
        header, source = split_frame(frame, limits)
        functions = None if function_of is None else Functions(function_of)
        if source is not None:
            source.read_only = read_only
        reader = _Reader(source or _NOTHING, limits, functions, reference_of)
        value = reader.unpack(header)
        if source is not None:
            source.check_all_taken()
        if type(value) not in LEAVES:
            _check_received(value, limits)
    except LandbridgeError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # whatever libraries think of hostile input, callers see one error
        raise Malformed(f"{type(error).__name__} while decoding: {error!s:.200}") from error
    return value


_NOTHING = Source(memoryview(b""), [])


def _check_received(value: object, limits: Limits) -> None:
    try:
        odd = survey(value, depth=limits.depth, items=limits.items)
    except TooDeep:
        raise Malformed(f"nested deeper than {limits.depth} levels") from None
    except TooMany:
        raise Malformed(f"more than {limits.items:,} entries") from None
    if msgpack.Timestamp in odd:
        # The one thing msgpack decodes without asking us.
        raise Malformed("unknown extension type -1")
