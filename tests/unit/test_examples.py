"""The modules of the demo, at home: the numbers against an independent computation, the scripts against each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

ENSO = Path(__file__).resolve().parents[2] / "examples" / "enso"
DATA = Path(str(files("iris_sample_data"))) / "sample_data"


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(ENSO))
    import correlation
    import soi
    import sst

    return sst, soi, correlation


def independent_correlation() -> list[float]:
    """Do it all again with nothing but netCDF4 and NumPy."""
    import netCDF4

    with netCDF4.Dataset(DATA / "ostia_monthly.nc") as file:
        temperature = np.asarray(file["surface_temperature"][:].filled(np.nan), "f8")
        latitude, longitude = np.asarray(file["latitude"][:]), np.asarray(file["longitude"][:])
        times = netCDF4.num2date(file["time"][:], file["time"].units)
        sst_months = np.array([time.year * 12 + time.month - 1 for time in times])
    with netCDF4.Dataset(DATA / "SOI_Darwin.nc") as file:
        soi = np.asarray(file["SOI_Darwin"][:], "f8")
    inside = temperature[:, :, (longitude >= 190) & (longitude <= 240)]
    weights = np.broadcast_to(np.cos(np.deg2rad(latitude))[None, :, None], inside.shape)
    sea = ~np.isnan(inside)
    mean = np.where(sea, inside * weights, 0).sum((1, 2)) / np.where(sea, weights, 0).sum((1, 2))
    calendar = sst_months % 12
    anomaly = mean - np.array([mean[calendar == month].mean() for month in calendar])
    # The record begins in January 1866.
    return [np.corrcoef(anomaly, soi[sst_months - lag - 1866 * 12])[0, 1] for lag in range(-3, 7)]


def test_the_record_begins_where_the_independent_computation_says():
    import netCDF4

    with netCDF4.Dataset(DATA / "SOI_Darwin.nc") as file:
        first = netCDF4.num2date(file["time"][0], file["time"].units)
    assert (first.year, first.month) == (1866, 1)


def test_correlation_agrees_with_an_independent_computation(modules):
    sst, soi, correlation = modules
    result = correlation.lagged(sst.anomaly(), soi.index())
    assert result.lag.values.tolist() == list(range(-3, 7))
    np.testing.assert_allclose(result.values, independent_correlation(), atol=1e-6)
    at = dict(zip(result.lag.values.tolist(), result.values.round(3).tolist(), strict=True))
    assert (at[0], at[-1], at[1], at[6]) == (-0.513, -0.515, -0.489, 0.183)


def test_series_say_what_they_are(modules):
    sst, soi, _ = modules
    assert (sst.anomaly().attrs["units"], soi.index().attrs["units"]) == ("K", "1")
    assert sst.anomaly().sizes == {"time": 54}
    assert soi.index().sizes == {"time": 1776}
    assert soi.index(2000, 2001).sizes == {"time": 24}


def test_what_cannot_be_computed_is_said(modules):
    sst, soi, correlation = modules
    with pytest.raises(ValueError, match=r"no sea between 500\.0 and 600\.0"):
        sst.anomaly(sst.Box(500.0, 600.0))
    with pytest.raises(ValueError, match="it is of 1866 to 2013"):
        soi.index(3000, 3001)
    with pytest.raises(ValueError, match="share 0 months"):
        correlation.lagged(sst.anomaly(), soi.index(1900, 1910))


def test_months_without_a_value_do_not_spoil_the_correlation(modules):
    sst, soi, correlation = modules
    anomaly, index = sst.anomaly(), soi.index()
    gappy = index.where(index["time"] != np.datetime64("2008-01-01"))
    known = anomaly[(anomaly["time"].dt.year != 2008) | (anomaly["time"].dt.month != 1)]
    got = correlation.lagged(anomaly, gappy, 0, 0)
    np.testing.assert_allclose(got.values, correlation.lagged(known, index, 0, 0).values, atol=1e-12)
    assert np.isnan(soi.index(2013, 2013)).all()
    with pytest.raises(ValueError, match="share 0 months"):
        correlation.lagged(index[-60:], soi.index(2013, 2013), 0, 0)


def without_imports(script: str) -> str:
    tree = ast.parse((ENSO / script).read_text())
    lines = [ast.unparse(node) for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(lines)


def test_local_and_remote_script_differ_in_import_lines_only():
    local, remote = ((ENSO / name).read_text().splitlines() for name in ("enso_local.py", "enso_remote.py"))
    different = set(local) ^ set(remote)
    assert different
    assert all(line.startswith("from ") for line in different)
    assert without_imports("enso_local.py") == without_imports("enso_remote.py")


@pytest.mark.parametrize("name", ["sst", "soi", "correlation"])
def test_modules_know_nothing_of_landbridge(name):
    assert "landbridge" not in (ENSO / f"{name}.py").read_text()


def test_local_script_runs():
    run = subprocess.run([sys.executable, ENSO / "enso_local.py"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "+0  -0.513" in run.stdout
