"""Run by test_grib in a process of its own: eccodes and pyproj cannot share one. Argument: a GRIB file."""

import sys
import warnings
from pathlib import Path

import xarray as xr

from landbridge.datasets.sources import file_source
from unit.datasets.reader import read_back

path = Path(sys.argv[1])
before = sorted(path.parent.iterdir())
view = file_source("ecmwf/era5.data", path).current()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    found = read_back(view)
    opened = xr.open_dataset(path, engine="cfgrib", indexpath="")
for each in (found, opened):
    assert each.attrs.pop("history")  # in which the minute stands
xr.testing.assert_identical(found, opened)
assert sorted(path.parent.iterdir()) == before, "files were written beside the data"
print("identical:", *found.data_vars)
