"""Chains that are evaluated beside the data: what may not run there is refused with a typed error."""

import iris_sample_data
import pytest
import xarray as xr

from landbridge.datasets.operations import evaluate
from landbridge.errors import InvalidArguments


@pytest.fixture(scope="module")
def ostia():
    with xr.open_dataset(f"{iris_sample_data.path}/ostia_monthly.nc") as dataset:
        yield dataset.rename(surface_temperature="sst")


def run(dataset, *steps, limit_bytes=10**9, check=lambda: None):
    return evaluate(dataset, list(steps), limit_bytes=limit_bytes, check=check)


def test_a_chain_written_by_hand_gives_what_xarray_gives(ostia):
    steps = [["data"], ["get", {"node": 0}, "sst"], ["call", {"node": 1}, "mean", ["time"], {}]]
    xr.testing.assert_identical(run(ostia, *steps), ostia.sst.mean("time"))


def test_a_method_that_is_in_no_table_is_refused(ostia):
    with pytest.raises(InvalidArguments, match="'to_netcdf' does not run beside the data"):
        run(ostia, ["data"], ["call", {"node": 0}, "to_netcdf", ["/tmp/x"], {}])
