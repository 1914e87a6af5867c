"""What institutes and their members sign, beside tokens: statements that hold without trusting who runs the broker.

============  =======================  ==================================================================
statement     signed by                says
============  =======================  ==================================================================
charter       an institute's root key  these keys sign my people (one for each role) in this network
rotation      an institute's root key  this charter is mine from now on; what I had before is good for so long.
                                       Charters can be read by everybody, so how long must be signed, too
revocation    an institute's root key  these keys of members are void
module        an institute's root key  this is the key of my module, until then
member        a member's own key       I am this person of this institute: without it, an institute could
                                       have the key of somebody else's member revoked
description   a module's key           this is what I told this caller, who asked with this nonce
============  =======================  ==================================================================
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidName, NotConfigured, PermissionDenied
from ..names import check_institute, check_module, check_person
from .nkey import KeyPair, kind_of
from .statements import read_statement, sign_statement
from .templates import ROLES, Role

__all__ = [
    "MOST_REVOKED",
    "Charter",
    "attest_module",
    "check_module_key",
    "description_proof",
    "fingerprint",
    "member_proof",
    "proven_root",
    "read_charter",
    "read_member_proof",
    "read_revocation",
    "read_rotation",
    "sign_charter",
    "sign_revocation",
    "sign_rotation",
]

MOST_REVOKED = 10
"""So many keys at most fit into one revocation."""

_LATEST = 2**40


@dataclass(frozen=True, slots=True)
class Charter:
    """With which keys an institute takes part in a network.

    Attributes
    ----------
    network : str
        Public key of the network's account of calls.
    institute : str
        Its name there.
    root : str
        Public half of its root key.
    keys : mapping of str to str
        By role, the public key that signs its people.
    at : int
        When it was signed, in seconds since 1970 UTC. A later one takes the place of an earlier one.
    """

    network: str
    institute: str
    root: str
    keys: Mapping[Role, str]
    at: int


def fingerprint(root: str) -> str:
    """Return what people compare of a root key (public): 120 bits of its SHA-256, in groups that can be read aloud.

    Raises
    ------
    NotConfigured
        When it is no key.

    Examples
    --------
    >>> from landbridge.security import new_key
    >>> fingerprint(new_key("account", bytes(32)).public)
    'bnwl-s3m3-uikg-6ytk-ocai-552w'
    """
    kind_of(root)
    text = base64.b32encode(hashlib.sha256(root.encode("ascii")).digest()[:15]).decode("ascii").lower()
    return "-".join(text[place : place + 4] for place in range(0, len(text), 4))


def sign_charter(network: str, institute: str, keys: Mapping[Role, str], root: KeyPair, *, at: int) -> str:
    """Return an institute's charter as the text that travels; parameters as the fields of `Charter`."""
    return sign_statement("charter", {"network": network, "institute": institute, "keys": dict(keys), "at": at}, root)


def read_charter(text: str) -> Charter:
    """Return what a charter says; whether it is whose it should be, whoever reads it must compare.

    Raises
    ------
    PermissionDenied
        When it is none, or not signed by the root key that it names.
    """
    said = read_statement("charter", text)
    try:
        keys: dict[Role, str] = {role: said["keys"][role] for role in ROLES}
        kinds = {kind_of(public) for public in (*keys.values(), said["by"], said["network"])}
        if kinds != {"account"} or len({*keys.values(), said["by"]}) != len(ROLES) + 1:
            raise ValueError
        charter = Charter(said["network"], check_institute(said["institute"]), said["by"], keys, _time(said["at"]))
    except (ValueError, KeyError, TypeError, NotConfigured, InvalidName):
        raise _unfit("charter of an institute") from None
    return charter


def sign_rotation(charter: str, keep_s: int, root: KeyPair) -> str:
    """Return an institute's word that `charter` is its own from now on, and the keys before are good for `keep_s`."""
    return sign_statement("rotation", {"charter": charter, "keep_s": keep_s}, root)


def read_rotation(text: str) -> tuple[str, int]:
    """Return the charter that an institute is to have, as text, and for how many seconds the keys before are good.

    Raises
    ------
    PermissionDenied
        When it is none, or not signed by the root key of its charter.
    """
    said = read_statement("rotation", text)
    charter, keep_s = said.get("charter"), said.get("keep_s")
    if not isinstance(charter, str) or type(keep_s) is not int or read_charter(charter).root != said["by"]:
        raise _unfit("rotation")
    return charter, keep_s


def member_proof(network: str, institute: str, person: str, key: KeyPair) -> str:
    """Return a member's statement that `key` is theirs."""
    return sign_statement("member", {"network": network, "institute": institute, "person": person}, key)


def read_member_proof(text: str, network: str, institute: str) -> tuple[str, str]:
    """Return the person and the public key of a member's statement.

    Raises
    ------
    PermissionDenied
        When it is none, or one for another institute or network.
    """
    said = read_statement("member", text)
    try:
        if said["network"] != network or said["institute"] != institute or kind_of(said["by"]) != "user":
            raise ValueError
        return check_person(said["person"], reserved=False), said["by"]
    except (ValueError, KeyError, NotConfigured, InvalidName):
        raise _unfit("statement of a member") from None


def sign_revocation(network: str, institute: str, members: Mapping[str, int], root: KeyPair) -> str:
    """Return an institute's word that keys are void; `members`: until when each (by its proof) would have been good."""
    return sign_statement("revocation", {"network": network, "institute": institute, "members": dict(members)}, root)


def read_revocation(text: str, network: str, institute: str, root: str) -> dict[str, int]:
    """Return the public keys that an institute declares void, with the time until which each would have been good.

    Raises
    ------
    PermissionDenied
        When the institute's root key has not signed it, or a key in it is no member's of this institute.
    """
    said = read_statement("revocation", text, by=root)
    members = said.get("members")
    if (said.get("network"), said.get("institute")) != (network, institute) or not isinstance(members, dict):
        raise _unfit("revocation")
    if len(members) > MOST_REVOKED:
        raise PermissionDenied(f"A revocation was refused: it has {len(members)} keys, more than {MOST_REVOKED}.")
    try:
        return {read_member_proof(proof, network, institute)[1]: _time(until) for proof, until in members.items()}
    except ValueError:
        raise _unfit("revocation") from None


def attest_module(network: str, institute: str, module: str, key: str, root: KeyPair, *, until: int) -> str:
    """Return an institute's word that `key` (public) is that of its module `module`, good until a time."""
    said = {"network": network, "institute": institute, "module": check_module(module), "key": key, "until": until}
    return sign_statement("module", said, root)


def check_module_key(text: str, network: str, institute: str, module: str, *, now: float) -> tuple[str, str]:
    """Return the institute's root key and the module's key (both public) from an institute's word for a module.

    Raises
    ------
    PermissionDenied
        When it is none, one for another module, or has ended.
    """
    said = read_statement("module", text)
    try:
        named: tuple[Any, ...] = (said["network"], said["institute"], said["module"])
        if named != (network, institute, module) or kind_of(said["by"]) != "account" or kind_of(said["key"]) != "user":
            raise ValueError
        until = _time(said["until"])
    except (ValueError, KeyError, TypeError, NotConfigured):
        raise _unfit("an institute's word for its module") from None
    if now >= until:
        raise PermissionDenied(
            f"{institute}'s word for {institute}/{module} ended {now - until:,.0f} s ago. Whoever serves the module "
            "has to start it again, while the issuer of the institute runs (landbridge admit)."
        )
    return said["by"], said["key"]


def description_proof(described: object, *, to: str, nonce: str, word: str, key: KeyPair) -> dict[str, str]:
    """Return the proof that a module sends along with what it says of itself.

    Parameters
    ----------
    described : object
        What it says, which JSON must be able to hold.
    to : str
        Who has asked, as ``institute/person``.
    nonce : str
        What they sent along, so that no old answer can be given again.
    word : str
        The institute's word for the module's key.
    key : KeyPair
        That key.
    """
    said = {"to": to, "nonce": nonce, "digest": _digest(described)}
    return {"word": word, "proof": sign_statement("description", said, key)}


def proven_root(
    described: object, proof: object, *, network: str, institute: str, module: str, to: str, nonce: str, now: float
) -> str:
    """Return the root key (public) of the institute whose module has said `described` to us, just now.

    Parameters
    ----------
    described, proof : object
        What came, from anybody, and the proof that came along.
    network, institute, module : str
        What it must be of.
    to, nonce : str
        Who we are, and what we sent along.
    now : float
        In seconds since 1970 UTC.

    Raises
    ------
    PermissionDenied
        When it proves nothing.
    """
    word = proof.get("word") if isinstance(proof, dict) else None
    signed = proof.get("proof") if isinstance(proof, dict) else None
    if not isinstance(word, str) or not isinstance(signed, str):
        raise PermissionDenied("no proof came with what it says of itself")
    root, key = check_module_key(word, network, institute, module, now=now)
    said = read_statement("description", signed, by=key)
    try:
        is_fresh = (said["to"], said["nonce"], said["digest"]) == (to, nonce, _digest(described))
    except (KeyError, ValueError, TypeError, RecursionError):
        is_fresh = False
    if not is_fresh:
        raise PermissionDenied("its proof is for something else that it said, or that it said to somebody else")
    return root


def _digest(described: object) -> str:
    content = json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(content.encode("ascii")).hexdigest()


def _time(value: object) -> int:
    if type(value) is not int or not 0 <= value < _LATEST:
        raise ValueError
    return value


def _unfit(what: str) -> PermissionDenied:
    return PermissionDenied(
        f"What should be a {what} was refused: it is signed, but says something else than it must. Have a new one made."
    )
