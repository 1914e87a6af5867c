"""The file ``landbridge.toml`` beside what is served: whom its owner lets call what, within which limits.

::

    audit = "required"                   # or "on", as without it; or "off"
    audit_values = true                  # write down arguments, too, not only a digest of them

    [groups]
    ocean = ["awi/anna", "gfz/*"]

    [[share]]
    with = ["@ocean", "hzg/tom"]         # patterns, and groups of this file
    module = "ocean"                     # only this module of the folder; without it, all
    members = ["climatology"]            # methods, classes, data sets; without it, all
    until = 2027-03-31                   # this day included
    calls_per_hour = 100                 # of each caller, as the next two
    concurrent = 2
    bytes_per_hour = "10 GB"             # of results
    approve = "per-call"                 # results wait until their owner has accepted them
    arguments.first = { min = 1980, max = 2010 }
    arguments.region = { one_of = ["nino34", "nino12"] }

    [[refuse]]
    with = ["awi/mallory"]
"""

from __future__ import annotations

import datetime
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidName, NotConfigured, printable
from ..names import check_member, check_module, nearest
from .conditions import Condition
from .policy import Rule, check_pattern

__all__ = ["APPROVE", "POLICY_FILE", "POLICY_FILE_BYTES", "Policy", "end_of", "parse_policy"]

APPROVE = "per-call"
"""What ``approve`` may say: that the owner accepts what comes of each call before the caller gets it."""
POLICY_FILE = "landbridge.toml"
POLICY_FILE_BYTES = 256 * 1024
"""Longest policy file that is read."""

_SHARE = {
    "with", "module", "members", "until", "calls_per_hour", "concurrent", "bytes_per_hour", "arguments",
    "approve",
}  # fmt: skip
_REFUSE = {"with", "module", "members", "until"}
_TOP = {"audit", "audit_values", "groups", "share", "refuse"}
_AUDIT = ("on", "required", "off")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(KB|MB|GB|TB)")
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_MOST_RULES = 10_000
_AS = "write it as 2027-03-31, or as 2027-03-31T12:00:00"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of a module has decided beside what the module says.

    Attributes
    ----------
    rules : tuple of Rule
        Whom it is shared with.
    audit : str
        Whether calls are written into the audit log: ``on``; ``required``, so that nothing runs that cannot be written
        down; or ``off``.
    audit_values : bool
        Whether the arguments of calls are written down there, too.
    """

    rules: tuple[Rule, ...] = ()
    audit: str = "on"
    audit_values: bool = False


def parse_policy(text: str, module: str) -> Policy:
    r"""Return what a policy file says of one module.

    Parameters
    ----------
    text : str
        What is in the file.
    module : str
        Name of the module, without its institute.

    Raises
    ------
    NotConfigured
        When it is no such file; the text says where, and what is wrong there.

    Examples
    --------
    >>> parse_policy('[[share]]\nwith = ["awi"]\nmembers = ["mean"]', "ocean").rules[0].who
    'awi/*'
    """
    if len(text) > POLICY_FILE_BYTES:
        raise NotConfigured(f"{POLICY_FILE} has more than {POLICY_FILE_BYTES:,} characters, so it is not read.")
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise NotConfigured(f"{POLICY_FILE} cannot be read: {printable(error, 200)}. Mend it there.") from None
    try:
        _check_keys(table, _TOP, "")
        audit = table.get("audit", "on")
        if audit not in _AUDIT:
            raise _Wrong(f"audit is one of {', '.join(_AUDIT)}")
        values = table.get("audit_values", False)
        if not isinstance(values, bool):
            raise _Wrong("audit_values is true or false")
        groups = dict(_groups(table.get("groups", {})))
        rules: list[Rule] = []
        for kind, keys in (("share", _SHARE), ("refuse", _REFUSE)):
            for number, entry in enumerate(_tables(table.get(kind, []), kind), 1):
                where = f"[[{kind}]] number {number}"
                _check_keys(entry, keys, where)
                if entry.get("module", module) == module:
                    rules += _rules(entry, groups, where, refuses=kind == "refuse")
                elif not isinstance(entry["module"], str):
                    raise _Wrong(f"{where}: module is a name")
    except _Wrong as error:
        raise NotConfigured(f"{POLICY_FILE} cannot be followed: {error}. Mend it there.") from None
    except InvalidName as error:
        raise NotConfigured(f"{POLICY_FILE} cannot be followed: {error}") from None
    if len(rules) > _MOST_RULES:
        raise NotConfigured(f"{POLICY_FILE} has {len(rules):,} rules; at most {_MOST_RULES:,} are followed.")
    return Policy(tuple(rules), audit, values)


def end_of(said: object) -> float:
    """Return until when something holds that is said to hold until a day, which is included, or a time (UTC).

    Raises
    ------
    ValueError
        When it is neither.

    Examples
    --------
    >>> end_of(datetime.date(2027, 3, 31)) == end_of("2027-04-01T00:00") == 1806537600.0
    True
    """
    if isinstance(said, str):
        text = said
        try:
            said = datetime.date.fromisoformat(text) if len(text) == 10 else datetime.datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{printable(repr(text), 60)}; {_AS}") from None
    if isinstance(said, datetime.datetime):
        return (said if said.tzinfo is not None else said.replace(tzinfo=datetime.UTC)).timestamp()
    if isinstance(said, datetime.date):
        start = datetime.datetime.combine(said, datetime.time(), tzinfo=datetime.UTC)
        return start.timestamp() + 24 * 3600
    raise ValueError(f"{printable(repr(said), 60)}; {_AS}")


class _Wrong(Exception):
    """What is wrong, and where."""


def _check_keys(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table.keys() - known:
        meant = nearest(key, known)
        hint = f"; was {meant} meant?" if meant else f"; there are {', '.join(sorted(known))}"
        raise _Wrong(f"{where + ': ' if where else ''}it knows no {printable(key, 60)}{hint}")


def _tables(said: object, kind: str) -> list[dict[str, Any]]:
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise _Wrong(f"{kind} is written as [[{kind}]], once for each")
    return said


def _groups(said: object) -> Iterator[tuple[str, list[str]]]:
    if not isinstance(said, dict):
        raise _Wrong("[groups] is a table of lists")
    for name, patterns in said.items():
        yield name, [check_pattern(pattern) for pattern in _texts(patterns, f"the group {printable(name, 60)}")]


def _texts(said: object, where: str) -> list[str]:
    if not isinstance(said, list) or not said or not all(isinstance(each, str) for each in said):
        raise _Wrong(f"{where} is a list of texts that is not empty")
    return said


def _rules(entry: dict[str, Any], groups: dict[str, list[str]], where: str, *, refuses: bool) -> Iterator[Rule]:
    if "module" in entry:
        check_module(entry["module"])
    members = None
    if "members" in entry:
        members = frozenset(_member(each) for each in _texts(entry["members"], f"{where}: members"))
    arguments = entry.get("arguments", {})
    if not isinstance(arguments, dict):
        raise _Wrong(f"{where}: arguments is a table")
    conditions = tuple(Condition.parse(name, said) for name, said in arguments.items())
    approve = entry.get("approve")
    if approve not in (None, APPROVE):
        raise _Wrong(f'{where}: approve is "{APPROVE}", or is not there')
    for pattern in _patterns(_texts(entry.get("with"), f"{where}: with"), groups, where):
        yield Rule(
            pattern,
            members,
            _end(entry["until"], where) if "until" in entry else math.inf,
            _count(entry, "calls_per_hour", where),
            _count(entry, "concurrent", where),
            _size(entry, "bytes_per_hour", where),
            conditions,
            refuses,
            approve is not None,
        )


def _member(text: str) -> str:
    return ".".join(check_member(part) for part in text.split("."))


def _patterns(said: list[str], groups: dict[str, list[str]], where: str) -> Iterator[str]:
    for each in said:
        if not each.startswith("@"):
            yield check_pattern(each)
        elif each[1:] in groups:
            yield from groups[each[1:]]
        else:
            raise _Wrong(f"{where}: there is no group {printable(each, 60)} under [groups]")


def _end(said: object, where: str) -> float:
    try:
        return end_of(said)
    except ValueError as error:
        raise _Wrong(f"{where}: until is {error}") from None


def _count(entry: dict[str, Any], key: str, where: str) -> int | None:
    value = entry.get(key)
    if value is not None and (type(value) is not int or value < 1):
        raise _Wrong(f"{where}: {key} is a whole number of at least 1")
    return value


def _size(entry: dict[str, Any], key: str, where: str) -> int | None:
    value = entry.get(key)
    if isinstance(value, str) and (found := _SIZE.fullmatch(value)):
        value = int(float(found[1]) * _UNITS[found[2]])
    if value is not None and (type(value) is not int or value < 1):
        raise _Wrong(f'{where}: {key} is a number of bytes, or a text such as "10 GB"')
    return value
