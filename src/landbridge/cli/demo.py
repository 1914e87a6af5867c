"""``landbridge demo``: three institutes and a caller of a fourth, on real measurements, in processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from json import loads as parse_json
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..broker.lifeline import start_bound
from ..errors import InternalError, MissingExtra
from .console import say, show, show_json

if TYPE_CHECKING:
    from ..client.call import Call
    from ..client.network import Method, Network
    from ..client.references import Reference

__all__ = ["demo"]

_CALLER = "awi/visitor"
_MODULES = {"geomar/sst": "sst.py", "hereon/soi": "soi.py", "gfz/correlation": "correlation.py"}
_FIELD = "geomar/ostia"
_DATA = {"geomar/sst": "ostia_monthly.nc", "hereon/soi": "SOI_Darwin.nc"}
_START_TIMEOUT_S = 60.0
_BAR_WIDTH = 24


def demo(*, output: Path = Path("demo-output"), json: bool = False) -> None:
    """Run a small network of three institutes on real data.

    One holds an analysis of the sea surface temperature, one the Southern Oscillation Index, one has no
    data but a method. A caller of a fourth institute finds them, opens the field of the first and has a part of it
    averaged where it is, has the first two compute their series and keep them, and the third correlate what it fetches
    from them. All of it runs on this computer and is gone at the end, but for the plot.

    Parameters
    ----------
    output
        Folder for the plot.
    json
        Print the result as one line of JSON.
    """
    _require_extra()
    # A network that the user runs is not touched: this one lives in a folder of its own.
    with _ending_on_signals(), tempfile.TemporaryDirectory(prefix="landbridge-demo-") as folder:
        changed = {"XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
        with _environment(changed), contextlib.ExitStack() as stack:
            _start_institutes(Path(folder), stack)
            # The table is data; with --json the same data come as JSON instead.
            result = _as_the_caller(output, say if json else show)
    if json:
        show_json(result)


def _require_extra() -> None:
    for package in ("xarray", "netCDF4", "matplotlib", "iris_sample_data"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("The demo", "demo")


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM end the demo with all that it started, and be told apart from success in any case."""
    told = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        raise KeyboardInterrupt

    # Whoever runs the demo in the background of a script has Ctrl-C ignored; so it stays.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    except Exception:
        if told:  # what was interrupted has made another error of it
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # Python drops what is raised while it runs the callback of a weak reference, say: seen in one of fifty runs.
    if told:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _environment(changed: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("LANDBRIDGE_")]:
        del os.environ[name]
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _start_institutes(folder: Path, stack: contextlib.ExitStack) -> None:
    say("Starting a broker and three institutes, each a process of its own …")
    _wait_until_ready(_start(folder, stack, "up"), folder, "up")
    modules = _modules_folder()
    served = {address: modules / file for address, file in _MODULES.items()} | {_FIELD: _data_file(_DATA["geomar/sst"])}
    share = f"{_CALLER.partition('/')[0]}/*"
    started = {
        address: _start(folder, stack, "serve", str(file), "--as", address, "--share", share, "--onward", "gfz/*")
        for address, file in served.items()
    }
    for address, process in started.items():
        _wait_until_ready(process, folder, address)


def _start(folder: Path, stack: contextlib.ExitStack, *words: str) -> subprocess.Popen[bytes]:
    name = words[words.index("--as") + 1] if "--as" in words else words[0]
    with open(_log_of(folder, name), "wb") as output:
        command = [sys.executable, "-m", "landbridge", *words, "--json"]
        process = start_bound(command, directory=folder, output=output)
    stack.callback(_stop, process)
    return process


def _log_of(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '-')}.log"


def _wait_until_ready(process: subprocess.Popen[bytes], folder: Path, name: str) -> None:
    log = _log_of(folder, name)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        ended = process.poll()  # before its words are read, so that none of its last ones is missed
        said = log.read_text(encoding="utf-8", errors="replace")
        if _says_ready(said):
            return
        if ended is not None or time.monotonic() > deadline:
            why = "said nothing in time" if ended is None else f"ended with exit code {ended}"
            raise InternalError(f"The part of the demo that runs {name} {why}. Its last words:\n{said[-2000:]}")
        time.sleep(0.02)


def _says_ready(said: str) -> bool:
    """Whether one of the lines is the JSON of a part that runs; one that failed writes a line of JSON, too."""
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            if line.startswith("{") and "event" in parse_json(line):
                return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _modules_folder() -> Path:
    """Return where the modules of the demo lie: in the installed package, or in the checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "examples" / "enso"
    return installed if installed.is_dir() else package.parent.parent / "examples" / "enso"


def _as_the_caller(output: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Do what a scientist of a fourth institute would do, and tell what happens."""
    import landbridge

    with landbridge.connect(profile=_CALLER) as net:
        say(f"\nAs {_CALLER}, in the catalogue:")
        _wait_for_catalogue(net)
        for address in (*_MODULES, _FIELD):
            summary = (type(net[address]).__doc__ or "").partition("\n")[0]
            say(f"  {address:18} {summary}")
        seconds = {f"{_FIELD}.data": _average_part_of_the_field(net)}
        say("\nResults that stay where they are made, and go on from there:")
        anomaly = _kept(net["geomar/sst"].anomaly, seconds)
        index = _kept(net["hereon/soi"].index, seconds)
        correlation = _called(net["gfz/correlation"].lagged.start(anomaly, index))
        seconds[correlation.target] = correlation.seconds
        values, series, pressure = correlation.result(), anomaly.get(), index.get()
    travelled = correlation.bytes_sent + correlation.bytes_received
    stayed = sum(_size_of_data(file) for file in _DATA.values())
    say("\nCorrelation of the monthly Niño 3.4 anomaly with the Southern Oscillation Index, which leads by … months:")
    table = {int(lag): float(value) for lag, value in zip(values.lag.values, values.values, strict=True)}
    for lag, value in table.items():
        months = f"{lag:+d}" if lag else "0"
        tell(f"  {months:>3}  {value:+.3f}  {_bar(value)}")
    say(f"\n{travelled:,} bytes travelled; {stayed:,} bytes of data stayed where they were.")
    plot = _plot(output, series, pressure, values)
    say(f"Plot: {plot}")
    return {
        "correlation": table,
        "bytes_travelled": travelled,
        "bytes_stayed": stayed,
        "seconds": {target: round(took, 4) for target, took in seconds.items()},
        "plot": str(plot),
    }


def _wait_for_catalogue(net: Network) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not all(address.partition("/")[0] in dir(net) for address in _MODULES):
        if time.monotonic() > deadline:
            raise InternalError("The three institutes did not appear in the catalogue.")
        time.sleep(0.02)


def _average_part_of_the_field(net: Network) -> float:
    """Open a field as if it were here, have its mean over a box computed where it is, and return how long that took."""
    began = time.monotonic()
    field = net[_FIELD].data()
    temperature = field.landbridge.surface_temperature
    box = temperature.sel(longitude=slice(190, 240)).mean(["latitude", "longitude"]).compute()
    took = time.monotonic() - began
    say("\nA field that stays, and its mean over a box of the Pacific:")
    say(f"  {_FIELD}.data: {dict(field.sizes)}, {field.nbytes:,} bytes")
    say(f"  its mean, computed there: {box.size} numbers came back; the last is {float(box[-1]) - 273.15:.2f} °C")
    return took


def _kept(method: Method, seconds: dict[str, float]) -> Reference:
    began = time.monotonic()
    kept = method.keep()
    seconds[kept.target] = time.monotonic() - began
    size = kept.summary.get("bytes", 0)
    say(f"  {kept.target:24} {seconds[kept.target] * 1e3:7.1f} ms  {size:7,} bytes stay there")
    return kept


def _called(call: Call) -> Call:
    call.result()
    say(
        f"  {call.target:24} {call.seconds * 1e3:7.1f} ms"
        f"  {call.bytes_sent:7,} bytes there {call.bytes_received:7,} bytes back"
    )
    return call


def _data_file(name: str) -> Path:
    from importlib.resources import files

    return Path(str(files("iris_sample_data"))) / "sample_data" / name


def _size_of_data(name: str) -> int:
    return _data_file(name).stat().st_size


def _bar(value: float) -> str:
    length = round(abs(value) * _BAR_WIDTH)
    left = ("█" * length if value < 0 else "").rjust(_BAR_WIDTH)
    return f"{left}│{'█' * length if value > 0 else ''}"


def _plot(folder: Path, anomaly: Any, index: Any, correlation: Any) -> Path:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # Of the index, the months around those of the anomaly: what the correlation uses.
    near = index.sel(time=slice("2005-10", "2010-12"))
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 7), layout="constrained", height_ratios=(3, 2))
    above.axhline(0, color="0.6", linewidth=0.8)
    above.plot(anomaly.time, anomaly, color="#c0392b", linewidth=2)
    above.set_ylabel("Niño 3.4 sea surface temperature anomaly (K)", color="#c0392b")
    right = above.twinx()
    right.plot(near.time, near, color="#2471a3", linewidth=1.2)
    right.set_ylabel("Southern Oscillation Index", color="#2471a3")
    for axes in (above, right):  # zero at the same height
        reach = max(abs(limit) for limit in axes.get_ylim())
        axes.set_ylim(-reach, reach)
    above.set_title("Measured at two institutes, correlated at a third, seen by a fourth")
    below.axhline(0, color="0.6", linewidth=0.8)
    below.bar(correlation.lag, correlation, color="#5d6d7e", width=0.7)
    below.set_xticks(correlation.lag.values)
    below.set_xlabel("Months by which the index leads")
    below.set_ylabel("Correlation")
    figure.supxlabel("Data: OSTIA (UK Met Office, OGL 3.0) · SOI (CAS/NCAR)", fontsize=8, color="0.4")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "enso.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
