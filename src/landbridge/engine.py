"""The engine by which xarray opens data sets of colleagues.

``xr.open_dataset("landbridge://geomar/sst", engine="landbridge")``: the engine has to be named, because xarray asks
that of netCDF4 first, and it takes all addresses with ``://`` for its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import xarray
from xarray.backends import BackendEntrypoint

import landbridge

from .client.network import Network
from .client.references import Reference
from .datasets import MEMBER_OF_FILE
from .datasets.accessor import remember
from .datasets.opening import Opened, open_lazily, opened
from .datasets.remote import RemoteSource, ZarrGet
from .errors import InvalidName, UnknownMember
from .names import Address, parse_address

if TYPE_CHECKING:
    from .datasets.zarrstore import ZarrStore

__all__ = ["LandbridgeBackend", "open_at", "zarr_store_at"]

_SCHEME = "landbridge://"


class LandbridgeBackend(BackendEntrypoint):
    """Opens ``landbridge://institute/module.name``, lazily: each selection fetches what it needs, with one call.

    ``landbridge://institute/module`` is the data set of a module that serves a file, or the only one of another.
    """

    description = "Data sets of colleagues at other institutes, through Landbridge"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj", "mask_and_scale", "decode_times", "concat_characters", "decode_coords", "drop_variables",
        "decode_timedelta", "keepbits", "profile", "opened_already",
    )  # fmt: skip

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return whether it is an address of ours."""
        return isinstance(filename_or_obj, str) and filename_or_obj.startswith(_SCHEME)

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: Any = True,
        decode_times: Any = True,
        concat_characters: Any = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        decode_timedelta: Any = None,
        keepbits: int | dict[Any, int] | None = None,
        profile: str | None = None,
        opened_already: Opened | None = None,
    ) -> xarray.Dataset:
        """Open a data set, decoded as xarray decodes a file.

        Parameters
        ----------
        filename_or_obj : str
            ``landbridge://institute/module.name``, or ``landbridge://institute/module``.
        mask_and_scale, decode_times, concat_characters, decode_coords, drop_variables, decode_timedelta
            As in `xarray.open_dataset`.
        keepbits : int or dict, optional
            How many bits of floats travel; see `landbridge.open`.
        profile : str, optional
            Which network, and as whom; see `landbridge.connect`.
        opened_already : Opened, optional
            What `landbridge.open` has asked for already.
        """
        if opened_already is None:
            network = landbridge._default_network(profile)
            opened_already = _opened(network, str(filename_or_obj).removeprefix(_SCHEME))
        return open_lazily(
            opened_already,
            keepbits,
            mask_and_scale=mask_and_scale,
            decode_times=decode_times,
            concat_characters=concat_characters,
            decode_coords=decode_coords,
            drop_variables=drop_variables,
            decode_timedelta=decode_timedelta,
        )


def open_at(network: Network, data: str | Reference, **options: Any) -> xarray.Dataset:
    """Open a data set of `network`, or a kept value of it; `landbridge.open` has the parameters."""
    if isinstance(data, Reference):
        found = opened(RemoteSource(network, parse_address(data.target), data))
    else:
        found = _opened(network, data.removeprefix(_SCHEME))
    # With what was opened among the options, dask's names of the chunks tell one version of the data from another.
    dataset = xarray.open_dataset(
        f"{_SCHEME}{found.source.address}", engine=LandbridgeBackend, opened_already=found, **options
    )
    remember(dataset)
    return dataset


def zarr_store_at(network: Network, address: str) -> ZarrStore:
    """Return a data set of `network` as a Zarr store; `landbridge.zarr_store` has the parameters."""
    from .datasets.zarrstore import ZarrStore

    source = RemoteSource(network, _address(network, address.removeprefix(_SCHEME)))
    return ZarrStore(ZarrGet(source), str(source.address))


def _address(network: Network, text: str) -> Address:
    where = parse_address(text)
    return where if where.member is not None else where._replace(member=_only_dataset(network, where))


def _opened(network: Network, text: str) -> Opened:
    where = parse_address(text)
    if where.member is None:
        # What serves a file has it under this name: so opening it is one call. Others are asked what they have.
        with contextlib.suppress(UnknownMember):
            return opened(RemoteSource(network, where._replace(member=MEMBER_OF_FILE)))
        where = where._replace(member=_only_dataset(network, where))
    try:
        return opened(RemoteSource(network, where))
    except UnknownMember:
        spec = network._describe(where)  # which says so itself when there is no such member at all
        if where.member in spec.datasets:
            raise
        raise InvalidName(text, "data set", "it is a method or class; call it instead") from None


def _only_dataset(network: Network, where: Address) -> str:
    names = list(network._describe(where).datasets)
    if MEMBER_OF_FILE in names:
        return MEMBER_OF_FILE
    if len(names) == 1:
        return names[0]
    said = f"it has {', '.join(names)}; name one of them after a dot" if names else "it has no data sets"
    raise InvalidName(str(where), "data set", said)
