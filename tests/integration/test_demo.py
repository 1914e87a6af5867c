"""The demo as a user runs it, and its remote script beside the local one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landbridge.cli.demo import _ending_on_signals

ROOT = Path(__file__).resolve().parents[2]
ENSO = ROOT / "examples" / "enso"


def start_demo(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "landbridge", "demo", "--output", str(folder / "out"), *words]
    # A demo that is killed cannot remove its folder, which must not stay among those of others.
    env = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def demo_processes(folder: Path) -> list[str]:
    """Return the commands of all processes that a demo has started: they keep their state in a folder of its own."""
    marker = f"XDG_STATE_HOME={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if any(entry.startswith(marker) for entry in environment):
            found.append(command)
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="other processes are looked up in /proc")
class TestDemo:
    def test_numbers_bytes_times_and_plot(self, tmp_path):
        demo = start_demo(tmp_path, "--json")
        out, err = demo.communicate(timeout=110)
        assert demo.returncode == 0, err
        result = json.loads(out)
        rounded = {lag: round(value, 3) for lag, value in result["correlation"].items()}
        assert len(rounded) == 10
        assert (rounded["0"], rounded["-1"], rounded["1"], rounded["6"]) == (-0.513, -0.515, -0.489, 0.183)
        assert 0 < result["bytes_travelled"] < result["bytes_stayed"] / 10
        assert result["bytes_travelled"] < 5000  # what is correlated goes from institute to institute
        kept = ["geomar/sst.anomaly", "hereon/soi.index"]
        assert list(result["seconds"]) == ["geomar/ostia.data", *kept, "gfz/correlation.lagged"]
        assert "54 numbers came back" in err
        assert Path(result["plot"]).read_bytes().startswith(b"\x89PNG\r\n")
        assert "As awi/visitor, in the catalogue:" in err
        assert "geomar/sst " in err
        assert demo_processes(tmp_path) == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_in_the_middle_it_leaves_nothing(self, tmp_path, number):
        demo = start_demo(tmp_path)
        for line in demo.stderr:
            if "in the catalogue" in line:
                break
        assert demo_processes(tmp_path)
        demo.send_signal(number)
        demo.communicate(timeout=60)
        # Both are 130 to a shell. CPython kills itself in the end if the interrupt fell into an exec, as imports have.
        assert demo.returncode in (130, -signal.SIGINT)
        assert demo_processes(tmp_path) == []

    def test_killed_in_the_middle_it_leaves_no_process(self, tmp_path):
        demo = start_demo(tmp_path)
        for line in demo.stderr:
            if "in the catalogue" in line:
                break
        demo.kill()
        demo.communicate(timeout=60)
        deadline = time.monotonic() + 20
        while demo_processes(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert demo_processes(tmp_path) == []

    def test_a_part_that_fails_is_named_at_once_with_its_last_words(self, tmp_path, monkeypatch):
        (tmp_path / "xarray").mkdir()
        (tmp_path / "xarray" / "__init__.py").write_text("raise RuntimeError('a broken installation')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        demo = start_demo(tmp_path, "--json")
        out, err = demo.communicate(timeout=50)  # less than what the demo itself would wait for all to be ready
        assert demo.returncode == 6
        assert "The part of the demo that runs geomar/sst ended with exit code 2" in err
        assert "RuntimeError: a broken installation" in err
        assert json.loads(out)["error"]["code"] == "internal"
        assert demo_processes(tmp_path) == []


def test_an_interrupt_that_python_drops_still_counts():
    with pytest.raises(KeyboardInterrupt), _ending_on_signals(), contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_an_interrupt_that_became_another_error_is_an_interrupt():
    def interrupted_import() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise ImportError("half loaded") from error

    with pytest.raises(KeyboardInterrupt), _ending_on_signals():
        interrupted_import()


def test_without_its_packages_it_says_what_to_install():
    hidden = "import sys; sys.modules['matplotlib'] = None; from landbridge.cli import main; main(['demo'])"
    run = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "pip install 'landbridge[demo]'" in run.stderr


def test_remote_script_prints_what_the_local_one_prints(network):
    for address, file in {"geomar/sst": "sst.py", "hereon/soi": "soi.py", "gfz/correlation": "correlation.py"}.items():
        network.start("serve", str(ENSO / file), "--as", address, "--json")
    outputs = [
        subprocess.run(
            [sys.executable, ENSO / script], env=network.env, capture_output=True, text=True, check=True
        ).stdout
        for script in ("enso_local.py", "enso_remote.py")
    ]
    assert outputs[0] == outputs[1]
    assert "-0.513" in outputs[0]
