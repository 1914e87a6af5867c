"""Functions of the caller among the arguments of a call: a number stands for each, as code never travels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Malformed
from .frame import Sink
from .tags import Refused, encodes

__all__ = ["MAX_FUNCTIONS", "TAG", "Function", "FunctionOf", "Functions"]

MAX_FUNCTIONS = 64
TAG = "function"

FunctionOf = Callable[[int], object]
"""Returns what a receiver puts in the place of the caller's function with this number."""


@dataclass(frozen=True, slots=True)
class Function:
    """Stands for a function that stays at the caller.

    Attributes
    ----------
    index : int
        Its number among the functions of the call, 0 to 63.
    """

    index: int


@encodes(Function)
def _function(value: Function, sink: Sink) -> tuple[str, object]:
    if type(value.index) is not int or not 0 <= value.index < MAX_FUNCTIONS:
        raise Refused(
            value,
            f"it is function number {value.index}, and a call takes {MAX_FUNCTIONS} (0 to {MAX_FUNCTIONS - 1})",
            "Give one function that does the work of several",
        )
    return TAG, value.index


class Functions:
    """The functions of one received frame; each is asked for once, so that one given twice arrives as one."""

    __slots__ = ("_found", "_function_of")

    def __init__(self, function_of: FunctionOf) -> None:
        self._function_of = function_of
        self._found: dict[int, object] = {}

    def take(self, index: object) -> object:
        """Return what stands for the function with this number."""
        if type(index) is not int or not 0 <= index < MAX_FUNCTIONS:
            raise Malformed(f"the number of a function is not one of 0 to {MAX_FUNCTIONS - 1}")
        if index not in self._found:
            self._found[index] = self._function_of(index)
        return self._found[index]
