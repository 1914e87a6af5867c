"""The operations of xarray that a chain may have, with their arguments: data, read by both sides.

What is not in these tables does not run at an owner. None takes a function, a class, a file, or text that is parsed as
code; numbers that say how large something becomes are bounded where they are checked (`arguments`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

__all__ = [
    "BINARY",
    "COMPONENTS",
    "DTYPES",
    "MOST_NODES",
    "OPERATIONS",
    "UFUNCS",
    "UNARY",
    "WITHOUT_TEXT",
    "Argument",
    "Effect",
    "Operation",
]

MOST_NODES = 1000
"""How many steps a chain may have."""

Argument: TypeAlias = "str | tuple[str, ...]"
"""What an argument may be: the name of a check in `arguments`, or the texts to choose from."""

Effect: TypeAlias = Literal["select", "stream", "reduce", "prepare"]
"""What an operation does to memory.

``select`` picks a part and reads nothing. ``stream`` works on one chunk after another; ``reduce`` does too, and gives
what is kept in memory. ``prepare`` (groups, windows, weights) only gets ready for what comes next.
"""


@dataclass(frozen=True)
class Operation:
    """One method of xarray.

    Attributes
    ----------
    effect : str
        What it does to memory.
    parameters : dict of str to Argument
        Its parameters in order, and what may be given for each.
    each : Argument, optional
        What further keywords may be, which are named like dimensions or variables.
    many : Argument, optional
        What any number of positional arguments may be, instead of `parameters`.
    gives : str
        Which table knows what comes out of it.
    whole : bool
        Whether it needs the dimensions it works along in one piece.
    calculates : bool
        Whether it takes numbers, truth values and times alone: text and other objects of Python are refused.
    """

    effect: Effect
    parameters: dict[str, Argument] = field(default_factory=dict)
    each: Argument | None = None
    many: Argument | None = None
    gives: str = "data"
    whole: bool = False
    calculates: bool = True


_DATETIME_UNIT = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns")
_QUANTILE = (
    "linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf", "averaged_inverted_cdf",
    "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased",
)  # fmt: skip
_PLAIN: dict[str, Argument] = {"dim": "dims", "skipna": "flag", "keep_attrs": "flag"}


def _reductions() -> dict[str, Operation]:
    plain = Operation("reduce", _PLAIN)
    spread = Operation("reduce", {**_PLAIN, "ddof": "small"})
    total = Operation("reduce", {**_PLAIN, "min_count": "small"})
    kept = Operation("reduce", {"dim": "dims", "keep_attrs": "flag"})
    extreme = replace(plain, calculates=False)
    return {
        "mean": plain, "min": extreme, "max": extreme, "sum": total, "prod": total, "std": spread, "var": spread,
        "median": replace(plain, whole=True), "any": kept, "all": kept,
        "count": replace(kept, calculates=False),
    }  # fmt: skip


_QUANTILES = Operation(
    "reduce",
    {"q": "fractions", "dim": "dims", "method": _QUANTILE, "keep_attrs": "flag", "skipna": "flag"},
    whole=True,
)
_EXTREME = Operation("reduce", {"dim": "one_dim", "skipna": "flag", "keep_attrs": "flag"})
_RUNNING = Operation("stream", {"dim": "one_dim", "skipna": "flag", "keep_attrs": "flag"})
_NULL = Operation("stream", {"keep_attrs": "flag"}, calculates=False)

_DATA: dict[str, Operation] = {
    # Parts
    "sel": Operation(
        "select",
        {"method": ("nearest", "pad", "ffill", "backfill", "bfill"), "tolerance": "number", "drop": "flag"},
        each="labels",
        calculates=False,
    ),
    "isel": Operation(
        "select", {"drop": "flag", "missing_dims": ("raise", "ignore")}, each="positions", calculates=False
    ),
    "squeeze": Operation("select", {"dim": "dims", "drop": "flag"}, calculates=False),
    "transpose": Operation("select", many="dims", calculates=False),
    "drop_vars": Operation("select", {"names": "dims", "errors": ("raise", "ignore")}, calculates=False),
    "rename": Operation("select", {"new_name_or_name_dict": "name"}, each="name", calculates=False),
    "assign_coords": Operation("stream", each="coordinate", calculates=False),
    # Element by element
    "where": Operation("stream", {"cond": "operand", "other": "operand", "drop": "flag"}, calculates=False),
    "fillna": Operation("stream", {"value": "operand"}, calculates=False),
    "clip": Operation("stream", {"min": "operand", "max": "operand", "keep_attrs": "flag"}),
    "isin": Operation("stream", {"test_elements": "elements"}, calculates=False),
    "isnull": _NULL,
    "notnull": _NULL,
    "astype": Operation("stream", {"dtype": "dtype", "keep_attrs": "flag"}, calculates=False),
    "round": Operation("stream", {"decimals": "small"}),
    "dt": Operation("stream", {"component": "component"}, calculates=False),
    # Along a dimension
    "diff": Operation("stream", {"dim": "one_dim", "n": "small", "label": ("upper", "lower")}),
    "shift": Operation("stream", {"fill_value": "number"}, each="offset", calculates=False),
    "roll": Operation("stream", {"roll_coords": "flag"}, each="offset", calculates=False),
    "cumsum": _RUNNING,
    "cumprod": _RUNNING,
    "differentiate": Operation("stream", {"coord": "existing", "edge_order": "small", "datetime_unit": _DATETIME_UNIT}),
    "integrate": Operation("reduce", {"coord": "existing_many", "datetime_unit": _DATETIME_UNIT}),
    "interp": Operation(
        "stream",
        {"method": ("linear", "nearest", "zero", "slinear", "quadratic", "cubic"), "assume_sorted": "flag"},
        each="labels",
        whole=True,
        calculates=False,  # xarray itself picks the nearest of what is no number
    ),
    "sortby": Operation("stream", {"variables": "existing_many", "ascending": "flag"}, whole=True, calculates=False),
    # To less
    **_reductions(),
    "quantile": _QUANTILES,
    "argmax": _EXTREME,
    "argmin": _EXTREME,
    "idxmax": _EXTREME,
    "idxmin": _EXTREME,
    "dot": Operation("reduce", {"other": "operand", "dim": "dims"}),
    # In groups and windows
    "weighted": Operation("prepare", {"weights": "operand"}, gives="weighted"),
    "groupby": Operation("prepare", {"group": "group"}, gives="groupby", calculates=False),
    "resample": Operation(
        "prepare",
        {"skipna": "flag", "closed": ("left", "right"), "label": ("left", "right")},
        each="frequency",
        gives="resample",
        calculates=False,
    ),
    "coarsen": Operation(
        "prepare",
        {"boundary": ("exact", "trim", "pad"), "side": ("left", "right")},
        each="window",
        gives="coarsen",
        calculates=False,
    ),
    "rolling": Operation(
        "prepare", {"min_periods": "small", "center": "flag"}, each="window", gives="rolling", calculates=False
    ),
}

_GROUPED = {
    **_reductions(),
    "first": Operation("reduce", {"skipna": "flag", "keep_attrs": "flag"}, calculates=False),
    "last": Operation("reduce", {"skipna": "flag", "keep_attrs": "flag"}, calculates=False),
    "quantile": _QUANTILES,
}
_MOVING = {
    **{
        name: Operation("stream", {"keep_attrs": "flag"})
        for name in ("mean", "min", "max", "sum", "prod", "std", "var", "median")
    },
    "count": Operation("stream", {"keep_attrs": "flag"}, calculates=False),
}
_WEIGHTED: dict[str, Operation] = {
    **{name: Operation("reduce", _PLAIN) for name in ("mean", "sum", "std", "var", "sum_of_squares")},
    "sum_of_weights": Operation("reduce", {"dim": "dims", "keep_attrs": "flag"}),
    "quantile": Operation(
        "reduce", {"q": "fractions", "dim": "dims", "keep_attrs": "flag", "skipna": "flag"}, whole=True
    ),
}

OPERATIONS: dict[str, dict[str, Operation]] = {
    "data": _DATA,
    "groupby": _GROUPED,
    "resample": _GROUPED,
    "coarsen": _MOVING,
    "rolling": _MOVING,
    "weighted": _WEIGHTED,
}
"""Methods by what they are methods of: ``data`` is a Dataset or a DataArray."""

WITHOUT_TEXT = ("mean", "sum", "prod", "std", "var", "median", "cumsum", "cumprod")
"""Reductions of a data set, or of its groups, for which xarray leaves out the variables that are no numbers."""

UNARY = (
    "-", "~", "abs", "sqrt", "cbrt", "square", "exp", "expm1", "log", "log10", "log2", "log1p", "sin", "cos", "tan",
    "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "deg2rad", "rad2deg", "floor", "ceil", "trunc", "rint",
    "sign", "isfinite", "isnan",
)  # fmt: skip
"""Operators and NumPy functions of one operand."""

BINARY = (
    "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "&", "|", "^", "maximum", "minimum",
    "fmax", "fmin", "arctan2", "hypot",
)  # fmt: skip
"""Operators and NumPy functions of two operands."""

UFUNCS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "remainder": "%",
    "power": "**", "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "negative": "-", "invert": "~",
    "absolute": "abs", "radians": "deg2rad", "degrees": "rad2deg",
}  # fmt: skip
"""NumPy functions that are written as one of the above."""

COMPONENTS = (
    "year", "month", "day", "hour", "minute", "second", "dayofyear", "dayofweek", "weekday", "quarter", "season",
    "days_in_month",
)  # fmt: skip
"""What ``"time.month"`` may name after the dot."""

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip
"""What a chain may convert to."""
