"""GRIB files arrive as cfgrib opens them; each is read in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import xarray as xr

TESTS = Path(__file__).parents[2]
ERA5 = "era5-2mt-2019-03-uk.grib"


def read(path: Path) -> str:
    script = Path(__file__).with_name("grib_reader.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(TESTS)])}
    done = subprocess.run([sys.executable, script, path], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sample_of_xarray_arrives_as_cfgrib_opens_it():
    assert read(Path(xr.__file__).parent / "tests" / "data" / "example.grib").startswith("identical: ")


def test_the_polar_sample_of_iris_arrives_as_cfgrib_opens_it():
    assert read(Path(str(files("iris_sample_data"))) / "sample_data" / "polar_stereo.grib2").startswith("identical: ")


def test_the_era5_sample_arrives_as_cfgrib_opens_it():
    folder = os.environ.get("LANDBRIDGE_TEST_DATA")
    if not folder:
        pytest.skip(f"LANDBRIDGE_TEST_DATA does not name a folder with {ERA5}")
    assert read(Path(folder) / ERA5) == "identical: t2m\n"
