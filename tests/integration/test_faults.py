"""What happens when something is wrong: every call ends, in bounded time, with an error that says what to do."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import landbridge as lb

FRAGILE = """
import os
import sys
import time

import landbridge as lb

__all__ = ["add", "fail", "leave", "speak", "wait", "unsendable", "unsendable_item", "looped", "count_runs", "die",
           "own", "interrupt"]
RUNS = []


def add(a: int, b: int) -> int:
    RUNS.append((a, b))
    return a + b


def count_runs() -> int:
    return len(RUNS)


class OwnError(FileNotFoundError):
    pass


def fail(kind: str):
    if kind == "own":
        raise OwnError(2, "no such cruise", "M142")
    if kind == "group":
        raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])
    if kind == "broken":
        class Broken(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        raise Broken
    if kind == "stop":
        raise StopIteration(3)
    if kind == "ansi":
        raise ValueError("\\x1b[31mred\\x07 " + "x" * 100_000)
    raise {"key": KeyError, "value": ValueError, "zero": ZeroDivisionError}[kind]("the text")


def leave():
    sys.exit(3)


def interrupt():
    raise KeyboardInterrupt


def speak(text: str) -> str:
    print(text)
    print(text, file=sys.stderr)
    return text


def wait(seconds: float) -> str:
    time.sleep(seconds)
    return "waited"


def unsendable():
    return {"files": [1, 2, open(os.devnull)]}


def unsendable_item():
    yield 1
    yield object()


def looped():
    value = []
    value.append(value)
    return value


def die():
    os._exit(7)


def own():
    raise lb.PermissionDenied("an error of ours, raised by a method")
"""


@pytest.fixture(scope="module")
def fragile(network, net):
    network.serve(FRAGILE, "awi/fragile")
    return net["awi/fragile"]


@pytest.mark.parametrize(
    ("kind", "builtin", "text"),
    [
        ("key", KeyError, "KeyError: 'the text'"),
        ("value", ValueError, "ValueError: the text"),
        ("zero", ZeroDivisionError, "ZeroDivisionError: the text"),
        ("own", FileNotFoundError, "OwnError: [Errno 2] no such cruise: 'M142'"),
        ("group", lb.RemoteError, "ExceptionGroup: several (2 sub-exceptions)"),
        ("broken", lb.RemoteError, "Broken"),
        ("stop", lb.RemoteError, "StopIteration: 3"),
    ],
)
def test_what_a_method_raises_arrives_as_the_builtin_that_it_is(fragile, kind, builtin, text):
    with pytest.raises(builtin) as caught:
        fragile.fail(kind)
    assert isinstance(caught.value, lb.RemoteError)
    assert str(caught.value).startswith(text)
    assert "Traceback" not in str(caught.value)
    assert fragile.add(1, 2) == 3


def test_texts_of_remote_errors_are_cleaned_and_bounded(fragile):
    with pytest.raises(ValueError) as caught:
        fragile.fail("ansi")
    assert "\x1b" not in str(caught.value)
    assert "\x07" not in str(caught.value)
    assert len(str(caught.value)) < 5000


def test_the_traceback_is_logged_at_the_backend_under_the_incident_id(network, net):
    process = network.serve("__all__ = ['f']\ndef f(): raise ValueError('secret place')\n", "awi/logging")
    with pytest.raises(lb.RemoteError) as caught:
        net["awi/logging"].f()
    deadline = time.monotonic() + 5
    while "Traceback" not in process.stderr and time.monotonic() < deadline:
        time.sleep(0.02)
    assert caught.value.incident in process.stderr
    assert "in f" in process.stderr


@pytest.mark.parametrize(("method", "type_name"), [("leave", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
def test_a_method_that_wants_to_end_its_process_ends_only_its_call(fragile, method, type_name):
    with pytest.raises(lb.RemoteError) as caught:
        getattr(fragile, method)()
    assert caught.value.type_name == type_name
    assert fragile.add(1, 2) == 3


def test_an_error_of_ours_raised_by_a_method_does_not_pose_as_the_calls_own(fragile):
    with pytest.raises(lb.RemoteError) as caught:
        fragile.own()
    assert not isinstance(caught.value, lb.PermissionDenied)
    assert caught.value.type_name == "PermissionDenied"


def test_what_a_method_prints_disturbs_nothing(fragile):
    assert fragile.speak('{"not": "for the caller"}\n\x00') == '{"not": "for the caller"}\n\x00'


@pytest.mark.parametrize(("method", "place"), [("unsendable", r'\["files"\]\[2\]'), ("looped", r"\[0\]")])
def test_a_result_that_cannot_travel_is_refused_with_its_place(fragile, method, place):
    with pytest.raises(lb.CannotTravel, match=place):
        getattr(fragile, method)()


def test_items_before_one_that_cannot_travel_arrive(fragile):
    items = []
    with pytest.raises(lb.CannotTravel):
        items.extend(fragile.unsendable_item())  # extend keeps nothing of a failed iteration
    stream = fragile.unsendable_item()
    assert next(stream) == 1
    with pytest.raises(lb.CannotTravel):
        next(stream)


def test_an_argument_that_cannot_travel_is_refused_before_sending(fragile):
    runs = fragile.count_runs()
    with pytest.raises(lb.CannotTravel, match="cannot travel"):
        fragile.add(object(), 1)
    assert fragile.count_runs() == runs


def test_all_problems_with_the_arguments_at_once_and_the_function_does_not_run(fragile):
    runs = fragile.count_runs()
    with pytest.raises(lb.InvalidArguments) as caught:
        fragile.add("three", 1.5)
    assert [problem.where for problem in caught.value.problems] == ["a", "b"]
    assert isinstance(caught.value, ValueError)
    assert fragile.count_runs() == runs


def test_unknown_method_says_what_was_meant(fragile):
    with pytest.raises(AttributeError, match="awi/fragile"):
        fragile.ad  # noqa: B018 - to look it up is the test


def test_unknown_module_says_what_was_meant_within_a_second(net, fragile):
    begin = time.monotonic()
    with pytest.raises(lb.UnknownModule, match="Did you mean 'awi/fragile'"):
        net["awi/fragil"]
    with pytest.raises(LookupError, match="landbridge ls"):
        net["nobody/nothing"]
    assert time.monotonic() - begin < 10  # two lookups; each waits at most 0.8 s, and the machine may be busy


def test_module_that_is_offline_names_institute_and_what_to_do(network, net):
    process = network.serve("__all__ = ['one']\ndef one(): return 1\n", "gfz/gone")
    one = net["gfz/gone"].one
    assert one() == 1
    assert process.stop() == 0
    with pytest.raises(lb.ModuleOffline, match=r"No backend serves 'gfz/gone' now.*Ask gfz to start it"):
        one()
    assert isinstance(lb.ModuleOffline("gfz/gone"), ConnectionError)
    with lb.connect() as later, pytest.raises(lb.ModuleOffline):  # still known to who comes later
        later["gfz/gone"]


def test_backend_killed_in_mid_call(own_network):
    process = own_network.serve(FRAGILE, "awi/fragile")
    with lb.connect() as net:
        call = net.awi.fragile.wait.start(600.0)
        time.sleep(0.3)
        process.kill()
        with pytest.raises(lb.CallLost, match="fell silent"):
            call.result(timeout=40)


def test_method_that_ends_its_process_with_os_exit(own_network):
    own_network.serve(FRAGILE, "awi/fragile")
    with lb.connect() as net, pytest.raises(lb.CallLost, match="may have run"):
        net.awi.fragile.die.start().result(timeout=40)


def test_backend_frozen_in_mid_call_and_thawed(own_network):
    process = own_network.serve(FRAGILE, "awi/fragile")
    with lb.connect() as net:
        call = net.awi.fragile.wait.start(600.0)
        time.sleep(0.3)
        process.signal(signal.SIGSTOP)
        with pytest.raises(lb.CallLost):
            call.result(timeout=40)
        process.signal(signal.SIGCONT)
        assert net.awi.fragile.add(1, 2) == 3


def test_broker_killed_during_calls_comes_back_and_so_do_all(own_network):
    own_network.serve(FRAGILE, "awi/fragile")
    with lb.connect() as net:
        fragile = net.awi.fragile
        outcomes: list[object] = []

        def call_often() -> None:
            for number in range(60):
                try:
                    outcomes.append(fragile.add.options(timeout_s=30)(number, 1) == number + 1)
                except lb.LandbridgeError as error:
                    outcomes.append(error.code)
                time.sleep(0.02)

        long_call = fragile.wait.start(3.0)
        threads = [threading.Thread(target=call_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        own_network.kill_broker()
        for thread in threads:
            thread.join(90)
            assert not thread.is_alive()
        assert len(outcomes) == 4 * 60
        # Each got its right value or a typed error; none a wrong value, and nearly all got through.
        assert set(outcomes) <= {True, "lost", "offline", "unreachable", "timeout"}
        assert outcomes.count(True) >= 4 * 60 - 16
        # The call that ran across the restart is still known to its backend.
        assert long_call.result(timeout=40) == "waited"
        assert fragile.add(20, 22) == 42


def test_stopping_a_backend_lets_running_calls_end_and_sends_new_ones_elsewhere(own_network):
    first = own_network.serve(FRAGILE, "awi/fragile")
    with lb.connect() as net, ThreadPoolExecutor(1) as pool:
        fragile = net.awi.fragile
        call = fragile.wait.start(1.0)
        time.sleep(0.3)
        second = own_network.serve(FRAGILE, "awi/fragile")
        stopping = pool.submit(first.stop)
        assert call.result() == "waited"
        assert [fragile.add(n, 1) for n in range(20)] == [n + 1 for n in range(20)]
        assert stopping.result() == 0
        assert second.running


def test_a_reader_that_sleeps_slows_only_its_own_stream(network, net):
    network.serve(
        "import numpy as np\n__all__ = ['blocks', 'add']\n"
        "def add(a: int, b: int) -> int: return a + b\n"
        "def blocks(n: int):\n    for k in range(n): yield np.full(100_000, float(k))\n",
        "awi/blocks",
    )
    blocks = net["awi/blocks"]
    stream = blocks.blocks(60)  # 48 MB, far beyond the window
    assert next(stream)[0] == 0.0
    time.sleep(1.0)
    assert blocks.add(1, 2) == 3
    assert [block[0] for block in stream] == [float(k) for k in range(1, 60)]


def test_closing_the_network_ends_running_calls(network, fragile):
    net = lb.connect()
    call = net.awi.fragile.wait.start(600.0)
    time.sleep(0.2)
    net.close()
    with pytest.raises((lb.CallLost, lb.CallCancelled)):
        call.result(timeout=10)
    with pytest.raises(RuntimeError, match="has been closed"):
        net.awi.fragile.add(1, 2)


def test_ctrl_c_cancels_the_remote_work(network, fragile):
    network.serve(
        "import landbridge as lb, time\n__all__ = ['spin', 'state']\nSTATE = []\n"
        "def state(): return STATE\n"
        "def spin():\n"
        "    STATE.append('started')\n"
        "    call = lb.current_call()\n"
        "    while not call.cancelled: time.sleep(0.01)\n"
        "    STATE.append('cancelled')\n",
        "awi/spinning",
    )
    run = network.python("""
        import os, signal, threading
        import landbridge as lb
        net = lb.connect()
        spinning = net["awi/spinning"]
        def interrupt():
            while not spinning.state(): pass
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt, daemon=True).start()
        try:
            spinning.spin()
        except KeyboardInterrupt:
            print("interrupted")
    """)
    assert run.stdout == "interrupted\n", run.stderr
    with lb.connect() as net:
        deadline = time.monotonic() + 10
        while net["awi/spinning"].state() != ["started", "cancelled"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_nothing_runs_here_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(lb.NotConfigured, match="landbridge up"):
        lb.connect()


def test_large_arguments_are_checked_before_the_function_runs(fragile):
    with pytest.raises(lb.InvalidArguments, match="a: must be a whole number"):
        fragile.add(np.zeros(500_000), 1)


def test_the_connection_knows_how_much_its_credential_may_send(net):
    assert net._link()._connection.max_payload == 640 * 1024
