"""Why a value of an unknown type cannot travel, and what its owner can do."""

from __future__ import annotations

import dataclasses
import enum

from ..errors import printable
from .tags import Refused, encoder_for

__all__ = ["refusal"]

_BUILTINS = (bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict)

_TABLES = {
    "pandas": {"SparseArray": "Send .to_dense()", "Styler": "Send its .data"},
    "pyarrow": {
        "RecordBatchReader": "Send .read_all(), a pyarrow.Table",
        "RecordBatchStreamReader": "Send .read_all(), a pyarrow.Table",
        "FileSystemDataset": "Send .to_table()",
        "Buffer": "Send .to_pybytes()",
    },
    "polars": {"LazyFrame": "Send .collect(), a polars.DataFrame"},
    "geopandas": {},
    "shapely": {},
}
"""Package → type → what its owner can do."""


def refusal(value: object) -> Refused:
    """Return the refusal of a value whose exact type has no tag."""
    kind = type(value)
    name = _name_of(kind)
    package = kind.__module__.partition(".")[0]
    if isinstance(value, enum.Enum):
        return Refused(
            value,
            f"it is a member of the enumeration {name}",
            "Name the enumeration in the signature of the method, or send its .value",
        )
    if dataclasses.is_dataclass(kind):
        return Refused(
            value,
            f"it is an instance of the dataclass {name}",
            "Name the dataclass in the signature of the method, or send dataclasses.asdict(...)",
        )
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return Refused(value, f"it is a named tuple, {name}", "Send ._asdict() or tuple(...)")
    if package in _TABLES:
        return Refused(
            value, f"it is a {name}", _TABLES[package].get(kind.__name__, "Convert it to a table or an array")
        )
    if package == "numpy":
        return Refused(value, f"it is a {name}", _numpy_advice(kind.__name__))
    if package == "xarray":
        return Refused(value, f"it is a {name}", "Send a DataArray or a Dataset")
    if package in ("dask", "cupy", "torch", "jax", "jaxlib", "sparse"):
        return Refused(value, f"it is a {name}", "Convert it to a NumPy array (of dask, .compute() does)")
    if isinstance(value, type):
        return Refused(
            value,
            f"it is a class ({_name_of(value)}), and only data travel",
            "Where a function is wanted, give one that calls the class",
        )
    if callable(value):
        return Refused(value, f"it is code ({name}), and only data travel", "Send what it returns")
    if kind is memoryview:
        return Refused(value, "it is a memoryview", "Send bytes(...) or a NumPy array")
    for builtin in _BUILTINS:
        if isinstance(value, builtin):
            return Refused(
                value,
                f"it is a {name}, a subclass of {builtin.__name__} that would arrive as another type",
                f"Send {builtin.__name__}(...)",
            )
    if isinstance(value, BaseException):
        return Refused(value, f"it is an exception ({name})", "Raise it, or send str(...)")
    base = next((base for base in kind.__mro__[1:] if encoder_for(base) is not None), None)
    if base is not None:
        return Refused(
            value,
            f"it is a {name}, a subclass of {_name_of(base)} that would arrive as another type",
            f"Send {base.__name__}(...), or give it a name with landbridge.register",
        )
    return Refused(
        value,
        f"no rule is known for objects of type {name}",
        "Convert it to a type that travels (docs: types), or give its type a name with landbridge.register",
    )


def _name_of(cls: type) -> str:
    return printable(f"{cls.__module__}.{cls.__qualname__}", 100).removeprefix("builtins.")


def _numpy_advice(name: str) -> str:
    if "longdouble" in name:
        return "Its format differs among computers; convert it to float64 or complex128"
    return "Send .view(numpy.ndarray) or numpy.asarray(...)"
