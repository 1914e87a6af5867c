"""Functions among the arguments of a call: they stay here, and the method calls them from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import wire
from ..contract import lower_arguments
from ..errors import RAISED_BUILTINS, LandbridgeError, Malformed, TooLarge, printable
from ..protocol import FUNCTION_BYTES, error_to_meta, raised_to_meta

__all__ = ["Functions", "encoded", "raised_meta"]


class Functions:
    """The functions that were given to one call, by number."""

    __slots__ = ("_functions",)

    def __init__(self) -> None:
        self._functions: list[Callable[..., Any]] = []

    def __bool__(self) -> bool:
        return bool(self._functions)

    def stand_in(self, function: Callable[..., Any]) -> wire.Function:
        """Keep a function, and return what travels in its place."""
        for number, known in enumerate(self._functions):
            if known is function:
                return wire.Function(number)
        self._functions.append(function)
        return wire.Function(len(self._functions) - 1)

    def __getitem__(self, index: int) -> Callable[..., Any]:
        return self._functions[index]

    def find(
        self, index: int, frame: memoryview | bytearray
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return a function and what the method calls it with.

        Raises
        ------
        Malformed
            When there is no such function, or these are no arguments.
        """
        asked = wire.decode(frame)
        match asked:
            case [list(args), dict(kwargs)] if index < len(self._functions) and all(type(key) is str for key in kwargs):
                return self._functions[index], tuple(args), kwargs
        raise Malformed("a method calls a function of its caller that was not given to it, or not with arguments")


def encoded(value: Any) -> list[bytes | memoryview]:
    """Return what a function gave, as it travels; raises `TooLarge` when it is too much."""
    parts: list[bytes | memoryview] = [bytes(part) for part in wire.encode(lower_arguments(value))]
    size = wire.size_bytes(parts)
    if size > FUNCTION_BYTES:
        raise TooLarge("What a function gives to a remote method", size, FUNCTION_BYTES, "Give less")
    return parts


def raised_meta(error: BaseException) -> dict[str, Any]:
    """Return what the method is told when a function of its caller has raised."""
    if isinstance(error, LandbridgeError):
        return error_to_meta(error)
    builtin = next((cls.__name__ for cls in type(error).__mro__ if RAISED_BUILTINS.get(cls.__name__) is cls), None)
    try:
        text = str(error)
    except Exception:
        text = ""
    return raised_to_meta(printable(type(error).__name__, 100), text, builtin, "")
