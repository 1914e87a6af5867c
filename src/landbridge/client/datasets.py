"""A data set of a module, as an attribute of it: called like the function that its owner wrote, it is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..contract import DatasetSpec
from ..names import Address

if TYPE_CHECKING:
    from .network import Network

__all__ = ["OpensDatasets", "RemoteDataset", "new_dataset"]

OpensDatasets = Callable[..., Any]
"""Opens the data set at an address of a network: ``opens(network, address, **options)``."""


class RemoteDataset:
    """A data set that stays with its owner. Calling it opens it, lazily: see `landbridge.open`."""

    __slots__ = ("__dict__", "_address", "_network", "_spec")

    def __init__(self, network: Network, address: Address, spec: DatasetSpec) -> None:
        self._spec = spec
        self._network = network
        self._address = address

    def __call__(self, **options: Any) -> Any:
        """Return a lazy `xarray.Dataset`; the options are those of `landbridge.open`."""
        return self._network._open_dataset(self._network, str(self._address), **options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the address, and as whom it is read."""
        return self._network._reopen, (str(self._address), self._network._access.profile, {})

    def __copy__(self) -> RemoteDataset:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteDataset:
        return self

    def __repr__(self) -> str:
        return f"<landbridge data set {self._address}>"

    def _repr_html_(self) -> str:
        from .html import dataset_html, without_fail

        return without_fail(lambda: dataset_html(str(self._address), self._spec), str(self._address))


def new_dataset(network: Network, where: Address, spec: DatasetSpec) -> RemoteDataset:
    """Return the data set at an address, with the docstring that `spec` tells of."""
    about = {"__doc__": spec.doc or RemoteDataset.__doc__, "__module__": "landbridge.remote", "__slots__": ()}
    dataset: RemoteDataset = type(spec.name, (RemoteDataset,), about)(network, where, spec)
    vars(dataset).update(__name__=spec.name, __qualname__=spec.name)
    return dataset
