"""The golden vectors: old frames are read for ever, and the same values give the same bytes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from landbridge.wire import Function, Limits, decode, encode
from unit.wire.exactness import assert_exact

SPEC = Path(__file__).parents[3] / "spec" / "vectors"
INDEX = json.loads((SPEC / "values" / "index.json").read_text(encoding="utf-8"))


def _script():
    spec = importlib.util.spec_from_file_location("make_values", SPEC / "make_values.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["name"])
def test_vector_decodes_to_what_it_says(entry):
    expected = SCRIPT.value_of(entry["python"])
    limits = Limits(raw_bytes=100_000)
    value = decode((SPEC / "values" / entry["file"]).read_bytes(), function_of=Function, limits=limits)
    assert type(value) is type(expected)
    if isinstance(expected, xr.Dataset | xr.DataArray):
        xr.testing.assert_identical(value, expected)
    elif isinstance(expected, np.ndarray):
        assert value.dtype == expected.dtype
    assert repr(value) == repr(expected)
    assert_exact(value, expected)


@pytest.mark.parametrize("entry", [each for each in INDEX if "codec" not in each], ids=lambda entry: entry["name"])
def test_value_encodes_to_the_vector(entry):
    frame = b"".join(encode(SCRIPT.value_of(entry["python"])))
    assert frame == (SPEC / "values" / entry["file"]).read_bytes()


def test_index_names_every_file_and_every_vector():
    assert {entry["file"] for entry in INDEX} == {path.name for path in (SPEC / "values").glob("*.bin")}
    assert [entry["name"] for entry in INDEX] == [*SCRIPT.VECTORS, *SCRIPT.COMPRESSED]


@pytest.mark.parametrize("entry", [each for each in INDEX if "codec" in each], ids=lambda entry: entry["name"])
def test_what_is_compressed_now_is_read_as_the_vector_is(entry):
    frame = SCRIPT.compressed_frame(entry["python"], entry["codec"])
    assert frame[:4] == (SPEC / "values" / entry["file"]).read_bytes()[:4] == b"LB\x01\x01"
    assert_exact(decode(frame, limits=Limits(raw_bytes=100_000)), SCRIPT.value_of(entry["python"]))
