"""Where things stand inside a value: the survey before sending and after receiving, and the place of a culprit.

msgpack walks lists and dicts in C, which is quick but blind: it follows cycles, knows no depth limit worth the name,
and takes a bytearray for bytes. So one survey, level by level and mostly in C too (``set(map(type, ...))``), runs
before it. Only when something is refused a second, slower walk finds the way to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType

from ..errors import printable
from .frame import INLINE_BYTES
from .tags import Step, steps_for

__all__ = ["LEAVES", "TooDeep", "TooMany", "brief", "locate", "survey"]

LEAVES = frozenset({NoneType, bool, int, float, str})
"""Types that msgpack writes by itself and exactly, and that hold nothing."""

_LEAVES_AND_BYTES = LEAVES | {bytes}
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_NOTHING_ODD: frozenset[type] = frozenset()


class TooDeep(Exception):
    """More nesting than allowed, or a cycle."""


class TooMany(Exception):
    """More entries than allowed."""


def survey(root: object, *, depth: int, items: int) -> set[type] | frozenset[type]:
    """Return the types inside `root` that are neither plain nor containers; bytes only if long.

    Raises
    ------
    TooDeep, TooMany
        When a limit is passed.
    """
    if type(root) is dict and 2 * len(root) <= items and {*map(type, root), *map(type, root.values())} <= LEAVES:
        return _NOTHING_ODD  # the arguments of most calls
    level: list[object] = [root]
    odd: set[type] = set()
    count = depth_here = 0
    while level:
        depth_here += 1
        below: list[object] = []
        for node in level:
            parts = _parts(node, odd)
            if not parts:
                continue
            if depth_here > depth:
                raise TooDeep
            count += len(parts)
            if count > items:
                raise TooMany
            kinds = set(map(type, parts))
            if kinds <= LEAVES:
                continue
            if bytes in kinds and bytes not in odd:
                _note_long_bytes(parts, odd)
            below += [part for part in parts if type(part) not in _LEAVES_AND_BYTES]
        level = below
    return odd


def _parts(node: object, odd: set[type]) -> list[object] | tuple[object, ...]:
    kind = type(node)
    if kind is list or kind is tuple:
        return node  # type: ignore[return-value]
    if kind is dict:
        return [*node, *node.values()]  # type: ignore[misc, attr-defined]
    if kind in _SEQUENCES:
        return list(node)  # type: ignore[call-overload, no-any-return]
    if kind is bytes:
        _note_long_bytes((node,), odd)
    elif steps := steps_for(kind):
        return [child for _, child in steps(node)]
    else:
        odd.add(kind)
    return ()


def _note_long_bytes(parts: Iterable[object], odd: set[type]) -> None:
    if any(type(part) is bytes and len(part) >= INLINE_BYTES for part in parts):
        odd.add(bytes)


def brief(value: object) -> str:
    """Return a short, printable text for a key or element."""
    if type(value) is str:
        return '"' + printable(value, 40) + '"'
    if type(value) in _LEAVES_AND_BYTES:
        return printable(repr(value)[:200], 40)
    return f"<{type(value).__name__}>"


def _steps(node: object) -> Iterator[Step]:
    if type(node) is dict:
        for key, child in node.items():
            yield f", key {brief(key)}", key
            yield f"[{brief(key)}]", child
    elif type(node) is list or type(node) is tuple:
        for index, child in enumerate(node):
            yield f"[{index}]", child
    elif type(node) is set or type(node) is frozenset:
        for child in node:
            yield f", element {brief(child)}", child
    elif steps := steps_for(type(node)):
        yield from steps(node)


def locate(root: object, culprit: object, *, depth: int) -> str | None:
    """Return the way from `root` to the very object `culprit`, such as ``value["a"][3]``; None if it is not met.

    With the class `TooDeep` as culprit, the way to the first thing that is nested too deeply.
    """
    ways: list[str] = []
    iterators: list[Iterator[Step]] = [iter([("value", root)])]
    while iterators:
        for text, child in iterators[-1]:
            if child is culprit or (culprit is TooDeep and len(iterators) > depth and _parts(child, set())):
                return "".join((*ways, text))
            if type(child) not in _LEAVES_AND_BYTES and len(iterators) <= depth:
                ways.append(text)
                iterators.append(_steps(child))
                break
        else:
            iterators.pop()
            if ways:
                ways.pop()
    return None
