"""The keys of a Zarr v3 store over a data set: metadata and chunks are made when they are asked for. The owner's side.

The layout is that of the Zarr v3 core specification (https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html):
one group, its arrays, the default chunk keys, no compression (the transport has its own). The root carries the metadata
of all arrays, as zarr-python writes it when it consolidates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import printable
from .zarrtypes import LeftOut, ZarrArray, json_attributes, zarr_array

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ZarrKeys"]

_CHUNK = re.compile(r"c((?:/(?:0|[1-9][0-9]{0,17})){0,64})")  # integers as the specification writes them
_LONGEST_NAME = 255
_LONGEST_KEY = 2048


class ZarrKeys:
    """A data set as the keys and values of a read-only Zarr v3 store.

    xarray decodes the store to what it decodes `dataset` to. Names of coordinates go into the attribute `coordinates`,
    those that hold a space excepted. Variables that Zarr can not hold are left out, and named with the reason in the
    root attribute `landbridge:left_out`.

    Parameters
    ----------
    dataset : xarray.Dataset
        Best opened with ``decode_cf=False``, so that packed numbers and times pass as they are.
    read : callable
        ``read(name, selection)`` gives the values of a variable of `dataset`; one slice for each dimension, with
        0 <= start <= stop <= length, the step left out. Called in the constructor for arrays of objects only.
    chunks : callable
        ``chunks(name)`` gives the lengths of the source's chunks by dimension, or None if it has none.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> dataset = xr.Dataset({"sst": ("x", np.arange(3, dtype="f4"))})
    >>> keys = ZarrKeys(dataset, lambda name, selection: dataset[name].variable[selection].values, lambda name: None)
    >>> np.frombuffer(keys.get("sst/c/0"), "<f4")
    array([0., 1., 2.], dtype=float32)
    >>> keys.get("sst/c/1") is None
    True
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        read: Callable[[str, tuple[slice, ...]], np.ndarray[Any, Any]],
        chunks: Callable[[str], Mapping[str, int] | None],
    ) -> None:
        joined = _joined(dataset)
        left_out: dict[str, str] = {}
        self._arrays: dict[str, ZarrArray] = {}
        for given, variable in dataset.variables.items():
            try:
                name = _checked(given)
                self._arrays[name] = zarr_array(variable, name in joined, _reader(read, name), chunks(name))
            except LeftOut as reason:
                left_out[printable(given, 80)] = str(reason)
        root = json_attributes(dataset.attrs)
        _name_coordinates(dataset, self._arrays, root)
        if left_out:
            root["landbridge:left_out"] = left_out
        documents = {name: array.document() for name, array in self._arrays.items()}
        consolidated = {"kind": "inline", "must_understand": False, "metadata": documents}
        group = {"zarr_format": 3, "node_type": "group", "attributes": root, "consolidated_metadata": consolidated}
        self._documents = {f"{name}/zarr.json": _json(document) for name, document in documents.items()}
        self._documents["zarr.json"] = _json(group)

    def get(self, key: str, start: int | None = None, stop: int | None = None) -> bytes | None:
        """Return the bytes ``[start:stop]`` of the value of a key, as Python slices; None if there is no such key.

        Parameters
        ----------
        key : str
            ``zarr.json``, ``<name>/zarr.json``, ``<name>/c/0/1`` (``<name>/c`` of a scalar). May be hostile.
        start, stop : int or None
            A negative `start` counts from the end.
        """
        if not isinstance(key, str) or len(key) > _LONGEST_KEY:
            return None
        document = self._documents.get(key)
        if document is not None:
            return document[start:stop]
        name, _, rest = key.partition("/")
        array = self._arrays.get(name)
        index = None if array is None else _chunk_index(rest, array)
        if array is None or index is None:
            return None
        if start is not None and stop is not None and 0 <= stop <= start:
            return b""  # only asked whether it exists
        return array.chunk(index)[start:stop]


def _reader(
    read: Callable[[str, tuple[slice, ...]], np.ndarray[Any, Any]], name: str
) -> Callable[[tuple[slice, ...]], np.ndarray[Any, Any]]:
    return lambda selection: np.asarray(read(name, selection))


def _chunk_index(rest: str, array: ZarrArray) -> tuple[int, ...] | None:
    match = _CHUNK.fullmatch(rest)
    if match is None:
        return None
    index = tuple(map(int, match[1].split("/")[1:]))
    if len(index) != len(array.shape):
        return None
    inside = all(i * chunk < length for i, chunk, length in zip(index, array.chunks, array.shape, strict=True))
    return index if inside else None


def _checked(name: object) -> str:
    """Return the name; refuse what is no name of a Zarr node, see "Node names" in the specification."""
    if not isinstance(name, str):
        raise LeftOut("its name is no text")
    if not name or "/" in name or not name.strip(".") or name.startswith("__") or len(name) > _LONGEST_NAME:
        raise LeftOut("its name can not be that of a node in Zarr")
    if printable(name, _LONGEST_NAME) != name or "\n" in name or "\t" in name:
        raise LeftOut("its name holds control characters")
    return name


def _joined(dataset: xr.Dataset) -> set[object]:
    """Return the names of variables whose characters xarray joins along their last dimension."""
    import xarray as xr

    if not any(variable.dtype == "S1" for variable in dataset.variables.values()):
        return set()
    plain = xr.decode_cf(dataset, mask_and_scale=False, decode_times=False, decode_coords=False)
    return {name for name, variable in plain.variables.items() if variable.dims != dataset[name].dims}


def _name_coordinates(dataset: xr.Dataset, arrays: dict[str, ZarrArray], root: dict[str, Any]) -> None:
    """Name the coordinates that are no dimensions: at the variables that have them (CF), the rest at the root."""
    others = [name for name in arrays if name in dataset.coords and name not in dataset.dims]
    names = [name for name in others if not re.search(r"\s", name)]
    named = set()
    for name, array in arrays.items():
        if name not in dataset.coords and "coordinates" not in array.attributes:
            here = [coord for coord in names if set(arrays[coord].dims) <= set(array.dims)]
            if here:
                array.attributes["coordinates"] = " ".join(here)
        named.update(str(array.attributes.get("coordinates", "")).split())
    rest = [name for name in names if name not in named]
    if rest:
        root["coordinates"] = " ".join([*str(root.get("coordinates", "")).split(), *rest])


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
