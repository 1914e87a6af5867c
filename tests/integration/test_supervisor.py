"""A backend that dies comes back; neither it nor its supervisor outlives the other; stopping loses no call."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

import landbridge as lb
from landbridge import settings
from landbridge.hub import mint
from network import COMMAND

SOURCE = """
import os
import time

import landbridge as lb

__all__ = ["add", "die", "wait", "watch"]


def add(a: int, b: int) -> int:
    return a + b


def die(code: int):
    os._exit(code)


def wait(seconds: float) -> str:
    time.sleep(seconds)
    return "waited"


def watch(started: str, seconds: float) -> str:
    open(started, "w").close()
    time.sleep(seconds)
    return "watched"
"""


@contextmanager
def handle_of(pid: int):
    """Give a handle of a process that is readable once it has ended, and means no other process."""
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)


def ended(handle: int, timeout_s: float = 20) -> bool:
    return bool(select.select([handle], [], [], timeout_s)[0])


def wait_for(path) -> None:
    """Wait until a method, or a file that is loaded, has come so far that it makes this file."""
    pause = threading.Event()
    for _ in range(2000):
        if path.exists():
            return
        pause.wait(0.01)
    raise AssertionError(f"{path} was not made")


def test_a_killed_backend_comes_back_as_the_same_instance(network, net):
    process = network.serve(SOURCE, "awi/killed")
    assert net["awi/killed"].add(1, 2) == 3
    os.kill(process.pid, signal.SIGKILL)
    again = process.next_line()
    assert again["event"] == "restarted"
    assert again["instance"] == process.ready["instance"]
    assert again["pid"] != process.ready["pid"]
    assert net["awi/killed"].add(20, 22) == 42
    assert "was killed (SIGKILL)" in process.stderr
    assert "started again now" in process.stderr
    assert process.stop() == 0


def test_a_method_that_ends_its_process_is_survived(network, net):
    process = network.serve(SOURCE, "awi/dying")
    net["awi/dying"].die.start(7)
    assert process.next_line()["event"] == "restarted"
    assert net["awi/dying"].add(1, 2) == 3
    assert "ended with exit code 7, without an error of its own" in process.stderr
    assert process.stop() == 0


def test_a_killed_supervisor_takes_its_backend_along(network):
    process = network.serve(SOURCE, "awi/orphan")
    with handle_of(process.pid) as handle:
        process.signal(signal.SIGSTOP)  # a backend that can do nothing about it itself
        process.kill()
        assert ended(handle)


def test_what_dies_again_and_again_before_it_serves_is_given_up(network, tmp_path):
    (tmp_path / "fatal.py").write_text("import os\nos._exit(9)\n")
    done = network.run("serve", str(tmp_path / "fatal.py"), "--as", "awi/fatal", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "nothing_to_serve"
    assert done.stderr.count("ended with exit code 9") == 5
    assert "has ended 5 times before it served" in done.stderr


def test_it_can_be_ended_while_its_backend_is_started_again(network):
    process = network.serve(SOURCE, "awi/between")
    os.kill(process.pid, signal.SIGKILL)
    while "started again now" not in process.stderr:
        threading.Event().wait(0.01)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "awi/between is no longer served." in process.stderr


def test_when_the_system_starts_no_process_it_is_tried_again(network, net, tmp_path):
    python = tmp_path / "python"
    python.symlink_to(os.path.realpath(sys.executable))
    (tmp_path / "served.py").write_text(SOURCE)
    env = {**network.env, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [python, *COMMAND[1:], "serve", tmp_path / "served.py", "--as", "awi/full", "--json"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = json.loads(process.stdout.readline())
            python.unlink()
            os.kill(ready["pid"], signal.SIGKILL)
            while "tried again in 10 s" not in process.stderr.readline():
                assert process.poll() is None
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_credential_that_may_no_longer_serve_ends_it(network, net):
    def issue(module: str) -> None:
        held = asyncio.run(
            mint(settings.local_dir(), "gfz", "keeper", [module], now=int(time.time()), random=secrets.token_bytes)
        )
        settings.private_write(folder / "gfz.creds", held.format())

    folder = settings.config_dir() / "profiles"
    settings.private_write(folder / "gfz.toml", f'url = "{network.up.ready["url"]}"\n')
    issue("held")
    process = network.serve(SOURCE, "gfz/held", "--profile", "gfz")
    issue("other")
    os.kill(process.pid, signal.SIGKILL)
    assert process.next_line()["error"]["code"] == "denied"
    assert process.wait() == 4
    assert "may not serve gfz/held" in process.stderr


def test_stopping_one_of_two_under_load_loses_no_call(network, net):
    first = network.serve(SOURCE, "awi/loaded")
    network.serve(SOURCE, "awi/loaded")
    wait, add = net["awi/loaded"].wait, net["awi/loaded"].add
    stop = threading.Event()
    wrong: list[object] = []
    done = [0] * 8

    def load(number: int) -> None:
        while not stop.is_set():
            try:
                right = add(number, done[number]) == number + done[number] and wait(0.02) == "waited"
            except lb.LandbridgeError as error:
                right = False
                wrong.append(error)
            if not right:
                wrong.append(number)
            done[number] += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(len(done))]
    for thread in threads:
        thread.start()
    while min(done) < 5:
        stop.wait(0.01)
    code = first.stop()
    reached = list(done)
    while any(now < then + 5 for now, then in zip(done, reached, strict=True)):
        stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert code == 0


def test_calls_that_run_end_before_the_backend_does(network, net, tmp_path):
    process = network.serve(SOURCE, "awi/patient")
    call = net["awi/patient"].watch.start(str(tmp_path / "started"), 1.5)
    wait_for(tmp_path / "started")
    assert process.stop() == 0
    assert call.result(timeout=10) == "watched"


def test_calls_that_last_longer_than_the_grace_are_cut_and_named(network, net, tmp_path):
    process = network.serve(SOURCE, "awi/cut", "--grace", "0.5")
    call = net["awi/cut"].watch.start(str(tmp_path / "started"), 600.0)
    wait_for(tmp_path / "started")
    assert process.stop() == 0
    with pytest.raises(lb.CallLost, match="was stopped while the call ran"):
        call.result(timeout=20)
    assert "cut short: 1 call (awi/cut.watch for local/" in process.stderr


def test_calls_that_have_not_begun_are_made_elsewhere_when_a_backend_stops(network, net, tmp_path):
    source = f"{SOURCE}\nwatch = lb.method(concurrency=1)(watch)\n"
    process = network.serve(source, "awi/queued", "--grace", "20")
    watch = net["awi/queued"].watch
    watch.start(str(tmp_path / "first"), 600.0)  # has the only place there
    wait_for(tmp_path / "first")
    second = watch.start(str(tmp_path / "second"), 0.0)
    while not second.queue_place:
        threading.Event().wait(0.01)
    network.serve(source, "awi/queued")
    process.signal(signal.SIGTERM)
    assert second.result(timeout=30) == "watched"
    process.signal(signal.SIGINT)
    assert process.wait() == 130


def test_a_backend_that_hangs_when_it_is_told_to_stop_is_killed(network, tmp_path):
    (tmp_path / "served.py").write_text(SOURCE)
    impatient = "import sys, landbridge.hub.supervisor as s; s._HANGS_S = 0.3; from landbridge.cli import main; main()"
    command = [sys.executable, "-c", impatient, "serve", str(tmp_path / "served.py"), "--as", "awi/hangs", "--json"]
    with subprocess.Popen(
        [*command, "--grace", "0"], env=network.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            ready = json.loads(process.stdout.readline())
            with handle_of(ready["pid"]) as handle:
                os.kill(ready["pid"], signal.SIGSTOP)
                process.terminate()
                stdout, stderr = process.communicate(timeout=30)
                assert ended(handle)
        finally:
            process.kill()
    assert b"was told to stop and hangs. It is killed." in stderr
    assert json.loads(stdout)["error"]["code"] == "lost"


def test_a_second_ctrl_c_ends_at_once(network, net, tmp_path):
    process = network.serve(SOURCE, "awi/hasty")
    net["awi/hasty"].watch.start(str(tmp_path / "started"), 600.0)
    wait_for(tmp_path / "started")
    with handle_of(process.pid) as handle:
        process.signal(signal.SIGINT)
        while "Waiting for calls" not in process.stderr:
            threading.Event().wait(0.01)
        process.signal(signal.SIGINT)
        assert ended(handle)
    assert process.stop() == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_before_it_serves_hears_that_it_was_cancelled(network, tmp_path, number):
    source = f"import pathlib, time\npathlib.Path({str(tmp_path / 'loading')!r}).touch()\ntime.sleep(600)\n"
    (tmp_path / "slow.py").write_text(source)
    command = [*COMMAND, "serve", str(tmp_path / "slow.py"), "--as", "awi/slow", "--json"]
    with subprocess.Popen(command, env=network.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            wait_for(tmp_path / "loading")
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert json.loads(stdout)["error"]["code"] == "cancelled"
    assert b"Traceback" not in stderr


def test_a_changed_file_is_served_anew_and_a_broken_one_is_not(own_network, tmp_path):
    process = own_network.serve("__all__ = ['one']\ndef one() -> int: return 1\n", "awi/edited", "--reload")
    file = next(own_network.folder.glob("served_*/edited.py"))
    with lb.connect() as net:
        one = net["awi/edited"].one
        assert one() == 1
        file.write_text(f"{SOURCE}\n__all__.append('one')\ndef one() -> int: return 2\n")
        again = process.next_line()
        assert again["event"] == "reloaded"
        assert again["instance"] != process.ready["instance"]
        with lb.connect() as later:
            call = later["awi/edited"].watch.start(str(tmp_path / "started"), 3.0)
            wait_for(tmp_path / "started")
            file.write_text("def one(: return 3\n")
            while "The one before goes on serving awi/edited" not in process.stderr:
                threading.Event().wait(0.01)
            assert "SyntaxError" in process.stderr
            assert later["awi/edited"].one() == 2
            file.write_text("__all__ = ['one']\ndef one() -> int: return 4\n")
            assert process.next_line()["error"]["code"] == "nothing_to_serve"
            assert process.next_line()["event"] == "reloaded"
            assert call.result(timeout=20) == "watched"  # in the backend from before
        with lb.connect() as later:
            assert later["awi/edited"].one() == 4
    assert process.stop() == 0


def test_under_nohup_a_closed_terminal_is_nothing(network, net):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which is what nohup does
    try:
        process = network.serve(SOURCE, "awi/nohup")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.signal(signal.SIGHUP)
    os.kill(process.pid, signal.SIGHUP)
    assert net["awi/nohup"].add(1, 2) == 3
    assert process.running
    assert process.stop() == 0


def test_who_has_read_that_it_serves_may_close_the_pipe(network, net):
    process = network.serve(SOURCE, "awi/unheard")
    add = net["awi/unheard"].add.options(timeout_s=20)
    process.hang_up()
    with handle_of(process.pid) as handle:
        os.kill(process.pid, signal.SIGKILL)
        assert ended(handle)
    for _ in range(100):
        try:
            assert add(1, 2) == 3
            break
        except (lb.ModuleOffline, lb.CallLost):  # lost: the broker had not yet seen that it is gone
            threading.Event().wait(0.1)
    else:
        pytest.fail("it did not come back")
    assert process.stop() == 0


# The shell of a terminal: has it as its controlling one, then becomes the command.
_AT_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextmanager
def at_a_terminal(network, folder, address: str):
    """Serve at a terminal of its own; gives our side of it, the process, and a handle of the backend."""
    (folder / "served.py").write_text(SOURCE)
    ours, theirs = pty.openpty()
    command = [*COMMAND, "serve", str(folder / "served.py"), "--as", address, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_TERMINAL, *command],
        env=network.env, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        with handle_of(json.loads(process.stdout.readline())["pid"]) as handle:
            yield ours, process, handle
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_at_a_terminal_lets_calls_end(network, net, tmp_path):
    with at_a_terminal(network, tmp_path, "awi/typed") as (terminal, process, handle):
        call = net["awi/typed"].watch.start(str(tmp_path / "started"), 1.0)
        wait_for(tmp_path / "started")
        os.write(terminal, b"\x03")
        assert call.result(timeout=20) == "watched"
        assert process.wait(20) == 0
        assert ended(handle)
        said = os.read(terminal, 65536).decode()
        os.close(terminal)
    assert "awi/typed is no longer served." in said
    assert "Traceback" not in said


def test_a_closed_terminal_ends_it_in_order(network, net, tmp_path):
    with at_a_terminal(network, tmp_path, "awi/closed") as (terminal, process, handle):
        call = net["awi/closed"].watch.start(str(tmp_path / "started"), 1.0)
        wait_for(tmp_path / "started")
        os.close(terminal)
        assert call.result(timeout=20) == "watched"
        assert process.wait(20) == 0
        assert ended(handle)
