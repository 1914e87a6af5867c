"""What may be a name, and which known name was probably meant.

Names of institutes and modules become tokens of broker subjects, attributes of proxies and parts of import
statements. They are therefore checked in the two places where a wrong one could do harm: where a name is issued,
and where a backend reads it from a delivered subject.
"""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Iterable
from typing import NamedTuple

from .errors import InvalidName

__all__ = [
    "ISSUER_MODULE",
    "OWNER_INSTITUTE",
    "RESERVED_INSTITUTES",
    "SERVICE_PERSON",
    "Address",
    "check_institute",
    "check_invited",
    "check_member",
    "check_module",
    "check_person",
    "nearest",
    "parse_address",
]

OWNER_INSTITUTE = "local"
"""Institute of whoever runs the embedded broker of a computer: issued there only, and allowed everything there."""

RESERVED_INSTITUTES = frozenset({"lb", "id", OWNER_INSTITUTE, "close"})
"""Institute names with a meaning of their own; ``close`` is the one method of a network proxy."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PERSON = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_INVITED = re.compile(r"_I[0-9a-f]{32}")
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")

ISSUER_MODULE = "id"
"""The module of an institute that lets invited people in and renews credentials; no person can have this name."""

SERVICE_PERSON = "_M"
"""Who a backend is when it serves, and when it calls others itself; no person can have this name."""


class Address(NamedTuple):
    """Where a module or one of its members lives: ``institute/module`` or ``institute/module.member``."""

    institute: str
    module: str
    member: str | None = None

    def __str__(self) -> str:
        """Return the address as people write it."""
        return f"{self.institute}/{self.module}" + (f".{self.member}" if self.member else "")


def _check(text: str, pattern: re.Pattern[str], what: str, rule: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise InvalidName(text, what, rule)
    if keyword.iskeyword(text):
        raise InvalidName(text, what, "it is a keyword of Python, so it could not be written in an import")
    return text


_RULE = "it must be 1 to 63 of a-z, 0-9 and _, beginning with a letter"


def check_institute(text: str, *, reserved: bool = False) -> str:
    """Return `text` if it may name an institute.

    Parameters
    ----------
    text : str
        The proposed name.
    reserved : bool
        Accept the names the network keeps for itself (used when reading subjects, not when issuing).

    Raises
    ------
    InvalidName
        When it may not, with the reason.

    Examples
    --------
    >>> check_institute("geomar")
    'geomar'
    """
    _check(text, _NAME, "institute", _RULE)
    if not reserved and text in RESERVED_INSTITUTES:
        raise InvalidName(text, "institute", "the network keeps this name for itself")
    return text


def check_module(text: str) -> str:
    """Return `text` if it may name a module, else raise `InvalidName`."""
    return _check(text, _NAME, "module", _RULE)


def check_invited(text: str) -> str:
    """Return `text` if it is who an invitation is in the network (``_I`` and 32 hexadecimal digits), else raise."""
    if not isinstance(text, str) or not _INVITED.fullmatch(text):
        raise InvalidName(text, "invitation", "it must be _I and 32 hexadecimal digits")
    return text


def check_person(text: str, *, reserved: bool = True) -> str:
    """Return `text` if it may name a person.

    Parameters
    ----------
    text : str
        The proposed name.
    reserved : bool
        Accept what no human can be called: a backend (``_M``), and who has an invitation and nothing else.

    Raises
    ------
    InvalidName
        When it may not: it must be as the name of a module, and may have ``-``, too.
    """
    if reserved and isinstance(text, str) and (text == SERVICE_PERSON or _INVITED.fullmatch(text)):
        return text
    return _check(text, _PERSON, "person", "it must be 1 to 63 of a-z, 0-9, _ and -, beginning with a letter")


def check_member(text: str) -> str:
    """Return `text` if it may name a method or data set: a public Python identifier, else raise `InvalidName`."""
    return _check(text, _MEMBER, "method", "it must be an ASCII Python identifier that does not begin with _")


def parse_address(text: str) -> Address:
    """Return the parts of ``institute/module`` or ``institute/module.member``.

    Raises
    ------
    InvalidName
        When `text` has another shape or one of its parts may not be a name.

    Examples
    --------
    >>> parse_address("geomar/ocean.climatology")
    Address(institute='geomar', module='ocean', member='climatology')
    """
    institute, slash, rest = text.partition("/")
    module, dot, member = rest.partition(".")
    if not slash or (dot and not member):
        raise InvalidName(text, "address", "it must look like institute/module or institute/module.method")
    return Address(
        check_institute(institute, reserved=True), check_module(module), check_member(member) if dot else None
    )


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `wrong` was probably meant to be, or None.

    Examples
    --------
    >>> nearest("climatolgy", ["anomaly", "climatology"])
    'climatology'
    """
    found = difflib.get_close_matches(wrong[:200], list(known), n=1, cutoff=0.6)
    return found[0] if found else None
