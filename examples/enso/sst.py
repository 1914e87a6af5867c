"""Sea surface temperature of the equatorial Pacific, analysed from satellites, ships and buoys.

The data are the OSTIA analysis (Operational Sea Surface Temperature and Sea Ice Analysis, UK Met Office) of April 2006
to September 2010, monthly means of the tropical band, from the package `iris-sample-data`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import xarray as xr

__all__ = ["anomaly"]


@dataclass(frozen=True)
class Box:
    """Longitudes to average over, in degrees east; latitudes are those of the file's tropical band."""

    west: float
    east: float


NINO34 = Box(west=190.0, east=240.0)
"""170°W to 120°W, where El Niño shows most clearly."""


def anomaly(box: Box = NINO34) -> xr.DataArray:
    """Monthly anomaly of the sea surface temperature, averaged over a box.

    The average is weighted with the cosine of latitude; the anomaly is what differs from the mean of the same calendar
    month over the years of the file.

    Parameters
    ----------
    box : Box
        Longitudes to average over; the Niño 3.4 region if none are given.

    Returns
    -------
    xarray.DataArray of float64, shape (time,)
        Anomaly of each month, in kelvin.

    Raises
    ------
    ValueError
        When there is no sea in the box.

    References
    ----------
    Trenberth, K. E. (1997): The Definition of El Niño. Bull. Amer. Meteor. Soc. 78, 2771-2777.
    Donlon, C. J. et al. (2012): The OSTIA system. Remote Sens. Environ. 116, 140-158.
    """
    path = files("iris_sample_data") / "sample_data" / "ostia_monthly.nc"
    with xr.open_dataset(str(path)) as data:
        temperature = data["surface_temperature"].astype("float64")
        inside = temperature.where((temperature.longitude >= box.west) & (temperature.longitude <= box.east), drop=True)
        if not inside.notnull().any():
            raise ValueError(f"there is no sea between {box.west} and {box.east} degrees east")
        weights = np.cos(np.deg2rad(inside.latitude))
        mean = inside.weighted(weights).mean(("latitude", "longitude"))
        result = (mean.groupby("time.month") - mean.groupby("time.month").mean()).drop_vars("month")
    result = result.reset_coords(drop=True).load()
    result.attrs = {"long_name": "sea surface temperature anomaly", "units": "K", "source": "OSTIA, UK Met Office"}
    return result.rename("sst_anomaly")
