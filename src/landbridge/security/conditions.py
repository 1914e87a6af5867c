"""What arguments have to fulfil for a share to hold: ranges of numbers and times, and choices."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidName, printable

__all__ = ["Condition"]

_MOST_CHOICES = 1000
_MOST_VALUES = 100_000


@dataclass(frozen=True, slots=True)
class Condition:
    """What one argument has to fulfil.

    Attributes
    ----------
    name : str
        The parameter.
    least, most : int, float, date or datetime, optional
        The range that it, or each of its elements, must lie in; both ends belong to it.
    one_of : tuple, optional
        The values that it, or each of its elements, may have: texts, numbers, truth values; enums by name or value.
    """

    name: str
    least: Any = None
    most: Any = None
    one_of: tuple[Any, ...] | None = None

    @classmethod
    def parse(cls, name: str, said: object) -> Condition:
        """Return the condition that a policy file words as ``{min = 1980, max = 2010}`` or ``{one_of = ["a", "b"]}``.

        Raises
        ------
        InvalidName
            When it says anything else.
        """
        if not isinstance(said, Mapping) or not said or not said.keys() <= {"min", "max", "one_of"}:
            raise InvalidName(name, "condition", "it is a table of min, max, one_of")
        for key in ("min", "max"):
            if key in said and (isinstance(said[key], bool) or not isinstance(said[key], (int, float, datetime.date))):
                raise InvalidName(name, "condition", f"{key} is a number, a date or a time")
        if "min" in said and "max" in said and _kind(said["min"]) is not _kind(said["max"]):
            raise InvalidName(name, "condition", "min and max are of two kinds")
        choices = said.get("one_of")
        if choices is not None and not (
            isinstance(choices, list)
            and len(choices) <= _MOST_CHOICES
            and all(isinstance(each, (str, int, float, bool)) for each in choices)
        ):
            raise InvalidName(name, "condition", "one_of is a list of texts, numbers or truth values")
        return cls(name, said.get("min"), said.get("max"), None if choices is None else tuple(choices))

    def why_not(self, arguments: Mapping[str, Any]) -> str:
        """Return why arguments, by name, do not fulfil it; nothing when they do.

        Examples
        --------
        >>> Condition("year", 1980, 2010).why_not({"year": 2020})
        'year is 2020, and may be 1980 to 2010'
        """
        if self.name not in arguments:
            return f"{self.name} is not given"
        value = arguments[self.name]
        elements = _elements(value)
        if elements is None:
            return f"{self.name} is a {type(value).__name__}, which cannot be compared"
        for element in elements:
            if not self._allows(element):
                return f"{self.name} is {printable(element, 60)}, and may be {self}"
        return ""

    def _allows(self, element: object) -> bool:
        if self.one_of is not None and not any(_is_same(element, choice) for choice in self.one_of):
            return False
        for bound, below in ((self.least, True), (self.most, False)):
            if bound is None:
                continue
            comparable = _comparable(element, bound)
            # Asked so that what is no number (NaN) is not allowed.
            if comparable is None or not (bound <= comparable if below else comparable <= bound):
                return False
        return True

    def __str__(self) -> str:
        """Return what is allowed, as people read it."""
        parts = []
        if self.least is not None or self.most is not None:
            low, high = ("" if bound is None else str(bound) for bound in (self.least, self.most))
            parts.append(f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}")
        if self.one_of is not None:
            parts.append(f"one of {printable(', '.join(map(str, self.one_of)), 200)}")
        return " and ".join(parts)


def _kind(bound: object) -> type:
    if isinstance(bound, datetime.datetime):
        return datetime.datetime
    return datetime.date if isinstance(bound, datetime.date) else float


def _elements(value: object) -> list[Any] | None:
    """Return the elements of a list or array, or the value itself; None for what has none that can be compared."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value) if len(value) <= _MOST_VALUES else None
    item, size = getattr(value, "item", None), getattr(value, "size", 1)
    if callable(item) and isinstance(size, int):
        # NumPy's scalars and arrays: as Python's own values.
        if getattr(getattr(value, "dtype", None), "kind", "") == "M":
            value = value.astype("M8[us]")  # type: ignore[attr-defined] # others would come out as numbers
        to_list = getattr(value, "tolist", None)
        if not callable(to_list) or size > _MOST_VALUES:
            return None
        listed = to_list()
        return _flat(listed) if isinstance(listed, list) else [listed]
    return [value]


def _flat(listed: list[Any]) -> list[Any]:
    return [element for each in listed for element in (_flat(each) if isinstance(each, list) else [each])]


def _is_same(element: object, choice: object) -> bool:
    if isinstance(element, enum.Enum):
        return choice in (element.name, element.value)
    return (type(element) is type(choice) and element == choice) or (
        isinstance(element, (int, float))
        and isinstance(choice, (int, float))
        and isinstance(element, bool) is isinstance(choice, bool)
        and element == choice
    )


def _comparable(element: object, bound: object) -> Any:
    """Return an element as what can be compared with a bound; None when it cannot."""
    if isinstance(element, enum.Enum):
        element = element.value
    if _kind(bound) is float:
        return element if isinstance(element, (int, float)) and not isinstance(element, bool) else None
    if isinstance(element, str):
        try:
            element = datetime.datetime.fromisoformat(element)
        except ValueError:
            return None
    if _kind(bound) is datetime.date:
        if isinstance(element, datetime.datetime):
            return element.date()
        return element if isinstance(element, datetime.date) else None
    if not isinstance(element, datetime.datetime):
        return None
    zone = getattr(bound, "tzinfo", None)
    return element.replace(tzinfo=zone) if (element.tzinfo is None) != (zone is None) else element
