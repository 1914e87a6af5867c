"""The network that this computer owns: its keys, and the credentials issued with them."""

from .issue import DEFAULT_LIFETIME_S, keys_lock, mint
from .keys import NetworkKeys

__all__ = ["DEFAULT_LIFETIME_S", "NetworkKeys", "keys_lock", "mint"]
