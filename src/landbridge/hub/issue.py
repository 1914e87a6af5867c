"""Issuing credentials on the network that this computer owns, while it runs and from several processes at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ..errors import NotConfigured
from ..names import OWNER_INSTITUTE, check_institute, check_module, check_person
from ..security import SERVICE_INSTITUTE, Credentials, Role, new_key, user_jwt
from ..settings import own_tls, running_broker, try_lock
from .keys import KEYS_FILE, NetworkKeys

__all__ = ["DEFAULT_LIFETIME_S", "keys_lock", "mint", "sign"]

DEFAULT_LIFETIME_S = 30 * 24 * 3600
"""How long a credential of the local network is valid, in seconds."""

_LOCK_TIMEOUT_S = 20.0


async def mint(
    keys_dir: Path,
    institute: str,
    person: str,
    modules: Iterable[str] = (),
    *,
    now: int,
    random: Callable[[int], bytes],
    lifetime_s: int = DEFAULT_LIFETIME_S,
    urls: Sequence[str] | None = None,
) -> Credentials:
    """Issue a credential of this computer's own network; an institute that is new joins first.

    May be repeated, and run in several processes at once: the institute joins once, each credential is another.

    Parameters
    ----------
    keys_dir : Path
        Where the keys of the network are kept.
    institute, person : str
        Who the credential is for.
    modules : iterable of str
        Names of the institute's modules that the person may serve; without any, the credential can only call.
    now : int
        Time of issue, in seconds since 1970 UTC.
    random : callable
        Source of secret randomness, as `secrets.token_bytes`.
    lifetime_s : int
        How long the credential is valid, in seconds.
    urls : sequence of str, optional
        Brokers to tell of a new institute; by default the one that runs here. Without any, it is told when it starts.

    Returns
    -------
    Credentials
        With a key of its own that is kept nowhere else.

    Raises
    ------
    InvalidName
        When one of the names may not be one; nothing was changed then.
    NotConfigured
        When this computer owns no network.
    BrokerUnreachable
        When the running broker could not be told of a new institute; it has not joined then.
    """
    # All names before anything is changed or signed: one named * would be everybody.
    check_institute(institute, reserved=institute in (OWNER_INSTITUTE, SERVICE_INSTITUTE))
    check_person(person)
    served = [check_module(module) for module in modules]
    if lifetime_s <= 0:
        raise ValueError(f"lifetime_s must be positive, {lifetime_s} was given")

    keys = NetworkKeys.load(keys_dir)
    if institute not in keys.institutes:
        keys = await _join(keys_dir, institute, now=now, random=random, urls=urls)
    return sign(keys, institute, person, served, now=now, random=random, lifetime_s=lifetime_s)


def sign(
    keys: NetworkKeys,
    institute: str,
    person: str,
    modules: Sequence[str],
    *,
    now: int,
    random: Callable[[int], bytes],
    lifetime_s: int = DEFAULT_LIFETIME_S,
) -> Credentials:
    """Return a credential of an institute that has joined; parameters as `mint` has them.

    Raises
    ------
    KeyError
        When the institute has not joined.
    """
    role: Role = "serve" if modules else "person"
    user = new_key("user", random(32))
    token = user_jwt(
        user.public,
        keys.institutes[institute][role],
        issuer_account=keys.net.public,
        institute=institute,
        person=person,
        modules=modules,
        now=now,
        expires=now + lifetime_s,
    )
    return Credentials(token, user.seed)


@asynccontextmanager
async def keys_lock(keys_dir: Path) -> AsyncIterator[None]:
    """Keep other processes and tasks from changing the keys while the context is open.

    Whoever starts the broker holds it from loading the keys until `running_broker` tells where it listens: an
    institute that joins in between would be unknown to the broker.

    Raises
    ------
    NotConfigured
        When somebody else holds it for 20 s.
    """
    handle = os.open(keys_dir / f"{KEYS_FILE}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = asyncio.get_running_loop().time() + _LOCK_TIMEOUT_S
        # Asked for again and again instead of waited for: the holder may be another task of this very loop.
        while not try_lock(handle):
            if asyncio.get_running_loop().time() > deadline:
                raise NotConfigured(
                    f"The keys in {keys_dir} have been in use by another process for {_LOCK_TIMEOUT_S:g} s. "
                    "See whether a landbridge command hangs, end it, and try again."
                )
            await asyncio.sleep(0.01)
        yield
    finally:
        os.close(handle)  # gives the lock back, as the end of the process would


async def _join(
    keys_dir: Path, institute: str, *, now: int, random: Callable[[int], bytes], urls: Sequence[str] | None
) -> NetworkKeys:
    async with keys_lock(keys_dir):
        keys = NetworkKeys.load(keys_dir)
        if institute in keys.institutes:
            return keys
        keys = keys.add_institute(institute, random, now=now)
        if urls is None:
            broker = running_broker()
            urls = [broker.url] if broker else []
        # First told, then kept: a crash in between leaves scopes that nobody has the keys of, which harm nobody. The
        # other way round, the institute would count as joined while no broker accepts its people.
        if urls:
            await _tell(urls, keys)
        keys.save(keys_dir)
        return keys


async def _tell(urls: Sequence[str], keys: NetworkKeys) -> None:
    from ..broker import Connection, push_account  # loads the whole NATS client, and institutes join rarely

    user = keys.system_user_credentials()
    connection = await Connection.open(
        urls,
        user_jwt=lambda: user.jwt,
        sign=user.sign,
        name="landbridge issuer",
        on_event=lambda _event: None,
        tls=own_tls(),
    )
    try:
        await push_account(connection, keys.net_jwt())
    finally:
        await connection.close()
