"""Southern Oscillation Index: how the air pressure over the Pacific swings from side to side.

The data are the monthly index of 1866 to 2013 from pressure at Darwin (Climate Analysis Section, NCAR, Boulder), from
the package `iris-sample-data`.
"""

from __future__ import annotations

from importlib.resources import files

import xarray as xr

__all__ = ["index"]


def index(first: int = 1866, last: int = 2013) -> xr.DataArray:
    """Monthly Southern Oscillation Index.

    Parameters
    ----------
    first, last : int
        Years, both included; the whole record if none are given.

    Returns
    -------
    xarray.DataArray of float64, shape (time,)
        Standardised index, without a unit. NaN where there is none, as in all of 2013.

    Raises
    ------
    ValueError
        When the record has no such years.

    References
    ----------
    Trenberth, K. E. (1984): Signal versus Noise in the Southern Oscillation. Mon. Wea. Rev. 112, 326-332.
    """
    path = files("iris_sample_data") / "sample_data" / "SOI_Darwin.nc"
    with xr.open_dataset(str(path)) as data:
        record = data["SOI_Darwin"].astype("float64").load()
    years = record["time"].dt.year
    record = record[(years >= first) & (years <= last)]
    if not record.size:
        raise ValueError(f"the record has no months from {first} to {last}; it is of 1866 to 2013")
    record.attrs = {"long_name": "Southern Oscillation Index", "units": "1", "source": "CAS/NCAR, Darwin"}
    return record.rename("soi")
