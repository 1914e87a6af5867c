"""What this side asks on its own account: what modules there are, and what a module offers."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import wire
from ..contract import ModuleSpec
from ..errors import CallLost, CallTimeout, LandbridgeError, Malformed, PermissionDenied, TooLarge
from ..names import ISSUER_MODULE, Address, parse_address
from ..protocol import DESCRIBE
from ..security import SERVICE_INSTITUTE, Charter, fingerprint, read_charter
from .known import know, said_by
from .observers import Collecting, Waiting
from .receiving import decoded

if TYPE_CHECKING:
    from .link import Link
    from .objects import Handle

__all__ = ["CATALOGUE", "call", "charter_of", "describe", "descriptions", "items"]

_ITEMS_KEPT = 100_000
_ITEMS_KEPT_BYTES = 64 * 1024 * 1024
_DESCRIBE_TIMEOUT_S = 4.5
_SOON_S = 2.0
_ASKED_AT_ONCE, _ASKED_AT_MOST = 20, 500

CATALOGUE = Address("lb", "catalogue", "modules")
"""The method of the broker's own module that lists all modules, those offline too: a stream of pages."""


async def call(
    link: Link,
    target: Address,
    arguments: dict[str, object],
    *,
    timeout_s: float | None = None,
    handle: Handle | None = None,
) -> object:
    """Call a method, or one of an object or kept value, and return its value as it travelled."""
    parts = wire.encode(arguments)
    waiting = Waiting(asyncio.get_running_loop())
    link.start(target, parts, wire.size_bytes(parts), waiting, timeout_s, idempotent=handle is not None, handle=handle)
    return decoded(await waiting.future)


async def items(link: Link, target: Address, arguments: dict[str, object], *, timeout_s: float | None) -> list[object]:
    """Call a stream and return its items as they travelled, all at once.

    Raises
    ------
    Malformed, TooLarge
        When there are more of them than is sensibly kept at once; the method is told to stop.
    """
    parts = wire.encode(arguments)
    collecting = Collecting()
    request = link.start(target, parts, wire.size_bytes(parts), collecting, timeout_s)
    found: list[object] = []
    size = 0
    try:
        while (item := await collecting.next()) is not None:
            size += len(item.frame) + wire.saved_bytes(item.frame)  # what is kept is not compressed
            if len(found) >= _ITEMS_KEPT:
                raise Malformed(f"{target} gives more than {_ITEMS_KEPT:,} items")
            if size > _ITEMS_KEPT_BYTES:
                raise TooLarge(f"The items of {target}", size, _ITEMS_KEPT_BYTES, "Ask for fewer")
            found.append(decoded(item.frame))
            link.took(request, item)
    finally:
        link.cancel(request)  # does nothing once it has ended
    return found


async def describe(link: Link, where: Address, *, root: str | None = None) -> ModuleSpec:
    """Ask a module what this caller may see of it.

    Parameters
    ----------
    where : Address
        The module; with a member, that one is asked for in particular.
    root : str, optional
        The root key (public) that it must prove; by default that by which its institute is known here.

    Raises
    ------
    UnknownModule, ModuleOffline
        When there is no such module, or nobody serves it now.
    UnknownMember, PermissionDenied
        When there is no such member, or it is not shared with this caller.
    IdentityChanged
        When it is not of the institute that is known here by its name.
    """
    name = f"{where.institute}/{where.module}"
    nonce = secrets.token_hex(16)
    wanted: dict[str, object] = {"nonce": nonce} if where.member is None else {"nonce": nonce, "member": where.member}
    try:
        described = await call(link, where._replace(member=DESCRIBE), wanted, timeout_s=_DESCRIBE_TIMEOUT_S)
    except CallTimeout:
        raise CallLost(
            f"{name} did not say within {_DESCRIBE_TIMEOUT_S:g} s what it offers: its backend is frozen, overloaded"
            f" or cut off. Ask {where.institute} to look after it, or see what else is online: landbridge ls"
        ) from None
    access = link.access
    me = f"{access.institute}/{access.person}"
    said = said_by(where, described, network=access.network, me=me, nonce=nonce, root=root)
    if said.new_root:
        await _learn(link, where, said.new_root)
    spec = ModuleSpec.from_json(said.value)
    if spec.name != name:
        raise Malformed(f"{name} describes itself as {spec.name}")
    return spec


async def descriptions(link: Link, modules: Iterable[str]) -> dict[str, ModuleSpec]:
    """Ask several modules what each offers, and return what those say that answer soon.

    The catalogue tells what a module is about only if it shares something with everybody.
    """
    asking = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def ask(name: str) -> ModuleSpec | None:
        async with asking:
            try:
                return await describe(link, parse_address(name))
            except LandbridgeError:  # not for us, or away: then that is all there is to know
                return None

    tasks = [asyncio.create_task(ask(name)) for name in itertools.islice(modules, _ASKED_AT_MOST)]
    if not tasks:
        return {}
    done, late = await asyncio.wait(tasks, timeout=_SOON_S)
    for task in late:
        task.cancel()
    return {spec.name: spec for task in done if (spec := task.result()) is not None}


async def charter_of(link: Link, institute: str) -> Charter | None:
    """Ask the network for the charter of an institute; None when it takes part without keys of its own.

    Raises
    ------
    Malformed
        When what the network says is none, or another institute's.
    """
    issuer = Address(SERVICE_INSTITUTE, ISSUER_MODULE, "charter")
    text = await call(link, issuer, {"institute": institute}, timeout_s=_DESCRIBE_TIMEOUT_S)
    if not text:
        return None
    charter = read_charter(text) if isinstance(text, str) else None
    if charter is None or (charter.institute, charter.network) != (institute, link.access.network):
        raise Malformed(f"what the network says of {institute} is no charter of it")
    return charter


async def _learn(link: Link, where: Address, root: str) -> None:
    """Know the institute of a module by its root key from now on, if the network says that it is the institute's."""
    try:
        charter = await charter_of(link, where.institute)
    except LandbridgeError:  # who cannot be asked now is asked the next time
        return
    if charter is None or charter.root != root:
        shown = "none" if charter is None else fingerprint(charter.root)
        raise PermissionDenied(
            f"{where.institute}/{where.module} was not called: it proves to be of the root key {fingerprint(root)}, "
            f"and the network says that {where.institute} has {shown}. Somebody poses as it, or it has just joined "
            f"anew: ask {where.institute}, and try again."
        )
    # At once or not at all: this loop must not wait. If somebody else writes just now, it is learned the next time.
    know(link.access.network, where.institute, fingerprint(root), wait_s=0.0)
