"""The keys of NATS ("nkeys"): Ed25519 pairs written so that each shows what it is for and proves it is whole.

A public key begins with O, A or U (operator, account, user), its seed with SO, SA or SU; both end in a checksum.
Randomness is an argument.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import NotConfigured

__all__ = ["KeyPair", "Kind", "kind_of", "new_key", "verify_signature"]

Kind = Literal["operator", "account", "user"]

_PREFIXES: dict[Kind, int] = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_KINDS: dict[str, Kind] = {"O": "operator", "A": "account", "U": "user"}
_SEED = re.compile(r"S[OAU][A-Z2-7]{56}")
_PUBLIC = re.compile(r"[OAU][A-Z2-7]{55}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An nkey: `public` may be shown to everybody, `seed` to nobody (it is left out of the repr).

    Examples
    --------
    >>> pair = new_key("user", bytes(32))
    >>> pair.public
    'UA5WUJ54Z23KILLCUOUNAKTPBVZWKMQVO4O6EQ5GHLAERIMLLHNCTYM5'
    >>> KeyPair.from_seed(pair.seed) == pair
    True
    """

    public: str
    seed: str = field(repr=False)

    @classmethod
    def from_seed(cls, seed: str | bytes) -> KeyPair:
        """Return the pair of a seed.

        Raises
        ------
        NotConfigured
            When `seed` is none or was damaged. The text never shows it.
        """
        text = seed if isinstance(seed, str) else bytes(seed).decode("ascii", "replace")
        return cls(bytes(_signer(text).public_key).decode("ascii"), text)

    @property
    def kind(self) -> Kind:
        """What the key is for, told by its first letter."""
        return kind_of(self.public)

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature of `data`, 64 bytes."""
        return bytes(_signer(self.seed).sign(data))


def new_key(kind: Kind, entropy: bytes) -> KeyPair:
    """Return the key pair that 32 random bytes make; signing keys of an account are of kind ``account`` too."""
    if len(entropy) != 32:
        raise ValueError(f"a key needs exactly 32 random bytes, {len(entropy)} were given")
    import nkeys  # 30 ms, mostly libsodium: only for those who make, read or use keys

    return KeyPair.from_seed(nkeys.encode_seed(bytes(entropy), _PREFIXES[kind]))


def kind_of(public: str) -> Kind:
    """Return what a public key is for.

    Raises
    ------
    NotConfigured
        When it is not a whole public key.
    """
    if isinstance(public, str) and _PUBLIC.fullmatch(public):
        import nkeys

        raw = base64.b32decode(public)
        if nkeys.crc16(raw[:-2]).to_bytes(2, "little") == raw[-2:]:
            return _KINDS[public[0]]
    raise NotConfigured("A public key cannot be used: it is not a whole NATS key of an operator, account or user.")


def verify_signature(public: str, data: bytes, signature: bytes) -> bool:
    """Tell whether the holder of `public`'s seed signed `data`."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    kind_of(public)
    try:
        VerifyKey(base64.b32decode(public)[1:-2]).verify(data, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _signer(seed: str) -> Any:
    """Return the signing half of an nkey after checking all of it: `nkeys` alone ignores the checksum."""
    import nkeys

    if _SEED.fullmatch(seed):
        raw = seed.encode("ascii")
        try:
            prefix, entropy = nkeys.decode_seed(raw)
            if nkeys.encode_seed(bytes(entropy), prefix) == raw:
                return nkeys.from_seed(raw)
        except nkeys.NkeysError:
            pass  # the text of the library's error says less than ours
    raise NotConfigured(
        "A secret key cannot be used: it is not a whole NATS seed (58 characters beginning with SO, SA or SU). "
        "The file it came from was changed or cut; restore it, or have a new credential issued."
    )
