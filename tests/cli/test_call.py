"""``landbridge call``: words in, values out, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from network import COMMAND

from .conftest import error_code


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["add", "1"], "3\n"),
        (["add", "--a", "1", "--b", "-5"], "-4\n"),
        (["add", "--a=1", "2"], None),
        (["hello"], "hello you\n"),
        (["hello", "--name=@@home"], "hello @home\n"),
        (["hello", "--", "--name", "--json"], None),
        (["hello", "--", "--name=--json"], "hello --json\n"),
        (["years", "2000", "2003"], "2000\n2001\n2002\n"),
        (["sleepy", "0"], ""),
    ],
)
def test_words_become_arguments_and_the_value_is_printed(call, words, shown):
    done = call(f"geomar/ocean.{words[0]}", *words[1:])
    assert (done.returncode, done.stdout) == ((0, shown) if shown is not None else (3, ""))


def test_fields_flags_and_members_are_written_as_the_help_says(call):
    done = call("geomar/ocean.mean", "2006", "--last", "2010", "--region.west", "-30", "--season", "summer", "--fill")
    assert json.loads(done.stdout) == {
        "years": [2006, 2010], "west": -30.0, "season": "SUMMER", "fill": True, "depth": 0.0,
    }  # fmt: skip


def test_help_shows_what_the_remote_method_takes(call):
    shown = " ".join(call("geomar/ocean.mean", "--help").stdout.split())
    assert "--first FIRST [int] First year. Required." in shown
    assert "--region.west WEST [float, in degrees_east, default -20.0]" in shown
    assert "One of WINTER, SUMMER." in shown
    assert "--fill, --no-fill" in shown


def test_help_without_a_method_needs_no_network(call, empty_env):
    done = call("--help", **empty_env)
    assert done.returncode == 0
    assert "--timeout-s" in done.stdout


def test_all_problems_are_told_at_once_and_the_method_does_not_run(call):
    done = call("geomar/ocean.mean", "--first", "x", "--seazon", "summer", "--region.wets", "1", "--depth", "--json")
    assert done.returncode == 3
    assert error_code(done.stdout) == "invalid_arguments"
    for text in ("first", "--season", "west", "depth: needs a value", "last: is missing"):
        assert text in done.stderr


def test_values_come_from_files_and_stdin(call, network, tmp_path):
    (tmp_path / "values.json").write_text("[1, 2, 3]")
    assert call("geomar/ocean.total", f"@{tmp_path}/values.json").stdout == "6.0\n"
    assert call("geomar/ocean.field", "-o", tmp_path / "f.nc").returncode == 0
    assert call("geomar/ocean.clip", f"@{tmp_path}/f.nc", "--least", "1").stdout == "4.0\n"
    (tmp_path / "name.txt").write_text("Zoë\n", encoding="utf-8")
    assert call("geomar/ocean.hello", f"@{tmp_path}/name.txt").stdout == "hello Zoë\n"
    done = subprocess.run(
        [*COMMAND, "call", "geomar/ocean.total", "-"], env=network.env, input="[1, 2]", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout == "3.0\n"


def test_a_file_that_is_missing_is_a_problem_of_its_argument(call, tmp_path):
    done = call("geomar/ocean.total", f"@{tmp_path}/no.npy")
    assert done.returncode == 3
    assert "values: can not be read" in done.stderr


@pytest.mark.parametrize("method", ["add 1", "hello", "columns", "field", "squared [1,2]", "gappy", "sleepy 0"])
def test_json_prints_one_value(call, method):
    done = call(*f"geomar/ocean.{method}".split(), "--json")
    assert done.returncode == 0
    json.loads(done.stdout)


def test_json_of_a_stream_is_one_line_for_each_item(call):
    lines = call("geomar/ocean.years", "1", "4", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [1, 2, 3]


def test_nan_becomes_null_only_with_a_note(call):
    done = call("geomar/ocean.gappy", "--json")
    assert json.loads(done.stdout) == [1.0, None]
    assert "NaN" in done.stderr


def test_files_hold_what_the_method_returned(call, tmp_path):
    import numpy as np
    import xarray as xr

    done = call("geomar/ocean.field", "-o", tmp_path / "f.nc", "--json")
    assert json.loads(done.stdout)["size_bytes"] == (tmp_path / "f.nc").stat().st_size
    with xr.open_dataarray(tmp_path / "f.nc") as field:
        assert field.name == "sst"
        assert field.attrs["units"] == "K"
        assert field.values.tolist() == [0.0, 1.0, 2.0]
    call("geomar/ocean.squared", "[1, 2]", "-o", tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy").tolist() == [1, 4]
    call("geomar/ocean.columns", "-o", tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text().splitlines() == ["year,sst", "2006,26.5", "2007,27.5"]
    call("geomar/ocean.years", "1", "3", "-o", tmp_path / "y.json")
    assert json.loads((tmp_path / "y.json").read_text()) == [1, 2]


@pytest.mark.parametrize(
    ("method", "file"),
    [("add 1", "a.nc"), ("field", "f.npy"), ("years 1 2", "y.npy"), ("add 1", "a.xyz"), ("add 1", "no/a.json")],
)
def test_a_file_that_cannot_hold_the_value_is_refused_before_the_call(call, tmp_path, method, file):
    done = call(*f"geomar/ocean.{method}".split(), "-o", tmp_path / file, "--json")
    assert (done.returncode, error_code(done.stdout)) == (2, "usage")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["geomar/ocean.nope"], 5, "unknown_member"),
        (["geomar/nope.add"], 5, "unknown_module"),
        (["geomar/ocean.raises"], 6, "remote_error"),
        (["geomar/ocean.sleepy", "30", "--timeout-s", "0.3"], 7, "timeout"),
        (["geomar/ocean.add", "--timeout-s", "soon"], 2, "usage"),
        (["geomar/ocean.add", "1", "--profile", "awi/anna"], 4, "denied"),
        (["geomar/ocean.add", "1", "--profile", "nobody"], 5, "not_configured"),
    ],
)
def test_each_way_to_fail_has_its_exit_code(call, words, exit_code, code):
    done = call(*words, "--json")
    assert (done.returncode, error_code(done.stdout)) == (exit_code, code)
    assert done.stderr.startswith("landbridge: ")
    assert "Traceback" not in done.stderr


def test_without_a_network_the_text_says_how_to_start_one(call, empty_env):
    done = call("geomar/ocean.add", "1", "--json", **empty_env)
    assert (done.returncode, error_code(done.stdout)) == (5, "not_configured")
    assert "landbridge up" in done.stderr


def test_ctrl_c_stops_the_remote_work(network, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "call", "geomar/ocean.patient", str(tmp_path), "--json"],
        env=network.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _wait_for(tmp_path / "started")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, error_code(stdout)) == (130, "cancelled")
    assert "The remote work has stopped." in stderr
    _wait_for(tmp_path / "cancelled")


def test_a_reader_that_goes_away_ends_the_stream_quietly(network):
    process = subprocess.Popen(
        [*COMMAND, "call", "geomar/ocean.years", "0", "1000000"],
        env=network.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 141
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def _wait_for(file):
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline, f"{file.name} did not appear"
        time.sleep(0.02)
