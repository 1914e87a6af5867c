"""What a backend that `landbridge serve` runs gets in order to keep values, and to have those of others."""

from __future__ import annotations

import threading

from ..backend.keeping import Keeping
from ..client.access import Access
from ..client.network import Network
from ..client.references import Reference
from ..datasets.serving import opens
from ..hub.backends import module_key, values_folder
from ..wire import ReferenceData

__all__ = ["keeping_for"]


def keeping_for(module: str, instance: str, access: Access) -> Keeping:
    """Return it for one backend.

    Parameters
    ----------
    module : str
        ``institute/module``.
    instance : str
        The backend.
    access : Access
        As whom it is in the network: as such it asks others for their values.
    """
    others = _Others(access)
    return Keeping(module_key(module), values_folder(module, instance), others.fetch, opens)


class _Others:
    """Fetches values from other backends, over a connection that is made when the first one is needed."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._network: Network | None = None
        self._lock = threading.Lock()

    def fetch(self, data: ReferenceData, caller: str, lazily: bool) -> object:
        """Return the value of a reference, or a lazy data set; `caller` gave it to a method here."""
        with self._lock:
            if self._network is None or self._network._is_dead():
                self._network = _network(self._access)
        reference = Reference(self._network, data)
        return reference.open() if lazily else reference.get()


def _network(access: Access) -> Network:
    import landbridge

    return Network(access, landbridge._reopen, landbridge._open_dataset)
