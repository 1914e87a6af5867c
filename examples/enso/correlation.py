"""Correlation of two monthly series at several lags. No data here, only the method."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["lagged"]


def lagged(series: xr.DataArray, other: xr.DataArray, first: int = -3, last: int = 6) -> xr.DataArray:
    """Correlation of a monthly series with another one at each of several lags.

    At lag n every month of `series` is paired with the month of `other` that is n months earlier; `other` may reach
    further than `series`, so that no month need be left out. Months are matched by the calendar, wherever in a month
    the values of the two are placed.

    Parameters
    ----------
    series, other : xarray.DataArray of float, shape (time,)
        Monthly values; NaN marks months without one, which are left out.
    first, last : int
        First and last lag, in months.

    Returns
    -------
    xarray.DataArray of float64, shape (lag,)
        Pearson's correlation coefficient at each lag.

    Raises
    ------
    ValueError
        When `other` has too few of the months that are needed, or none at all.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.date_range("2000-01", periods=24, freq="MS")
    >>> wave = xr.DataArray(np.sin(np.arange(24.0)), {"time": times}, "time")
    >>> float(lagged(wave, wave, 0, 0)[0])
    1.0
    """
    values = dict(zip(_months(other), other.values, strict=True))
    lags = np.arange(first, last + 1)
    result = []
    for lag in lags:
        pairs = [
            (value, values[month - lag])
            for month, value in zip(_months(series), series.values, strict=True)
            if month - lag in values and not np.isnan([value, values[month - lag]]).any()
        ]
        if len(pairs) < 3:
            raise ValueError(f"at lag {lag} the series share {len(pairs)} months; a correlation needs 3")
        result.append(round(float(np.corrcoef(np.array(pairs).T)[0, 1]), 12))
    attributes = {"long_name": "correlation", "units": "1"}
    lag = ("lag", lags, {"long_name": "other leads by", "units": "months"})
    return xr.DataArray(result, {"lag": lag}, "lag", name="correlation", attrs=attributes)


def _months(series: xr.DataArray) -> list[int]:
    """Return the months of a series, counted from the year 0."""
    times = series["time"].dt
    return [int(year) * 12 + int(month) for year, month in zip(times.year, times.month, strict=True)]
