"""What a step of a chain would take, estimated before it runs: refused if that is too much."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..errors import TooLarge, printable
from .arguments import Refused, frequency_s
from .bounded import Data, Memory, data_variables, size_bytes

__all__ = [
    "check_groups",
    "reserve_bins",
    "reserve_broadcast",
    "reserve_dot",
    "reserve_quantiles",
    "reserve_selected",
    "variables_of",
]

_MOST_GROUPS = 20_000
_QUANTILE_COPIES = 5  # measured: neighbours, their difference, and the outcome, where missing values are not skipped
_MOST_PRODUCTS = 10**11  # takes about a minute as float64, in which nothing can stop it


def variables_of(value: Any) -> list[Any]:
    """Return the variables of data without their coordinates; none of other values."""
    return list(data_variables(value).values()) if isinstance(value, (xr.DataArray, xr.Dataset)) else []


def reserve_broadcast(memory: Memory, *operands: Any, copies: int = 1) -> None:
    """Refuse what would not fit once every variable has the dimensions of all operands."""
    total = 0
    tables = [each for each in operands if isinstance(each, xr.Dataset)]
    rest = [each.variable for each in operands if isinstance(each, xr.DataArray)]
    names = tables[0].data_vars if tables else [None]
    for name in names:
        variables = [table.variables[name] for table in tables if name in table.data_vars] + rest
        lengths: dict[Any, int] = {}
        pieces: dict[Any, int] = {}
        chunked = False
        for variable in variables:
            chunks = variable.chunks or ((n,) for n in variable.shape)
            chunked = chunked or variable.chunks is not None
            for dim, size, parts in zip(variable.dims, variable.shape, chunks, strict=True):
                lengths[dim] = max(lengths.get(dim, 0), size)
                longest = max(parts, default=0)
                pieces[dim] = min(pieces[dim], longest) if dim in pieces else longest
        itemsize = max([8, *(size_bytes(each) // max(1, each.size) for each in variables)])
        if chunked:
            memory.reserve_chunk("a step of the chain", math.prod(pieces.values()) * itemsize * copies)
        else:
            total += math.prod(lengths.values()) * itemsize * copies
    memory.reserve("a step of the chain", total)


def reserve_selected(memory: Memory, data: Data, indexers: Mapping[str, Any], least_itemsize: int = 1) -> None:
    """Refuse selections (and interpolations) that repeat more than there is room for."""
    total = 0
    along: dict[Any, Any] = {}
    for name, indexer in indexers.items():
        dims = (name,) if name in data.dims else data.coords[name].dims
        for dim in dims:
            along[dim] = indexer
    variables = [*variables_of(data), *(each.variable for each in data.coords.values())]
    for variable in variables:
        lengths: dict[Any, int] = {}
        for dim, size in zip(variable.dims, variable.shape, strict=True):
            indexer = along.get(dim, slice(None))
            if isinstance(indexer, xr.DataArray):
                lengths.update(indexer.sizes)
            elif isinstance(indexer, slice):
                lengths[dim] = size
            else:
                lengths[dim] = int(np.size(indexer))
        itemsize = max(least_itemsize, size_bytes(variable) // max(1, variable.size))
        if along.keys() & set(variable.dims):
            size = math.prod(lengths.values()) * itemsize
            # What is not in memory may be large, but selecting is not to make more of it.
            total += size if variable._in_memory or size > size_bytes(variable) else 0
    memory.reserve("what is selected", total)


def reserve_dot(memory: Memory, data: Data, keywords: Mapping[str, Any]) -> None:
    """Refuse a product of which the dimensions that stay are too many, or that sums too much in one piece."""
    other = keywords.get("other")
    if not isinstance(data, xr.DataArray) or not isinstance(other, xr.DataArray):
        raise Refused("dot takes two arrays")
    dims = keywords.get("dim")
    both = set(data.dims) & set(other.dims)
    if dims is None:
        summed = both
    elif dims is ...:
        summed = set(data.dims) | set(other.dims)
    else:
        summed = {dims} if isinstance(dims, str) else set(dims)
    lengths = {**data.sizes, **other.sizes}
    products = math.prod(lengths.values())
    alone = sorted(map(str, summed - both))
    # Where one array has all the dimensions of the other, no more is multiplied than it has elements.
    if alone and products > max(data.size, other.size):
        raise Refused(f"{printable(alone[0], 60)!r} is not a dimension of both arrays; sum along it before")
    if products > _MOST_PRODUCTS:
        itemsize = max(8, data.dtype.itemsize, other.dtype.itemsize)
        raise TooLarge(
            f"dot multiplies {products:,} pairs",
            products * itemsize,
            _MOST_PRODUCTS * itemsize,
            "Select a part first, or reduce along other dimensions",
        )
    left, right = ({dim: 0 for dim in each.dims if dim in summed} for each in (data, other))
    reserve_broadcast(memory, data.isel(left, drop=True), other.isel(right, drop=True))


def reserve_quantiles(
    memory: Memory, data: Data, keywords: Mapping[str, Any], reduced: Collection[Any], groups: int = 1
) -> None:
    """Refuse more fractions than there is room for: each gives as much as stays without the reduced dimensions."""
    fractions = max(1, int(np.size(keywords.get("q", ()))))
    total = 0
    for variable in variables_of(data):
        if reduced and not set(variable.dims) & set(reduced):
            continue
        stays = [size for dim, size in zip(variable.dims, variable.shape, strict=True) if dim not in reduced]
        found = math.prod(stays) * groups * fractions * max(8, variable.dtype.itemsize)
        total += _QUANTILE_COPIES * found + (size_bytes(variable) if variable.chunks is None else 0)
    memory.reserve(f"{fractions:,} quantiles", total)


def reserve_bins(memory: Memory, data: Data, keywords: Mapping[str, Any]) -> int:
    """Return how many bins ``resample`` makes, with those that are empty; refuse more than there is room for."""
    dims = [name for name in keywords if name in data.dims]
    if len(dims) != 1:
        raise Refused("resample along one dimension, as in resample(time='MS')")
    index = data.indexes.get(dims[0])
    if index is None or not len(index):
        raise Refused(f"{printable(dims[0], 60)!r} has no times")
    span = index.max() - index.min()
    if not hasattr(span, "total_seconds"):
        raise Refused(f"{printable(dims[0], 60)!r} has no times")
    bins = int(span.total_seconds() / frequency_s(keywords[dims[0]])) + 2 if span == span else 1
    size = sum(map(size_bytes, variables_of(data)))
    memory.reserve(f"data in {bins:,} bins of time", max(8, size // max(1, data.sizes[dims[0]])) * bins)
    check_groups(bins)
    return bins


def check_groups(count: int) -> None:
    """Refuse more groups than xarray goes through, one by one, in a short time."""
    if count > _MOST_GROUPS:
        raise Refused(
            f"{count:,} groups are too many; the limit is {_MOST_GROUPS:,}. Take larger ones, or a part first"
        )
