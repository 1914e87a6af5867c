"""Which network, and as whom: from a profile, the environment or this computer's own network to an `Access`."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..client.access import Access
from ..client.loop import wait_for
from ..errors import InvalidName, NotConfigured
from ..names import OWNER_INSTITUTE, check_institute, check_person
from ..security import Credentials
from ..settings import (
    local_dir,
    own_tls,
    private_read,
    read_profile,
    running_broker,
    selected_profile,
    selected_tls,
    selected_url,
)
from ..tls import Tls
from .issue import mint, sign
from .keys import KEYS_FILE, NetworkKeys

__all__ = ["local_access", "local_urls", "owner_person", "resolve"]

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
    return replace(_resolve(profile or selected_profile(), selected_url()), profile=profile)


def _resolve(chosen: str | None, url: str | None) -> Access:
    if chosen is None:
        return local_access(OWNER_INSTITUTE, owner_person(), url=url)
    if "/" in chosen:
        institute, _, person = chosen.partition("/")
        check_institute(institute, reserved=institute == OWNER_INSTITUTE)
        return local_access(institute, check_person(person), url=url)
    stored = read_profile(chosen)
    credentials = Credentials.parse(_text(stored.creds_file))
    caller = credentials.caller
    # Read anew at each connection, so that a renewed file is used without a restart.
    held = _Stored(stored.creds_file, credentials)
    urls, tls = ((url,), selected_tls() or stored.tls) if url else (stored.urls, stored.tls)
    return Access(urls, caller.institute, caller.person, held.user_jwt, held.sign, tls=tls)


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
            "or name the one you were invited to: LANDBRIDGE_PROFILE=NAME"
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
        return Access(urls, institute, person, held.user_jwt, held.sign, tls=selected_tls() or Tls())
    return Access(urls, institute, person, held.user_jwt, held.sign, urls_now=local_urls, tls=own_tls())


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


def owner_person() -> str:
    """Return what the owner of this computer's network is called there: the login name, made a valid name."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError):  # no such user in the system's list, as in some containers
        login = ""
    name = re.sub(r"[^a-z0-9_-]", "-", login.lower())[:63]
    try:
        return check_person(name)
    except InvalidName:  # empty, or beginning with a digit
        return "me"


def _text(file: Path) -> str:
    return private_read(file).decode("utf-8", "replace")  # what is no text holds no credential, and is told so


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


class _Stored:
    """A credential in a file that somebody else renews."""

    def __init__(self, file: Path, credentials: Credentials) -> None:
        self._file = file
        self._credentials = credentials

    def user_jwt(self) -> str:
        self._credentials = Credentials.parse(_text(self._file))
        return self._credentials.jwt

    def sign(self, nonce: bytes) -> bytes:
        return self._credentials.sign(nonce)
