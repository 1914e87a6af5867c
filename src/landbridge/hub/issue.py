"""Issuing credentials on the network that this computer owns, while it runs and from several processes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from ..names import OWNER_INSTITUTE, check_institute, check_module, check_person
from ..security import SERVICE_INSTITUTE, Credentials, Role, new_key, user_jwt
from ..settings import own_tls, running_broker
from .keys import KEYS_FILE, NetworkKeys
from .locks import alone_with

__all__ = ["DEFAULT_LIFETIME_S", "change_keys", "keys_lock", "mint", "sign", "tell"]

DEFAULT_LIFETIME_S = 30 * 24 * 3600
"""How long a credential of the local network is valid, in seconds."""


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
    PermissionDenied
        When the institute has joined with keys of its own.
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
        keys = await change_keys(keys_dir, lambda keys: keys.add_institute(institute, random, now=now), urls=urls)
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


def keys_lock(keys_dir: Path) -> AbstractAsyncContextManager[None]:
    """Keep other processes and tasks from changing the keys while the context is open.

    Whoever starts the broker holds it from loading the keys until `running_broker` tells where it listens: an
    institute that joins in between would be unknown to the broker. Raises as `alone_with`.
    """
    return alone_with(keys_dir / KEYS_FILE)


async def change_keys(
    keys_dir: Path,
    changed: Callable[[NetworkKeys], NetworkKeys],
    *,
    urls: Sequence[str] | None = None,
    takes_away: bool = False,
) -> NetworkKeys:
    """Change the keys of the network, tell the broker, and return them.

    Parameters
    ----------
    keys_dir : Path
        Where they are kept.
    changed : callable
        Returns the keys as they are to be, from those of now; the same if nothing is to be changed. What it raises is
        raised here, and nothing is changed.
    urls : sequence of str, optional
        Brokers to tell; by default the one that runs here. Without any, it is told when it starts.
    takes_away : bool
        Whether somebody is to be shut out: then it is kept even if the broker cannot be told, and told when it starts.

    Raises
    ------
    BrokerUnreachable
        When the running broker could not be told; unless it takes away, nothing was changed then.
    """
    async with keys_lock(keys_dir):
        before = NetworkKeys.load(keys_dir)
        if urls is None:
            broker = running_broker()
            urls = [broker.url] if broker else []
        if urls and before.told != before.changed:  # it was away when somebody was shut out
            before = await _told(keys_dir, urls, before)
        keys = changed(before)
        if keys is before:
            return keys
        is_news = keys.changed != before.changed
        # First told, then kept: a crash in between leaves scopes that nobody has the keys of, which harm nobody. The
        # other way round, the institute would count as joined while no broker accepts its people. But who was shut out
        # must not be let in again by what was kept before.
        if takes_away or not is_news:
            keys.save(keys_dir)
        if urls and is_news:
            return await _told(keys_dir, urls, keys)
        if not takes_away:
            keys.save(keys_dir)
        return keys


async def _told(keys_dir: Path, urls: Sequence[str], keys: NetworkKeys) -> NetworkKeys:
    await tell(urls, keys)
    keys = replace(keys, told=keys.changed)
    keys.save(keys_dir)
    return keys


async def tell(urls: Sequence[str], keys: NetworkKeys) -> None:
    """Make the institutes and the void keys of a network known to its broker; raises as `change_keys` does."""
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
