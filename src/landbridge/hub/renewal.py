"""Credentials that are renewed before they expire, daily, at the issuer of the institute."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from ..client.access import Access
from ..client.loop import wait_for
from ..errors import LandbridgeError, NotConfigured
from ..security import Credentials, KeyPair, member_proof
from ..settings import Profile, config_dir, private_read, private_write, state_dir
from .institutes import DAY_S, Institute, institute_of
from .joining import ask_issuer, given, keep_credentials

__all__ = ["Renewed", "renew"]

_log = logging.getLogger(__name__)
_TRY_AGAIN_S = 3600
_WARN_S = 2 * DAY_S
_TIMEOUT_S = 30.0


class Renewed:
    """The credential of a profile: read anew at each connection, and renewed when it is due.

    Parameters
    ----------
    profile : Profile
        Whose it is.

    Raises
    ------
    NotConfigured
        When it has expired and cannot be renewed.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._renewing: threading.Thread | None = None
        self.credentials = read_credentials(profile)
        now = time.time()
        if _is_over(self.credentials, now):
            self.credentials = renew(profile)
        elif _is_due(self.credentials, now) and _may_try(profile.name, now):
            self._try()

    def user_jwt(self) -> str:
        """Return the token of now; if it is due, it is renewed meanwhile, for the next time."""
        self.credentials = read_credentials(self._profile)
        now = time.time()
        busy = self._renewing is not None and self._renewing.is_alive()
        if not busy and _is_due(self.credentials, now) and _may_try(self._profile.name, now):
            # Whoever asks is a connection, in a loop that must not wait; it asks again before the token expires.
            self._renewing = threading.Thread(target=self._try, name="landbridge-renewal", daemon=True)
            self._renewing.start()
        return self.credentials.jwt

    def sign(self, nonce: bytes) -> bytes:
        """Return the signature that proves to a broker that the key is here."""
        return self.credentials.sign(nonce)

    def _try(self) -> None:
        try:
            self.credentials = renew(self._profile)
        except (LandbridgeError, OSError) as error:
            left_s = (self.credentials.expires or 0) - time.time()
            level = logging.WARNING if left_s < _WARN_S else logging.INFO
            _log.log(
                level, "the credential of profile %s, good for %.0f more hours, was not renewed: %s",
                self._profile.name, left_s / 3600, error,
            )  # fmt: skip


def read_credentials(profile: Profile) -> Credentials:
    """Return the credential that a profile has on disk; raises `NotConfigured` when it cannot be used."""
    # What is no text holds no credential, and is told so.
    return Credentials.parse(private_read(profile.creds_file).decode("utf-8", "replace"))


def renew(profile: Profile) -> Credentials:
    """Have the credential of a profile issued anew, keep it, and return it.

    Raises
    ------
    NotConfigured
        When it has expired and cannot be renewed, or no issuer has ever given it.
    PermissionDenied
        When the institute does not renew it.
    ModuleOffline, BrokerUnreachable
        When its issuer cannot be asked now, and the credential is still good.
    """
    held, now = read_credentials(profile), time.time()
    caller, key = held.caller, KeyPair.from_seed(held.seed)
    proof = member_proof(held.network, caller.institute, caller.person, key)
    ours = institute_of(profile.name)
    if ours is not None:
        return keep_credentials(profile.name, held.seed, _renewed_here(ours, proof, key.public), network=held.network)
    enrol_file = config_dir() / "profiles" / f"{profile.name}.enrol"
    over = _is_over(held, now)
    if not enrol_file.exists():
        raise (
            _expired(held, "nothing was given to renew it with")
            if over
            else NotConfigured(f"The credential of profile {profile.name} cannot be renewed: there is no {enrol_file}.")
        )
    try:
        asking = Credentials.parse(private_read(enrol_file).decode("utf-8", "replace")) if over else held
        access = Access(profile.urls, caller.institute, caller.person, lambda: asking.jwt, asking.sign, tls=profile.tls)
        answer = ask_issuer(access, "renew", {"proof": proof})
    except LandbridgeError as error:
        if over:
            raise _expired(held, str(error)) from error
        raise
    return keep_credentials(
        profile.name, held.seed, answer, network=held.network, person=caller.person, institute=caller.institute
    )


def _renewed_here(ours: Institute, proof: str, public: str) -> dict[str, str]:
    now, charter = int(time.time()), ours.charter
    members = wait_for(ours.change_members(lambda members: members.renew(proof, charter, now=now)), _TIMEOUT_S)
    return given(*ours.member_tokens(public, members, now=now))


def _expired(held: Credentials, why: str) -> NotConfigured:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(held.expires or 0))
    institute = held.caller.institute
    return NotConfigured(
        f"The credential of {held.caller} expired at {when}, and could not be renewed: {why.rstrip('.')}. "
        f"Whoever runs {institute} has to let its issuer run (landbridge admit), or to invite you again "
        f"(landbridge invite person {held.name})."
    )


def _is_over(credentials: Credentials, now: float) -> bool:
    return credentials.expires is not None and credentials.expires <= now


def _is_due(credentials: Credentials, now: float) -> bool:
    expires, issued = credentials.expires, credentials.issued
    if expires is None:
        return False
    life = expires - (issued if issued is not None else expires - DAY_S)
    return now > expires - life + min(DAY_S, life / 2)


def _may_try(profile: str, now: float) -> bool:
    """Return whether it is time to try, and take note: once an hour, however many programs there are."""
    stamp = state_dir() / "renewals" / profile
    try:
        if 0 <= now - os.stat(stamp).st_mtime < _TRY_AGAIN_S:
            return False
    except FileNotFoundError:
        pass
    private_write(Path(stamp), "")
    return True
