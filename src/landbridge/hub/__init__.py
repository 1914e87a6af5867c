"""The network that this computer owns: its keys, and the credentials issued with them; and serving modules in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .issue import DEFAULT_LIFETIME_S, keys_lock, mint
    from .keys import NetworkKeys

__all__ = ["DEFAULT_LIFETIME_S", "NetworkKeys", "keys_lock", "mint"]


def __getattr__(name: str) -> Any:
    # The supervisor of a backend lives here, too, and needs none of what issuing credentials takes to import.
    if name not in __all__:
        raise AttributeError(name)
    from . import issue, keys

    return getattr(keys if name == "NetworkKeys" else issue, name)
