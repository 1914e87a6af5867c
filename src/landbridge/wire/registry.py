"""Types of users: names of their own on the wire, and the functions that take such values apart and make them."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ..errors import InvalidName, Malformed, printable
from .places import LEAVES
from .tags import Refused, encoder_for

__all__ = ["OWN", "UnknownType", "decode_own", "encode_own", "register"]

T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}(?:\.[a-z0-9][a-z0-9-]{0,62}){1,7}/[a-z][a-z0-9_-]{0,62}")
_MAX_NAME = 200
_BY_MSGPACK = LEAVES | {bytes, list, dict}


class UnknownType(Malformed):
    """A value of a type that its sender registered and this side did not; field `name`."""

    def __init__(self, name: str) -> None:
        super().__init__("a type is not registered")
        self.name = printable(name, _MAX_NAME)
        self.reason = f"the type {self.name!r} is not registered here"
        self.args = (
            f"Received a value of the type {self.name!r}, which is not registered here. Import the package that "
            f"registers it, call landbridge.register(cls, {self.name!r}, encode, decode) yourself, or ask the sender "
            "for a plain value.",
        )


class _Own(NamedTuple):
    cls: type
    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]


OWN: dict[type, _Own] = {}
_by_name: dict[str, _Own] = {}


def register(cls: type[T], name: str, encode: Callable[[T], object], decode: Callable[[Any], T]) -> None:
    """Let the objects of a class travel, as arguments, results and inside other values.

    Both sides have to register the class, so it best stands in the module that defines it. Code never travels:
    `decode` runs only where it was registered, on whatever a peer sends under `name`, so it has to check that.

    Parameters
    ----------
    cls : type
        The class. Objects of its subclasses do not travel with it; register them under names of their own.
        Enumerations, dataclasses, named tuples and models need no name: they travel where the signature names them.
    name : str
        Its name on the wire, under a domain of yours so that no others use it: ``"org.example/quake"``, a reversed
        domain with at least one dot, a slash, and a short name in lower case.
    encode : callable
        ``encode(obj)`` gives a value that travels: numbers, text, lists, dicts, arrays, data sets, tables …
    decode : callable
        ``decode(value)`` gives the object back; what `encode` gave arrives as it was.

    Raises
    ------
    InvalidName
        When `name` is not of that form, when the class or the name already stands for something else, or when objects
        of the class travel otherwise. To register a class of the same module and name again is no error: the latest
        counts.
    TypeError
        When `cls` is no class, or a function can not be called.

    Examples
    --------
    >>> class Quake:
    ...     def __init__(self, magnitude, trace):
    ...         self.magnitude, self.trace = magnitude, trace
    >>> register(Quake, "org.example/quake", lambda quake: [quake.magnitude, quake.trace], lambda parts: Quake(*parts))
    >>> from landbridge.wire import decode, encode
    >>> decode(b"".join(encode({"last": Quake(6.1, [0.0, 0.5])})))["last"].magnitude
    6.1
    """
    if not isinstance(cls, type) or not callable(encode) or not callable(decode):
        raise TypeError("landbridge.register takes a class, a name, and two functions.")
    if not isinstance(name, str) or len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidName(name, "registered type", 'it is not of the form "org.example/quake"')
    if cls in _BY_MSGPACK or encoder_for(cls) is not None:
        raise InvalidName(name, "registered type", f"objects of {_called(cls)} travel without it")
    if reason := _reason_to_stay(cls):
        raise InvalidName(name, "registered type", reason)
    before = _by_name.get(name)
    if before is not None and _called(before.cls) != _called(cls):
        raise InvalidName(name, "registered type", f"it already is the name of {_called(before.cls)}")
    other = next((own for own in _by_name.values() if _called(own.cls) == _called(cls) and own.name != name), None)
    if other is not None:
        raise InvalidName(name, "registered type", f"{_called(cls)} is registered as {other.name!r}")
    own = _Own(cls, name, encode, decode)
    if before is not None:
        OWN.pop(before.cls, None)
    OWN[cls] = _by_name[name] = own


def _reason_to_stay(cls: type) -> str | None:
    """Return why objects of a class would never get here: a call makes them plain, or functions, before."""
    if dataclasses.is_dataclass(cls) or issubclass(cls, enum.Enum) or hasattr(cls, "__pydantic_fields__"):
        return f"enumerations, dataclasses and models such as {_called(cls)} travel where the signature names them"
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return f"named tuples such as {_called(cls)} travel where the signature names them"
    if any("__call__" in base.__dict__ for base in cls.__mro__):
        return f"objects of {_called(cls)} can be called, so they travel as functions, which stay where they are"
    return None


def _called(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def encode_own(value: object) -> tuple[str, object]:
    """Return the name of a registered type, and what its function makes of `value`."""
    own = OWN[type(value)]
    try:
        return own.name, own.encode(value)
    except Exception as error:
        raise Refused(
            value,
            f"the function registered to encode {own.name!r} raised {type(error).__name__}: {printable(error, 200)}",
            "Correct that function, or the value",
        ) from error


def decode_own(name: str, payload: object) -> object:
    """Return what the function registered under `name` makes of a received value.

    Raises
    ------
    UnknownType
        When nothing is registered under that name.
    Malformed
        When the function raises, or makes an object of another class.
    """
    own = _by_name.get(name)
    if own is None:
        raise UnknownType(name)
    try:
        made = own.decode(payload)
    except MemoryError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {printable(error, 200)}"
        raise Malformed(f"the function registered to decode {name!r} raised {said}") from error
    if type(made) is not own.cls:
        kind = printable(type(made).__name__, 60)
        raise Malformed(f"the function registered to decode {name!r} made a {kind}, no {_called(own.cls)}")
    return made
