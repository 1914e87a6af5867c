"""zarrita.js, the Zarr library of browsers, reads from the keys of a data set the values that NumPy holds."""

import base64
import json
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from landbridge.datasets.zarrkeys import ZarrKeys

SOURCE = Path(__file__).resolve().parents[1] / "zarrita"
NEED = "Reading with zarrita.js needs Node.js 20 or newer with npm, and the npm registry"

DATASET = xr.Dataset(
    {
        "f4": (("y", "x"), np.arange(5 * 7, dtype="f4").reshape(5, 7) / 3),
        "f8": ("x", np.array([0, -0.0, np.inf, -np.inf, 5e-324, 1 / 3, 2e300])),
        "i2": (
            "x",
            np.arange(-3, 4, dtype="i2"),
            {"scale_factor": 0.01, "add_offset": 20.0, "_FillValue": np.int16(-3)},
        ),
        "i8": ("y", np.array([2**63 - 1, -(2**63), 2**53 + 1, 0, -1])),
        "u8": ("y", np.array([2**64 - 1, 2**53 + 1, 0, 1, 2], "u8")),
        "flags": ("y", np.array([True, False, True, True, False])),
        "names": ("y", np.array(["Kiel", "", "Ny-Ålesund", "気象庁", "🌊"], object)),
        "scalar": ((), np.float32(2.5)),
        "when": ("y", np.array(["2000-01-01T00:00:00.000000001"] * 5, "M8[ns]")),
    },
    attrs={"title": "a test"},
)


def run_npm(*arguments, cwd):
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail(f"npm was not found. {NEED}.")
    try:
        done = subprocess.run([npm, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail(f"npm {arguments[0]} did not end within 60 s: the registry does not answer. {NEED}.")
    if done.returncode:
        pytest.fail(f"npm {arguments[0]} failed. {NEED}.\n{done.stderr[-2000:]}")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    node = shutil.which("node")
    if node is None:
        pytest.fail(f"node was not found. {NEED}.")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.fail(f"node is of version {version}. {NEED}.")
    folder = tmp_path_factory.mktemp("zarrita")
    for name in (".npmrc", "package.json", "package-lock.json", "read.mjs"):
        shutil.copy(SOURCE / name, folder)
    run_npm("ci", cwd=folder)
    return node, folder


@pytest.fixture(scope="module")
def read(installed):
    """Return what zarrita read of `DATASET` in small chunks, and the keys it asked for."""
    node, folder = installed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("landbridge.datasets.zarrtypes.CHUNK_BYTES", 64)
        chunks = {"y": 2, "x": 3}
        keys = ZarrKeys(DATASET, lambda name, part: DATASET[name].variable[part].values, lambda name: chunks)
    asked = []
    with subprocess.Popen(
        [node, "read.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            for line in process.stdout:
                said = json.loads(line)
                if "arrays" in said:
                    return said, asked
                asked.append(said["key"])
                value = keys.get(said["key"], said["start"], said["stop"])
                answer = None if value is None else base64.b64encode(value).decode()
                process.stdin.write(json.dumps({"id": said["id"], "value": answer}) + "\n")
                process.stdin.flush()
            pytest.fail(f"read.mjs ended without a result:\n{process.stderr.read()[-4000:]}")
        finally:
            limit.cancel()
            process.kill()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("f4", "Float32Array"),
        ("f8", "Float64Array"),
        ("i2", "Int16Array"),
        ("i8", "BigInt64Array"),
        ("u8", "BigUint64Array"),
    ],
)
def test_numbers_are_equal_bit_for_bit(read, name, kind):
    got, expected = read[0]["arrays"][name], DATASET[name].values
    assert (got["type"], got["shape"]) == (kind, list(expected.shape))
    assert base64.b64decode(got["bytes"]) == expected.tobytes()


def test_integers_of_64_bits_are_exact_in_javascript(read):
    for name in ("i8", "u8"):
        assert read[0]["arrays"][name]["texts"] == list(map(str, DATASET[name].values.tolist()))


def test_texts_are_equal(read):
    assert read[0]["arrays"]["names"]["values"] == DATASET["names"].values.tolist()


def test_truth_values_and_scalars_are_equal(read):
    assert read[0]["arrays"]["flags"]["texts"] == ["true", "false", "true", "true", "false"]
    assert read[0]["arrays"]["scalar"]["texts"] == ["2.5"]


def test_packing_and_times_come_with_what_decodes_them(read):
    packed = read[0]["arrays"]["i2"]["attrs"]
    assert packed == {"scale_factor": 0.01, "add_offset": 20.0, "_FillValue": -3}
    when = read[0]["arrays"]["when"]
    assert when["attrs"] == {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    assert when["texts"] == ["946684800000000001"] * 5


def test_a_part_is_read_across_the_edges_of_chunks(read):
    answer, asked = read
    assert answer["arrays"]["f4"]["chunks"] == [4, 3]
    part = DATASET["f4"].values[1:4, 6]
    assert base64.b64decode(answer["part"]["bytes"]) == part.tobytes()
    assert asked.count("zarr.json") == 1
    assert not [key for key in asked if key.endswith("/zarr.json")]
