"""What is said of a value that stays here: its type, size and shape, and a few lines of what it looks like."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

from ..errors import printable

__all__ = ["is_lazy", "summary_of"]

_PREVIEW_CHARS = 2000
_NAMES = 100
_NAME_CHARS = 60
_TITLE_CHARS = 200


def summary_of(value: object, size: int | None) -> dict[str, Any]:
    """Return what is said of a value, as plain values.

    Parameters
    ----------
    value : object
        The value.
    size : int or None
        How many bytes it has on the wire, if that is known.

    Returns
    -------
    dict
        ``type`` and ``preview``; ``bytes``, ``dims``, ``shape``, ``dtype`` and ``dtypes`` where there are such.

    Examples
    --------
    >>> import numpy as np
    >>> summary_of(np.zeros((2, 3), "f4"), 88)
    {'type': 'numpy.ndarray', 'bytes': 88, 'shape': [2, 3], 'dtype': 'float32', 'preview': 'array of 2 x 3 float32'}
    """
    kind = type(value)
    said: dict[str, Any] = {"type": _type_name(kind)}
    if size is None:
        size = getattr(value, "nbytes", None)
    if type(size) is int:
        said["bytes"] = size
    dims = getattr(value, "sizes", None)
    if dims is not None and kind.__module__.startswith("xarray."):
        said["dims"] = {printable(str(name), _NAME_CHARS): int(length) for name, length in islice(dims.items(), _NAMES)}
        variables = getattr(value, "data_vars", None)
        if variables is not None:
            dtypes = islice(variables.items(), _NAMES)
            said["dtypes"] = {printable(str(name), _NAME_CHARS): _dtype(each) for name, each in dtypes}
        else:
            said["dtype"] = _dtype(value)
    elif kind.__module__ == "numpy" and hasattr(value, "shape"):
        said["shape"] = list(value.shape)
        said["dtype"] = _dtype(value)
    said["preview"] = _preview(value, said)
    return said


def _type_name(kind: type) -> str:
    module = kind.__module__
    name = f"{module.partition('.')[0]}.{kind.__qualname__}" if module != "builtins" else kind.__qualname__
    return printable(name, _TITLE_CHARS)


def _dtype(value: Any) -> str:
    return printable(str(value.dtype), _NAME_CHARS)


def _preview(value: object, said: dict[str, Any]) -> str:
    if "shape" in said:
        lengths = " x ".join(map(str, said["shape"])) or "one"
        return f"array of {lengths} {said['dtype']}"
    if isinstance(value, str | bytes | bytearray | list | tuple | dict | set | frozenset):
        return f"{said['type']} of {len(value):,}"
    try:
        text = repr(value)
    except Exception:  # a class of its owner's
        return ""
    return "\n".join(printable(line, 200) for line in text.splitlines()[:30])[:_PREVIEW_CHARS]


def is_lazy(value: object) -> bool:
    """Return whether a value is an xarray one whose data are not in memory: it is kept as it is, not computed."""
    xarray = sys.modules.get("xarray")
    if xarray is None:
        return False
    if isinstance(value, xarray.Dataset):
        return any(not variable._in_memory for variable in value.variables.values())
    if isinstance(value, xarray.DataArray):
        return not value.variable._in_memory or any(not coord.variable._in_memory for coord in value.coords.values())
    return False
