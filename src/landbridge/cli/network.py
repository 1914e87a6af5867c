"""One connection for the length of a command, and what commands ask of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..client.link import Link
from ..client.lookup import CATALOGUE, describe, items
from ..client.loop import wait_for
from ..contract import MethodSpec, ModuleSpec
from ..errors import BrokerUnreachable, InvalidName, Malformed, PermissionDenied, UnknownMember
from ..hub.access import resolve
from ..names import Address, nearest

__all__ = ["connected", "described", "listed_modules", "method_of"]

_OPEN_TIMEOUT_S = 15.0
_ANSWER_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 3.0


@contextlib.contextmanager
def connected(profile: str | None) -> Iterator[Link]:
    """Give a connection to the network that `profile` or the environment chooses; closed at the end.

    Raises
    ------
    NotConfigured
        When nothing says which network, and none runs here.
    BrokerUnreachable
        When no broker answers, or it refuses the credential.
    """
    link = Link(resolve(profile))
    try:
        try:
            wait_for(link.open(), _OPEN_TIMEOUT_S)
        except TimeoutError:
            raise BrokerUnreachable(
                f"The network did not answer within {_OPEN_TIMEOUT_S:g} s. Find out which step fails: landbridge doctor"
            ) from None
        yield link
    finally:
        with contextlib.suppress(TimeoutError):
            wait_for(link.close(), _CLOSE_TIMEOUT_S)


def listed_modules(link: Link) -> list[dict[str, Any]]:
    """Return what the catalogue of the network lists, each with ``module``, ``backends``, ``seen`` and ``summary``.

    Raises
    ------
    ModuleOffline
        When the network keeps no catalogue.
    """
    pages = wait_for(items(link, CATALOGUE, {}, timeout_s=_ANSWER_TIMEOUT_S))
    if not all(isinstance(page, list) for page in pages):
        raise Malformed("a page of the catalogue is no list")
    listed = [entry for page in pages if isinstance(page, list) for entry in page]
    shapes = {"module": str, "summary": str, "version": str, "backends": int, "seen": str}
    for entry in listed:
        if not isinstance(entry, dict) or not all(type(entry.get(key)) is kind for key, kind in shapes.items()):
            raise Malformed("an entry of the catalogue has another form")
    return [{key: entry[key] for key in shapes} for entry in listed]


def described(link: Link, address: Address) -> ModuleSpec:
    """Return what the module at `address` says of itself to this caller.

    Raises
    ------
    UnknownMember, PermissionDenied
        When `address` has a member that does not exist, or is not shared with this caller.
    """
    return wait_for(describe(link, address))


def method_of(spec: ModuleSpec, member: str, me: str) -> MethodSpec:
    """Return one method of a module.

    Parameters
    ----------
    spec : ModuleSpec
        What the module says of itself to `me`.
    member : str
        Name of the method.
    me : str
        Who asks, as ``institute/person``.

    Raises
    ------
    UnknownMember
        When there is none of that name; the text says which was probably meant.
    InvalidName
        When it is a data set.
    PermissionDenied
        When the module shows nothing at all.
    """
    found = spec.methods.get(member)
    if found is None:
        if member in spec.datasets:
            address = f"{spec.name}.{member}"
            raise InvalidName(address, "method", f'it is a data set; read it in Python: landbridge.open("{address}")')
        if not spec.methods and not spec.classes and not spec.datasets:
            raise PermissionDenied(
                f"{spec.name} shows {me} none of its methods: they are not shared with {me}. "
                f"Ask {spec.name.partition('/')[0]} to serve it with --share {me}."
            )
        raise UnknownMember(spec.name, member, nearest(member, spec.methods))
    return found
