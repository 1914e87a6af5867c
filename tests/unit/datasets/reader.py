"""A reader: puts together what a view gives, after it has been through the wire, and decodes it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from landbridge.datasets.view import BLOCK_BYTES, DatasetView
from landbridge.wire import decode, encode

WHOLE = slice(None)


def there_and_back(value):
    return decode(bytearray(b"".join(encode(value))))


def read_back(view: DatasetView) -> xr.Dataset:
    """Return the whole data set as a reader sees it."""
    opened = there_and_back(view.open())
    arrays = {name: np.empty(shape, dtype) for name, _, shape, dtype, *_ in opened["lazy"]}
    wanted = [[name, ["outer", [WHOLE] * array.ndim]] for name, array in arrays.items()]
    for position, start, values in view.select(there_and_back(wanted)):
        assert values.nbytes <= BLOCK_BYTES
        box = tuple(slice(low, low + length) for low, length in zip(start, values.shape, strict=True))
        arrays[wanted[position][0]][box] = there_and_back(values)
    lazy = {
        name: xr.Variable(dims, arrays[name], attrs, encoding)
        for name, dims, _, _, attrs, encoding, _ in opened["lazy"]
    }
    small = opened["dataset"]
    variables = {name: lazy[name] if name in lazy else small.variables[name] for name in opened["variables"]}
    found = xr.Dataset(
        {name: variable for name, variable in variables.items() if name not in opened["coords"]},
        coords={name: variables[name] for name in opened["coords"]},
        attrs=small.attrs,
    )
    found.encoding = small.encoding
    assert list(variables) == list(view.dataset.variables)
    return xr.decode_cf(found) if opened["raw"] else found
