"""Which network, and as whom: from a profile, the environment or this computer's own network to an `Access`."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from ..client.access import Access
from ..client.loop import wait_for
from ..errors import NotConfigured
from ..names import OWNER_INSTITUTE, SERVICE_PERSON, check_institute, check_person
from ..security import Credentials
from ..settings import (
    local_dir,
    own_tls,
    profiles,
    read_profile,
    running_broker,
    selected_profile,
    selected_tls,
    selected_url,
)
from ..tls import Tls
from .institutes import Institute, institute_of, institutes_here
from .issue import mint, sign
from .keys import KEYS_FILE, NetworkKeys
from .owner import owner_person
from .renewal import Renewed

__all__ = ["chosen_profile", "institute_here", "local_access", "local_urls", "resolve", "serving_access"]

_RENEW_BEFORE_S = 24 * 3600


def resolve(profile: str | None = None) -> Access:
    """Return how to enter the network that `profile`, the environment or this computer means.

    Parameters
    ----------
    profile : str, optional
        Name of a stored profile, or ``institute/person`` on the network that runs on this computer.

    Raises
    ------
    NotConfigured
        When nothing says which network, and none runs here; or when what is stored cannot be used.
    """
    return replace(_resolve(chosen_profile(profile), selected_url()), profile=profile)


def _resolve(chosen: str | None, url: str | None) -> Access:
    if chosen is None:
        return local_access(OWNER_INSTITUTE, owner_person(), url=url)
    if "/" in chosen:
        institute, _, person = chosen.partition("/")
        check_institute(institute, reserved=institute == OWNER_INSTITUTE)
        return local_access(institute, check_person(person), url=url)
    stored = read_profile(chosen)
    held = Renewed(stored)
    caller = held.credentials.caller
    urls, tls = ((url,), selected_tls() or stored.tls) if url else (stored.urls, stored.tls)
    return Access(
        urls, caller.institute, caller.person, held.user_jwt, held.sign, network=held.credentials.network, tls=tls
    )


def chosen_profile(profile: str | None = None) -> str | None:
    """Return the profile that is meant: the one named, that of the environment, or the only one there is.

    None means the network of this computer, which comes first wherever there is one.
    """
    named = profile or selected_profile()
    if named is not None or (local_dir() / KEYS_FILE).exists():
        return named
    known = profiles()
    return known[0] if len(known) == 1 else None


def institute_here(profile: str | None) -> Institute:
    """Return the institute that `profile`, the environment, or the only one on this computer means.

    Raises
    ------
    NotConfigured
        When this computer has the keys of none, or of several and none was named.
    """
    here = institutes_here()
    chosen = profile or chosen_profile()
    if (chosen is None or "/" in chosen) and len(here) == 1:
        chosen = here[0]
    ours = institute_of(chosen) if chosen is not None and chosen in here else None
    if ours is not None:
        return ours
    if chosen is not None and "/" not in chosen:
        what = f"The keys of the institute of profile {chosen} are not on this computer, so it cannot act for it."
    else:
        what = "Nothing says which institute this is for."
    which = f"Those of {', '.join(here)} are here: --profile NAME chooses." if here else "It has those of none."
    raise NotConfigured(f"{what} {which}")


def serving_access(ours: Institute, module: str) -> Access:
    """Return how to serve a module of an institute whose keys are here: with a credential that is issued now."""
    held, profile = _Serving(ours, module), read_profile(ours.profile)
    return Access(
        profile.urls, ours.name, SERVICE_PERSON, held.user_jwt, held.sign,
        network=ours.network, profile=ours.profile, tls=profile.tls,
    )  # fmt: skip


def local_access(institute: str, person: str, modules: Sequence[str] = (), *, url: str | None = None) -> Access:
    """Return how to enter the network that this computer owns, as anybody: its owner issues all its credentials.

    Raises
    ------
    NotConfigured
        When no network runs here.
    """
    broker = running_broker()
    if broker is None and url is None:
        raise NotConfigured(
            "No network is configured, and none runs on this computer. Start one in another terminal: landbridge up; "
            f"or name the one you have joined ({', '.join(profiles()) or 'none yet: landbridge join'}): "
            "LANDBRIDGE_PROFILE=NAME"
        )
    urls = tuple(each for each in (url or (broker and broker.url),) if each)
    if not (local_dir() / KEYS_FILE).exists():
        raise NotConfigured(
            f"LANDBRIDGE_URL says where the network is ({url}), but nothing says who you are there, and it is none "
            "that this computer owns. Name the profile you were given: LANDBRIDGE_PROFILE=NAME"
        )
    credentials = wait_for(
        mint(local_dir(), institute, person, modules, now=int(time.time()), random=secrets.token_bytes), 30.0
    )
    held = _Issued(credentials, institute, person, modules)
    if url is not None:
        where, tls = None, selected_tls() or Tls()
    else:
        where, tls = local_urls, own_tls()
    return Access(
        urls, institute, person, held.user_jwt, held.sign, network=credentials.network, urls_now=where, tls=tls
    )


def local_urls() -> tuple[str, ...]:
    """Return where this computer's own broker listens now.

    Its port is free while it does not run, and any other user of the computer may take it. What listens there must
    then not be taken for our broker: it would tell us who calls.
    """
    try:
        broker = running_broker()
    except NotConfigured:
        return ()
    return (broker.url,) if broker is not None and _is_alive(broker.pid) else ()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # One that has ended but has not been waited for counts as alive for `kill`.
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:  # no such file system: then what `kill` says has to do
        return True
    except OSError:
        return False


class _Issued:
    """A credential of this computer's own network, issued anew a day before it expires."""

    def __init__(self, credentials: Credentials, institute: str, person: str, modules: Sequence[str]) -> None:
        self._credentials = credentials
        self._who = (institute, person, tuple(modules))

    def user_jwt(self) -> str:
        now = int(time.time())
        expires = self._credentials.expires
        if expires is not None and expires - now < _RENEW_BEFORE_S:
            keys = NetworkKeys.load(local_dir())
            self._credentials = sign(keys, *self._who, now=now, random=secrets.token_bytes)
        return self._credentials.jwt

    def sign(self, nonce: bytes) -> bytes:
        return self._credentials.sign(nonce)


class _Serving:
    """A credential of an institute whose keys are here, issued anew when a day of its life is over."""

    def __init__(self, ours: Institute, module: str) -> None:
        self._ours, self._module = ours, module
        self._credentials = ours.own_credentials(SERVICE_PERSON, [module], now=int(time.time()))

    def user_jwt(self) -> str:
        now = int(time.time())
        # Read anew: the keys may have been changed meanwhile, so that what they signed before is no longer good.
        ours = institute_of(self._ours.profile) or self._ours
        if ours != self._ours or now - (self._credentials.issued or 0) > _RENEW_BEFORE_S:
            self._ours = ours
            self._credentials = ours.own_credentials(SERVICE_PERSON, [self._module], now=now)
        return self._credentials.jwt

    def sign(self, nonce: bytes) -> bytes:
        return self._credentials.sign(nonce)
