"""Methods with process=True: the same as in threads, but that they can be stopped, and crash alone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import landbridge as lb
from backstage import stage
from landbridge.backend.workerlink import Kind
from procfs import children_of, is_running

WORK = '''
import asyncio
import ctypes
import hashlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np

import landbridge as lb

in_worker = lb.method(process=True)
SEEN = []


@dataclass
class Region:
    west: float
    east: float


@in_worker
def add(a: int, b: int) -> int:
    return a + b

@in_worker
async def add_soon(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b

@in_worker
def width(region: Region) -> float:
    return region.east - region.west

@in_worker
def count(n: int, size: int = 1):
    """Count, and say in a file how far it got."""
    for i in range(n):
        SEEN.append(i)
        yield np.full(size, i)

@in_worker
def seen() -> int:
    return len(SEEN)

@in_worker
async def count_soon(n: int):
    for i in range(n):
        await asyncio.sleep(0)
        yield i

@in_worker
def total(values: list[float]) -> float:
    return sum(values)

@in_worker
def takes_the_signal():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

@in_worker
def fail(text: str):
    raise KeyError(text)

@in_worker
def leave():
    sys.exit(3)

@in_worker
def unsendable():
    return {"here": [object()]}

@in_worker
def doubled(x):
    x *= 2
    return x

@in_worker
def tracked(n: int) -> int:
    return sum(lb.track(range(n), label="steps"))

@in_worker
def whose() -> list:
    call = lb.current_call()
    return [call.target, call.caller, call.call_id]

@in_worker
def speaks(n: int):
    for i in range(n):
        print("line", i)
    print("warned", file=sys.stderr)
    logging.getLogger("work").warning("logged %s", n)
    sys.stdout.write("no end")

@in_worker
def process() -> int:
    return os.getpid()

@in_worker
def place() -> list:
    return [os.getcwd(), sys.path, __name__]

@in_worker
def spin(note: str):
    try:
        open(note, "w").write("began")
        while True:
            pass
    finally:
        open(note, "w").write("tidied up")

@in_worker
def sleep(note: str):
    try:
        open(note, "w").write("began")
        time.sleep(1000)
    finally:
        open(note, "w").write("tidied up")

@in_worker
def spin_in_steps(note: str):
    try:
        open(note, "w").write("began")
        for i in range(10**12):
            if i % 10**9 == 0:
                yield i
    finally:
        open(note, "w").write("tidied up")

@in_worker
async def sleep_soon(note: str):
    try:
        open(note, "w").write("began")
        await asyncio.sleep(1000)
    finally:
        open(note, "w").write("tidied up")

@in_worker
async def steps_soon(note: str):
    try:
        open(note, "w").write("began")
        for i in range(10**9):
            yield i
            await asyncio.sleep(0.001)
    finally:
        open(note, "w").write("tidied up")

@in_worker
def insists(note: str):
    open(note, "w").write("began")
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

@in_worker
def never_returns(note: str):
    open(note, "w").write("began")
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)

@in_worker
async def blocks_its_loop(note: str):
    open(note, "w").write("began")
    while True:
        pass

@in_worker
def with_child(note: str):
    child = subprocess.Popen(["sleep", "1000"])
    open(note, "w").write(str(child.pid))
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)

@in_worker
def busy(seconds: float) -> int:
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        count += 1
    return count

@in_worker
def slow_lines(note: str):
    while True:
        print("x" * 100)
        open(note, "w").write("began")

@in_worker
def forks() -> int:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=print, args=("from a forked process",))
    child.start()
    child.join()
    return child.exitcode

@in_worker
def exits(code: int):
    os._exit(code)

@in_worker
def crashes():
    ctypes.string_at(0)

@in_worker
def shuts_the_door():
    os.closerange(3, max(64, int(sys.argv[1]) + 1))  # its line, too, whatever number that has

@in_worker
def talks_nonsense():
    os.write(int(sys.argv[1]), b"x" * 100)
    time.sleep(1000)

@in_worker
def talks_half_sense(kind: int, meta: dict):
    from landbridge.backend.workerlink import Kind, packed
    for number in range(1, 200):
        os.write(int(sys.argv[1]), packed(Kind(kind), number, meta))
    if kind == Kind.FAILED:
        os._exit(7)
    time.sleep(1000)

@lb.method(process=True, memory_limit="200 MB")
def fill(megabytes: int) -> int:
    return np.ones(megabytes * 131072).nbytes

@lb.method(process=True, memory_limit="200 MB")
def fill_lists(megabytes: int) -> int:
    return len([bytes(2**20) for _ in range(megabytes)])

@lb.method
def add_in_thread(a: int, b: int) -> int:
    return a + b
'''


def written(folder: Path, source: str, name: str = "work.py") -> Path:
    file = folder / name
    file.write_text(textwrap.dedent(source), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    with stage(written(tmp_path_factory.mktemp("work"), WORK), workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    with stage(written(tmp_path_factory.mktemp("single"), WORK), workers=1) as opened:
        yield opened


@pytest.fixture
def note(tmp_path):
    return tmp_path / "note"


def wait_for(true, timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def began(stage, method: str, note: Path):
    outcome = stage.start(method, note=str(note))
    wait_for(lambda: note.exists() and note.read_text())
    return outcome


# --- what comes back ----------------------------------------------------------------------------------------------


def test_methods_of_all_kinds_run_in_workers_as_they_do_in_threads(work):
    assert work.call("add", a=1, b=2) == work.call("add_in_thread", a=1, b=2) == 3
    assert work.call("add_soon", a=1, b=2) == 3
    assert work.call("width", region={"west": 1.0, "east": 3.5}) == 2.5
    assert [int(item[0]) for item in work.call("count", n=5)] == list(range(5))
    assert work.call("count_soon", n=5) == list(range(5))
    assert work.call("process") != os.getpid()
    assert work.call("whose") == ["lab/work.whose", "awi/anna", "0" * 32]


def test_a_worker_has_the_folder_and_the_path_of_its_backend(work):
    folder, path, name = work.call("place")
    import sys

    assert (folder, path, name) == (os.getcwd(), sys.path, "work")


def test_errors_are_those_of_threads(work):
    with pytest.raises(KeyError, match="KeyError: 'no such year'") as caught:
        work.call("fail", text="no such year")
    assert isinstance(caught.value, lb.RemoteError)
    with pytest.raises(lb.RemoteError, match="SystemExit: 3"):
        work.call("leave")
    with pytest.raises(lb.InvalidArguments, match="a: must be a whole number"):
        work.call("add", a="1", b=2)
    with pytest.raises(lb.CannotTravel, match="here"):
        work.call("unsendable")


def test_progress_and_the_value_come_in_order(work):
    outcome = work.start("tracked", n=100)
    assert outcome.result_value() == sum(range(100))
    outcome.until(lambda: outcome.progress)
    assert outcome.progress[-1] == (100.0, 100.0, "steps")


def test_what_a_method_prints_and_logs_arrives_if_it_was_asked_for(work):
    outcome = work.start("speaks", n=3, logs=True)
    outcome.result_value()
    by_stream = {stream: "".join(text for s, text in outcome.logs if s == stream) for stream, _ in outcome.logs}
    assert by_stream == {
        "stdout": "line 0\nline 1\nline 2\nno end",
        "stderr": "warned\n",
        "log": "WARNING work: logged 3\n",
    }
    silent = work.start("speaks", n=3)
    silent.result_value()
    assert silent.logs == []


def test_the_backend_logs_what_workers_log_and_the_tracebacks(work, caplog):
    work.call("speaks", n=7)
    with pytest.raises(KeyError):
        work.call("fail", text="seven")
    assert ("work", 30, "logged 7") in caplog.record_tuples
    assert "raised for awi/anna" in caplog.text
    assert "Traceback" in caplog.text


def test_large_values_go_there_and_back_and_nothing_is_left(work):
    x = np.random.default_rng(1).random(13 * 2**20)  # 104 MB
    descriptors = len(os.listdir("/proc/self/fd"))
    outcome = work.start("doubled", x=x)
    assert np.array_equal(outcome.result_value(), 2 * x)
    outcome.parts.clear()
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def test_a_stream_is_slowed_by_whoever_takes_it(single):
    before = single.call("seen")
    outcome = single.start("count", n=100, size=100_000)  # 0.8 MB each
    outcome.running.pass_on, passes_on = None, outcome.running.pass_on
    outcome.until(lambda: len(outcome.items) >= 2)
    outcome.running.pass_on = passes_on
    size = len(outcome.parts) or 800_064
    ahead = len(outcome.items)
    assert ahead < 10
    for _ in range(ahead):
        single.in_loop(lambda: outcome.running.sent(size))
    assert len(outcome.result_value()) == 100
    assert single.call("seen") - before == 100


def test_a_process_that_a_method_forks_does_not_write_between(work):
    outcome = work.start("forks", logs=True)
    assert outcome.result_value() == 0
    assert outcome.logs == []
    assert work.call("add", a=1, b=2) == 3


# --- crashes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments", "how"),
    [
        ("exits", {"code": 3}, "ended with exit code 3"),
        ("exits", {"code": 0}, "ended with exit code 0"),
        ("crashes", {}, r"was killed by signal 11 \(SIGSEGV\)"),
        ("shuts_the_door", {}, "ended with exit code 1|closed its connection"),
        ("talks_nonsense", {}, "sent what is no message"),
        ("talks_half_sense", {"kind": int(Kind.RECORD), "meta": {}}, "sent what is no message"),
        (
            "talks_half_sense",
            {"kind": int(Kind.PROGRESS), "meta": {"done": "x", "total": 1, "label": ""}},
            "no message",
        ),
        (
            "talks_half_sense",
            {"kind": int(Kind.INVOKE), "meta": {"function": "x", "ask": []}},
            "sent what is no message",
        ),
    ],
)
def test_a_crash_ends_the_call_and_no_other(work, method, arguments, how):
    other = work.start("busy", seconds=0.3)
    with pytest.raises(lb.MethodCrashed, match=how) as caught:
        work.call(method, **arguments)
    assert caught.value.target == f"lab/work.{method}"
    assert other.result_value() > 0
    assert work.call("add", a=1, b=2) == 3


def test_a_failure_that_says_nothing_ends_its_call(single):
    with pytest.raises(lb.InternalError, match="without saying why"):
        single.call("talks_half_sense", kind=int(Kind.FAILED), meta={"text": ["x" * 100_000]})
    wait_for(lambda: single.in_loop(lambda: not single.runner._workers._workers))


def test_a_worker_killed_from_outside_is_replaced(single, note):
    pid = single.call("process")
    outcome = began(single, "spin", note)
    waiting = single.start("process")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(lb.MethodCrashed, match=r"signal 9 \(SIGKILL\), which is also what happens when .* memory"):
        outcome.result_value()
    assert waiting.result_value() != pid
    assert outcome.endings == ["failed"]


def test_an_idle_worker_that_is_killed_is_replaced_when_it_is_needed(single):
    pid = single.call("process")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid))
    wait_for(lambda: single.in_loop(lambda: not single.runner._workers._idle))
    assert single.call("process") != pid


@pytest.mark.parametrize("method", ["fill", "fill_lists"])
def test_a_memory_limit_holds_for_the_call_and_the_worker_lives(single, method):
    pid = single.call("process")
    assert single.call(method, megabytes=50)
    with pytest.raises(MemoryError) as caught:
        single.call(method, megabytes=400)
    assert isinstance(caught.value, lb.RemoteError)
    assert single.call("process") == pid
    assert single.call("doubled", x=np.ones(40 * 131072)).sum() == 80 * 131072  # others have no limit


def test_a_module_that_workers_cannot_load_is_a_typed_error_and_not_tried_again_and_again(tmp_path, caplog):
    source = """
        import os, pathlib
        import landbridge as lb
        starts = pathlib.Path(__file__).with_name("starts")
        starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
        if len(starts.read_text()) > 1:
            raise ValueError("the disk is not there")
        @lb.method(process=True)
        def add(a: int, b: int) -> int:
            return a + b
        """
    with stage(written(tmp_path, source, "absent.py"), workers=2) as opened:
        for _ in range(3):
            with pytest.raises(lb.InternalError, match="could not load its module: ValueError") as caught:
                opened.call("add", a=1, b=2)
        assert caught.value.incident in caplog.text
    assert "the disk is not there" in caplog.text
    assert (tmp_path / "starts").read_text() == "xx"


def test_a_file_that_lost_a_method_meanwhile_is_a_typed_error(tmp_path):
    source = "import landbridge as lb\n@lb.method(process=True)\ndef {}(): ...\n"
    file = written(tmp_path, source.format("before"), "changes.py")
    with stage(file, workers=1) as opened:
        file.write_text(source.format("after"))
        with pytest.raises(lb.InternalError, match="no longer in the file that is served"):
            opened.call("before")


def test_idle_workers_end_in_order_so_that_their_modules_tidy_up(tmp_path):
    source = """
        import atexit, pathlib
        import landbridge as lb
        @lb.method(process=True)
        def prepare():
            atexit.register(pathlib.Path(__file__).with_name("tidied").touch)
        """
    with stage(written(tmp_path, source, "tidy.py"), workers=1) as opened:
        opened.call("prepare")
    assert (tmp_path / "tidied").exists()


def test_a_module_that_kills_its_worker_while_it_is_loaded_is_a_typed_error(tmp_path):
    source = """
        import os, sys
        import landbridge as lb
        if any("landbridge.backend.worker" in word for word in sys.orig_argv):
            os._exit(5)
        @lb.method(process=True)
        def add(a: int, b: int) -> int:
            return a + b
        """
    with (
        stage(written(tmp_path, source, "deadly.py"), workers=2) as opened,
        pytest.raises(lb.InternalError, match="ended with exit code 5 before its module was loaded"),
    ):
        opened.call("add", a=1, b=2)


# --- cancelling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spin", "sleep", "spin_in_steps", "sleep_soon", "steps_soon"])
def test_python_code_is_stopped_tidies_up_and_its_worker_lives(single, note, method):
    pid = single.call("process")
    outcome = began(single, method, note)
    outcome.interrupt()
    with pytest.raises(lb.InternalError, match="cancelled"):
        outcome.result_value()
    assert note.read_text() == "tidied up"
    assert single.call("process") == pid
    assert outcome.endings == ["failed"]


@pytest.mark.parametrize("method", ["never_returns", "insists", "blocks_its_loop"])
def test_what_does_not_end_costs_its_worker_and_nothing_else(work, note, method):
    outcome = began(work, method, note)
    other = work.start("busy", seconds=1.2)
    outcome.interrupt()
    with pytest.raises(lb.InternalError, match="cancelled"):
        outcome.result_value()
    assert other.result_value() > 0
    assert work.call("add", a=1, b=2) == 3


def test_what_a_killed_method_started_ends_with_it(single, note):
    outcome = began(single, "with_child", note)
    child = int(note.read_text())
    assert is_running(child)
    outcome.interrupt()
    with pytest.raises(lb.InternalError):
        outcome.result_value()
    wait_for(lambda: not is_running(child))


def test_a_call_that_waits_is_withdrawn_and_never_runs(single, note):
    first = began(single, "spin", note)
    second = single.start("count", n=3)
    third = single.start("process")
    assert single.in_loop(lambda: [single.runner.position(each.running) for each in (first, second, third)]) == [
        0,
        1,
        2,
    ]
    second.interrupt()
    assert second.never_began
    assert single.in_loop(lambda: single.runner.position(third.running)) == 1
    first.interrupt()
    third.result_value()
    assert second.endings == ["never began"]


def test_a_call_interrupted_while_its_large_arguments_are_on_their_way_ends_once(single):
    x = np.ones(4 * 2**20)
    for _ in range(5):
        outcome = single.start("doubled", x=x)
        outcome.interrupt()
        with pytest.raises(lb.InternalError, match="cancelled"):
            outcome.result_value()
        assert outcome.endings == ["failed"]
    assert single.call("add", a=1, b=2) == 3


def test_printing_code_is_stopped_between_its_messages(single, note):
    outcome = single.start("slow_lines", note=str(note), logs=True)
    wait_for(note.exists)
    outcome.interrupt()
    with pytest.raises(lb.InternalError):
        outcome.result_value()
    assert all(len(text) <= 8000 for _, text in outcome.logs)
    assert single.call("add", a=1, b=2) == 3


def ended(outcome) -> str:
    """Wait for the end of a call; return how it ended."""
    outcome.until(lambda: outcome.endings)
    return outcome.endings[0]


def open_files() -> set[tuple[str, str]]:
    """Return number and nature of each file that this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # what listed them
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


def test_300_cancels_at_any_moment_leave_nothing_behind_and_touch_no_other_call(single):
    pid = single.call("process")
    before = open_files()
    threads = threading.active_count()
    when = random.Random(7)
    ends = {"result": 0, "failed": 0, "never began": 0}
    for turn in range(300):
        outcome = single.start("busy", seconds=0.002)
        if turn % 3:
            time.sleep(when.random() * 0.004)
        outcome.interrupt()
        ends[ended(outcome)] += 1
        assert single.call("add", a=turn, b=1) == turn + 1
        assert len(outcome.endings) == 1
    assert ends["failed"]
    assert ends["result"]
    assert single.call("process") == pid
    # Each by what it is: one that an earlier test left, and that closes now, must neither fail this nor hide a leak.
    assert open_files() <= before
    assert threading.active_count() == threads


def test_cancels_while_arguments_are_decoded_and_checked(single):
    values = [float(i) for i in range(100_000)]
    started = time.perf_counter()
    assert single.call("total", values=values) == sum(values)
    takes_s = time.perf_counter() - started
    when = random.Random(8)
    ends = {"result": 0, "failed": 0, "never began": 0}
    for turn in range(50):
        outcome = single.start("total", values=values)
        time.sleep(when.random() * takes_s)
        outcome.interrupt()
        ends[ended(outcome)] += 1
        assert single.call("add", a=turn, b=1) == turn + 1
        assert len(outcome.endings) == 1
    assert ends["failed"]


def test_code_that_takes_the_signal_does_not_keep_the_next_call_from_being_stopped(single, note):
    single.call("takes_the_signal")
    pid = single.call("process")
    outcome = began(single, "spin", note)
    outcome.interrupt()
    assert ended(outcome) == "failed"
    assert single.call("process") == pid


# --- turns, and the end -------------------------------------------------------------------------------------------


def test_callers_take_turns(single, note):
    first = began(single, "spin", note)
    order: list[str] = []
    outcomes = []
    for caller in ("anna", "anna", "anna", "ben", "cleo"):
        outcome = single.start("add", caller=f"awi/{caller}", a=1, b=2)
        outcome._end = lambda how, caller=caller, end=outcome._end: (order.append(caller), end(how))
        outcomes.append(outcome)
    first.interrupt()
    assert [outcome.result_value() for outcome in outcomes] == [3] * 5
    assert order == ["anna", "ben", "cleo", "anna", "anna"]


def test_closing_ends_workers_and_what_runs_in_them(tmp_path, note):
    with stage(written(tmp_path, WORK), workers=2) as opened:
        began(opened, "spin", note)
        idle = opened.call("process")
        pids = [worker.process.pid for worker in opened.runner._workers._workers]
        assert idle in pids
        assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


SERVED = """
import hashlib, os, time
import landbridge as lb

@lb.method(process=True)
def process() -> int:
    return os.getpid()

@lb.method(process=True)
def never_returns() -> int:
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)

@lb.method(process=True)
def spin():
    while True:
        pass

@lb.method(process=True)
def crash():
    os._exit(9)

@lb.method
def add(a: int, b: int) -> int:
    return a + b
"""


def test_workers_serve_the_network_and_end_with_a_backend_that_is_killed(network, net):
    backend = network.serve(SERVED, "awi/heavy")
    heavy = net["awi/heavy"]
    pid = heavy.process()
    assert pid != backend.pid
    with pytest.raises(lb.MethodCrashed, match="exit code 9"):
        heavy.crash()
    call = heavy.spin.start()
    running = heavy.process()
    assert call.cancel() == "stopped"
    stuck = heavy.never_returns.start()
    assert stuck.cancel() == "stopped"
    assert heavy.add(1, 2) == 3
    heavy.never_returns.start()
    pids = children_of(backend.pid)
    assert running in pids
    backend.kill()
    wait_for(lambda: not any(is_running(pid) for pid in pids))
