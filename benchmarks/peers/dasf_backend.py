"""The same methods as `../work.py`, in the form that DASF wants."""

import xarray  # not `as xr`: the module that DASF generates for callers would then not load
from demessaging import configure, main
from demessaging.serializers.xarray import encode_xarray
from demessaging.validators.xarray import validate_dataarray

__all__ = ["add", "echo"]


def add(a: int, b: int) -> int:
    """Return the sum of two whole numbers."""
    return a + b


@configure(
    validators={"value": [validate_dataarray]},
    serializers={"value": encode_xarray},
    return_validators=[validate_dataarray],
    return_serializer=encode_xarray,
)
def echo(value: xarray.DataArray) -> xarray.DataArray:
    """Return what was given."""
    return value


if __name__ == "__main__":
    main(messaging_config={"topic": "bench"})
