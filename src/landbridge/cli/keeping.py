"""What a backend that `landbridge serve` runs gets in order to keep values, and to have those of others."""

from __future__ import annotations

import contextlib
import threading

from ..backend.context import CurrentCall
from ..backend.execution import Fetched
from ..backend.keeping import Keeping
from ..client.access import Access
from ..client.network import Network
from ..client.references import Reference
from ..datasets.serving import opens
from ..errors import CallCancelled
from ..hub.backends import module_key, values_folder
from ..wire import ReferenceData

__all__ = ["keeping_for"]

_LOOK_S = 0.5


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

    def fetch(self, data: ReferenceData, call: CurrentCall, lazily: bool) -> Fetched:
        """Return the value of a reference that was given to `call`, or a lazy data set."""
        with self._lock:
            if self._network is None or self._network._is_dead():
                self._network = _network(self._access)
        reference = Reference(self._network, data)
        if lazily:
            return Fetched(reference.open(), 0)
        fetching = reference.start()
        try:
            # Whoever keeps the value may take for ever, and only say that he works on it.
            while not fetching.done() and not call.cancelled:
                with contextlib.suppress(TimeoutError):
                    fetching.result(_LOOK_S)
            if not fetching.done():
                raise CallCancelled(call.target, "stopped")
            return Fetched(fetching.result(), fetching.bytes_received + fetching.bytes_saved)
        finally:
            if not fetching.done():
                fetching._request_cancel()


def _network(access: Access) -> Network:
    import landbridge

    return Network(access, landbridge._reopen, landbridge._open_dataset)
