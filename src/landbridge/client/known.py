"""By which root keys institutes are known here, and whether a module is of the institute that is known.

An institute's root key is learned the first time one of its modules is asked, if the network says that it is the
institute's, too (or when one joins it). From then on modules of this institute must prove that they are of it: its root
key has signed the module's key, and that has signed what the module says of itself, together with a number that we made
up. So whoever gets hold of the institute's name, from the operator of the network say, is not taken for it; and none of
its own people can have another root key learned in its place.
"""

from __future__ import annotations

import json
import os
import time
from typing import NamedTuple

from ..errors import IdentityChanged, Malformed, NotConfigured, PermissionDenied
from ..names import OWNER_INSTITUTE, Address, check_institute
from ..security import SERVICE_INSTITUTE, fingerprint, proven_root
from ..settings import private_read, private_write, state_dir, try_lock

__all__ = ["Known", "Said", "check_known", "forget", "know", "known_institutes", "said_by"]

_FILE = "known.json"
_LIMIT_BYTES = 16 * 1024 * 1024
_WAIT_S = 5.0
_UNROOTED = frozenset({SERVICE_INSTITUTE, OWNER_INSTITUTE})  # those of whoever runs the network


class Known(dict[str, dict[str, str]]):
    """Fingerprints of root keys, by network (the public key of its account of calls) and institute."""


def known_institutes() -> Known:
    """Return by which root keys institutes are known here.

    Raises
    ------
    NotConfigured
        When the file was damaged.
    """
    path = state_dir() / _FILE
    if not path.exists():
        return Known()
    try:
        found = json.loads(private_read(path, limit_bytes=_LIMIT_BYTES))
        return Known({str(network): {str(i): str(f) for i, f in each.items()} for network, each in found.items()})
    except (ValueError, AttributeError, RecursionError):
        raise NotConfigured(
            f"By which keys institutes are known here cannot be read: {path} is damaged. Restore it from a backup; or "
            "remove it, and they are learned anew when they are next called."
        ) from None


def know(network: str, institute: str, print_of_root: str, *, wait_s: float = _WAIT_S) -> bool:
    """Know an institute by the fingerprint of its root key from now on; False if others kept the file for `wait_s`."""
    return _change(network, check_institute(institute), print_of_root, wait_s)


def _change(network: str, institute: str, print_of_root: str | None, wait_s: float) -> bool:
    path = state_dir() / _FILE
    handle = os.open(path.with_name(f"{_FILE}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while not try_lock(handle):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        known = known_institutes()
        before = known.get(network, {})
        after = {name: each for name, each in before.items() if name != institute}
        if print_of_root is not None:
            after[institute] = print_of_root
        if after != before:
            private_write(path, json.dumps({**known, network: after}, indent=1, sort_keys=True) + "\n")
        return True
    finally:
        os.close(handle)


def forget(network: str, institute: str) -> bool:
    """Know an institute no longer: the next root key that it proves is learned; False as for `know`."""
    return _change(network, institute, None, _WAIT_S)


def check_known(network: str, institute: str, root: str) -> None:
    """Refuse, with `IdentityChanged`, a root key (public) of an institute that is known by another one."""
    known = known_institutes().get(network, {}).get(institute)
    if known is not None and known != fingerprint(root):
        shown = fingerprint(root)
        raise IdentityChanged(institute, institute, known, f"this is {shown}", shown)


class Said(NamedTuple):
    """What a module has said of itself.

    Attributes
    ----------
    value : object
        What it says.
    new_root : str
        The root key (public) that it proves, if its institute is not known here yet.
    """

    value: object
    new_root: str


def said_by(where: Address, described: object, *, network: str, me: str, nonce: str, root: str | None = None) -> Said:
    """Return what a module says of itself, if it is of the institute that is known by its name.

    Parameters
    ----------
    where : Address
        The module.
    described : object
        What came, as it travelled: what it says, or that as text with a proof.
    network : str
        The network: public key of its account of calls.
    me : str
        Who asked, as ``institute/person``.
    nonce : str
        The number that was sent along.
    root : str, optional
        The root key (public) that it must prove; by default that by which the institute is known here.

    Raises
    ------
    IdentityChanged
        When it proves another root key, or nothing.
    PermissionDenied
        When the institute is not known, and the module's proof is none.
    Malformed
        When what it says cannot be read.
    """
    said = described.get("said") if isinstance(described, dict) else None
    proof = described.get("identity") if isinstance(described, dict) else None
    new_root = ""
    if network and where.institute not in _UNROOTED:
        known = known_institutes().get(network, {}).get(where.institute) if root is None else fingerprint(root)
        text = said if isinstance(said, str) else ""
        new_root = _proven(where, text, proof, known, network=network, me=me, nonce=nonce)
    if not isinstance(said, str):
        return Said(described, new_root)
    try:
        return Said(json.loads(said), new_root)
    except (ValueError, RecursionError):
        raise Malformed(f"what {where.institute}/{where.module} says of itself is no JSON") from None


def _proven(where: Address, said: str, proof: object, known: str | None, *, network: str, me: str, nonce: str) -> str:
    """Return the root key that a module proves, if its institute is not known; else only check that it is that one."""
    name = f"{where.institute}/{where.module}"
    if known is None and proof is None:
        return ""
    try:
        root = proven_root(
            said, proof,
            network=network, institute=where.institute, module=where.module, to=me, nonce=nonce, now=time.time(),
        )  # fmt: skip
    except PermissionDenied as error:
        if known is None:
            raise
        why = f"the module does not prove to be its: {str(error).rstrip('.')}"
        raise IdentityChanged(where.institute, name, known, why) from None
    shown = fingerprint(root)
    if known is None:
        return root
    if known != shown:
        raise IdentityChanged(where.institute, name, known, f"the module is one of {shown}", shown)
    return ""
