"""Results that their owner has to accept: what he sees and decides, and that nothing gets out before."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import landbridge as lb
from network import COMMAND, Network

SOURCE = """
import os, threading, time
from collections.abc import Callable, Iterator
import numpy as np
import xarray as xr
import landbridge as lb

SECRET = "the-secret"

@lb.method(share=["awi/*"], approve="per-call")
def mean(first: int, note: str = "") -> float:
    return first / 2

@lb.method(share=["awi/*"], approve="per-call", process=True)
def apart(first: int) -> np.ndarray:
    return np.arange(float(first))

@lb.method(share=["awi/*"], approve="per-call")
async def in_loop(first: int) -> xr.Dataset:
    return xr.Dataset({"t": ("x", np.arange(float(first)))})

@lb.method(share=["awi/*"], approve="per-call")
def tells(n: int) -> str:
    call = lb.current_call()
    def later():
        for step in range(20):
            time.sleep(0.05)
            call.progress(step, 20, SECRET)
    threading.Thread(target=later, daemon=True).start()
    for _ in lb.track(range(n), label=SECRET):
        print(SECRET)
    return SECRET

@lb.method(share=["awi/*"], approve="per-call")
def fails(note: str) -> str:
    raise KeyError(f"{SECRET} {note}")

@lb.method(share=["awi/*"], approve="per-call")
def cannot_travel():
    return {SECRET: object()}

@lb.method(share=["awi/*"], approve="per-call", process=True)
def crashes() -> None:
    os._exit(7)

@lb.method(share=["awi/*"], approve="per-call")
def asks(function: Callable[[str], None]) -> None:
    function(SECRET)

@lb.method(share=["awi/*"], approve="per-call", process=True)
def asks_apart(function: Callable[[str], None]) -> None:
    function(SECRET)

@lb.method(share=["awi/*"], approve="per-call")
def any_asks(value) -> None:
    value[0](SECRET)

@lb.method(share=["awi/*"], approve="per-call", timeout_s=3)
def dies_of_age() -> str:
    return SECRET

@lb.method(share=["awi/*"], approve="per-call")
def blocks(n: int) -> xr.Dataset:
    return xr.Dataset({"t": ("x", np.arange(float(n)))})

@lb.method(share=["awi/*"], approve="per-call")
def echo(value):
    return value

@lb.method(share=["awi/*"], approve="per-call", concurrency=1)
def one_at_a_time() -> int:
    return 1

@lb.method(share=["awi/*"], approve="per-call")
class Model:
    def __init__(self, first: int = 0):
        if first < 0:
            raise ValueError(SECRET)
        self.first = first
    def step(self) -> int:
        self.first += 1
        return self.first
"""
MODULE = "geomar/held"

RULED = """
import time
import numpy as np
import xarray as xr
import landbridge as lb

__all__ = ["mean", "slow", "slow_one", "kept", "numbers", "field", "sst"]

def mean(first: int) -> float:
    return first / 2

def slow(first: int) -> float:
    time.sleep(2)
    return first / 2

@lb.method(concurrency=1)
def slow_one(first: int) -> float:
    return slow(first)

@lb.method(process=True)
def kept(first: int) -> list:
    time.sleep(2)
    return [first, "of the owner"]

def numbers(n: int):
    yield from range(n)

def field() -> xr.Dataset:
    return xr.Dataset({"t": ("x", np.arange(10.0))})

@lb.dataset
def sst() -> xr.Dataset:
    return field()
"""


@pytest.fixture(scope="module")
def served(network: Network):
    served = network.serve(SOURCE, MODULE)
    yield served
    served.end()


@pytest.fixture
def anna(served):
    with lb.connect("awi/anna") as anna:
        yield anna


@pytest.fixture
def held(anna):
    return anna[MODULE]


def until(what, within_s: float = 30.0):
    """Try again until it gives something."""
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def waiting(network: Network, count: int = 1) -> list[dict]:
    """Return what waits, once it is so much."""

    def all_there() -> list[dict]:
        ran = network.run("approve", "--json")
        assert ran.returncode == 0, ran.stderr
        found = json.loads(ran.stdout)
        return found if len(found) == count else []

    if not count:
        until(lambda: json.loads(network.run("approve", "--json").stdout) == [])
        return []
    return until(all_there)


def command(network: Network, *words: str):
    ran = network.run(*words)
    assert ran.returncode == 0, ran.stderr
    return ran


def accepted(network: Network, call):
    """Accept the one call that waits, and return what it gives."""
    (one,) = waiting(network)
    command(network, "approve", one["id"])
    return call.result(30)


@pytest.fixture(autouse=True)
def nothing_left(network: Network):
    yield
    waiting(network, 0)


def test_a_result_goes_when_its_owner_has_accepted_it(network, served, held):
    call = held.mean.start(3)
    until(lambda: call.notice == "waiting for the owner's approval")
    assert "waiting for the owner" in call._repr_html_()
    until(lambda: "what came of geomar/held.mean waits for you: landbridge approve" in served.stderr)
    (one,) = waiting(network)
    assert (one["module"], one["member"], one["caller"]) == (MODULE, "mean", "awi/anna")
    assert one["arguments"] == {"first": 3}
    assert (one["result"]["type"], one["result"]["preview"]) == ("float", "1.5")
    shown = command(network, "approve").stdout
    for text in (one["id"], "geomar/held.mean for awi/anna", "first=3", "1.5"):
        assert text in shown
    assert not call.done()
    command(network, "approve", one["id"])
    assert call.result(30) == 1.5


def test_whatever_runs_it_it_is_held(network, held):
    calls = {"apart": 3, "in_loop": 4}
    for name, argument in calls.items():
        call = getattr(held, name).start(argument)
        (one,) = waiting(network)
        assert one["arguments"] == {"first": argument}
        if name == "apart":
            assert (one["result"]["shape"], one["result"]["dtype"]) == ([3], "float64")
            assert "0.0, 1.0, 2.0; from 0.0 to 2.0" in one["result"]["preview"]
        else:
            assert one["result"]["dims"] == {"x": 4}
        assert len(accepted(network, call)) == (3 if name == "apart" else 1)


def test_short_calls_are_held_and_keep_nobody_from_being_served(network, held):
    calls = [held.mean.start(number) for number in range(20)]
    waits = waiting(network, 20)
    with lb.connect("geomar/me") as me:
        assert me[MODULE].mean(4) == 2  # the own institute is not asked for
    for one in waits:
        assert one["result"]["preview"] == str(one["arguments"]["first"] / 2)
    for call in calls:
        assert not call.done()
        assert call.cancel() == "stopped"


def test_a_long_result_goes_whole(network, held):
    call = held.apart.start(2_000_000)
    assert waiting(network)[0]["result"]["bytes"] > 16_000_000
    assert np.array_equal(accepted(network, call), np.arange(2e6))


def test_a_refusal_is_told_with_its_reason(network, held):
    call = held.mean.start(3)
    (one,) = waiting(network)
    ran = command(network, "approve", one["id"], "--refuse", "--because", "too few stations\x1b[31m", "--json")
    assert json.loads(ran.stdout) == {"id": one["id"], "approved": False}
    with pytest.raises(lb.PermissionDenied, match="has looked at what came of geomar/held") as caught:
        call.result(30)
    assert "too few stations" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    ran = network.run("approve", one["id"])
    assert ran.returncode == 5
    assert "Nothing waits under the id" in ran.stderr


def test_what_nobody_waits_for_any_more_is_not_asked_for(network, served, held):
    call = held.mean.start(3)
    waiting(network)
    assert call.cancel() == "stopped"
    waiting(network, 0)
    limited = held.mean.options(timeout_s=3).start(3)
    with pytest.raises(lb.CallTimeout):
        limited.result(30)
    waiting(network, 0)
    # Who has gone without a word is noticed as everywhere.
    ran = network.python(
        f"""
        import os, landbridge as lb
        call = lb.connect("awi/anna")["{MODULE}"].mean.start(1)
        while not call.notice: pass
        """
    )
    assert ran.returncode == 0, ran.stderr
    waiting(network, 0)


def test_the_owners_own_time_limit_is_one_for_the_method(network, held):
    call = held.dies_of_age.start()
    waiting(network)
    time.sleep(4)
    assert accepted(network, call) == "the-secret"


def test_nothing_of_it_is_told_before(network, held):
    said = []
    call = held.tells.options(logs=True).start(50)
    waiting(network)
    time.sleep(1.5)
    said += [call.progress, *call.log_lines]
    assert said == [None]
    assert accepted(network, call) == "the-secret"
    assert (call.progress, list(call.log_lines)) == (None, [])


def test_the_text_of_an_error_is_held_too_but_not_what_is_wrong_with_the_arguments(network, held):
    with pytest.raises(lb.InvalidArguments):
        held.mean("three")
    call = held.fails.start("x")
    (one,) = waiting(network)
    assert one["result"]["type"] == "error KeyError"
    assert "the-secret x" in one["result"]["preview"]
    assert call.error is None
    command(network, "approve", one["id"], "--refuse")
    with pytest.raises(lb.PermissionDenied) as caught:
        call.result(30)
    assert "the-secret" not in str(caught.value)
    call = held.fails.start("y")
    with pytest.raises(KeyError, match="the-secret y"):
        accepted(network, call)


@pytest.mark.parametrize(("name", "error"), [("cannot_travel", lb.CannotTravel), ("crashes", lb.MethodCrashed)])
def test_what_else_went_wrong_may_quote_data_too_and_is_held(network, held, name, error):
    call = getattr(held, name).start()
    (one,) = waiting(network)
    assert one["result"]["type"] == f"error {error.code}"
    assert not call.done()
    with pytest.raises(error):
        accepted(network, call)


@pytest.mark.parametrize("name", ["asks", "asks_apart", "any_asks"])
def test_functions_of_the_caller_are_told_nothing(network, held, name):
    told = []
    with pytest.raises(lb.PermissionDenied, match="was given a function of awi/anna"):
        getattr(held, name)([told.append] if name == "any_asks" else told.append)
    assert told == []


@pytest.mark.parametrize("cut", ["held", "gone on"])
def test_a_broken_line_neither_lets_it_go_nor_loses_it(own_network, cut):
    own_network.serve(SOURCE, MODULE)
    with lb.connect("awi/anna") as anna:
        call = anna[MODULE].mean.start(3)
        (one,) = waiting(own_network)
        own_network.kill_broker()
        until(lambda: "broker is away" in call.notice)
        if cut == "held":
            until(lambda: call.notice == "waiting for the owner's approval")
            assert not call.done()
        command(own_network, "approve", one["id"])
        assert call.result(60) == 1.5


def test_a_terminal_shows_what_the_call_waits_for(network, served):
    ours, theirs = pty.openpty()
    script = f"import landbridge as lb; print(lb.connect('awi/anna')['{MODULE}'].mean(3))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=network.env, stderr=theirs, stdout=subprocess.PIPE, text=True
    )
    os.close(theirs)
    try:
        seen = b""
        while b"mean: waiting for the owner's approval" not in seen:
            seen += os.read(ours, 65536)
        (one,) = waiting(network)
        command(network, "approve", one["id"])
        assert process.communicate(timeout=60)[0] == "1.5\n"
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_result_that_stays_is_held_before_anybody_can_ask_for_it(network, held):
    made: list[lb.Reference] = []
    keeping = threading.Thread(target=lambda: made.append(held.apart.keep(3)), daemon=True)
    keeping.start()
    assert waiting(network)[0]["result"]["shape"] == [3]
    command(network, "approve", waiting(network)[0]["id"])
    keeping.join(30)
    assert list(made.pop().get()) == [0, 1, 2]
    keeping = threading.Thread(target=lambda: made.append(held.blocks.keep(5)), daemon=True)
    keeping.start()
    (one,) = waiting(network)
    assert one["result"]["dims"] == {"x": 5}
    assert made == []
    command(network, "approve", one["id"])
    keeping.join(30)
    (reference,) = made
    assert reference.get().identical(xr.Dataset({"t": ("x", np.arange(5.0))}))
    # What it is given to is held as everything.
    call = held.echo.start(reference)
    assert accepted(network, call).sizes == {"x": 5}


def test_an_object_is_made_unseen_and_what_its_methods_give_is_held(network, held):
    model = held.Model(4)
    call = model.step.start()
    assert waiting(network)[0]["member"] == "Model.step"
    assert accepted(network, call) == 5
    raised: list[str] = []

    def make() -> None:
        with pytest.raises(lb.RemoteError) as caught:
            held.Model(-1)
        raised.append(str(caught.value))

    making = threading.Thread(target=make, daemon=True)
    making.start()
    (one,) = waiting(network)
    assert (one["result"]["type"], raised) == ("error ValueError", [])
    command(network, "approve", one["id"])
    making.join(30)
    assert "the-secret" in raised[0]


def test_a_turn_is_given_back_when_the_method_has_ended(network, held):
    calls = [held.one_at_a_time.start() for _ in range(3)]
    for one in waiting(network, 3):
        command(network, "approve", one["id"])
    assert [call.result(30) for call in calls] == [1, 1, 1]


def test_too_many_that_wait_are_refused(network, held):
    calls = [held.mean.start(number) for number in range(100)]
    waiting(network, 100)
    with pytest.raises(lb.Busy, match="100 calls of awi/anna run or wait for the approval"):
        held.mean(1)
    with lb.connect("awi/bob") as bob:
        other = bob[MODULE].mean.start(5)
        waiting(network, 101)
        other.cancel()
    for call in calls:
        call.cancel()
    waiting(network, 0)


def test_hostile_texts_are_shown_harmlessly(network, held):
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\r\nid  geomar/other" + "x" * 100_000
    calls = [held.echo.start(evil), held.mean.start(1, evil), held.echo.start({evil: [evil] * 1000})]
    waiting(network, 3)
    ran = command(network, "approve")
    for output in (ran.stdout, network.run("approve", "--json").stdout):
        assert not set(output) & {"\x1b", "\x07", "\u202e", "\r"}
        assert len(output) < 30_000
    assert ran.stdout.count("\n\n") == 2
    for call in calls:
        call.cancel()


def test_watching_asks_for_one_after_the_other(network, held):
    first = held.mean.start(1)
    waiting(network)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "approve", "--watch"], env=network.env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""

    def until_seen(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(ours, 65536)
        seen = seen[seen.index(text) + len(text) :]

    try:
        until_seen(b"later  ")
        os.write(ours, b"what?\n")
        until_seen(b"later  ")
        os.write(ours, b"y\n")
        assert first.result(30) == 0.5
        second = held.mean.start(2)
        until_seen(b"first=2")
        until_seen(b"later  ")
        os.write(ours, b"n\n")
        until_seen(b"no reason)  ")
        os.write(ours, b"not today\n")
        with pytest.raises(lb.PermissionDenied, match="not today"):
            second.result(30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_program_may_watch_too(network, held):
    calls = [held.mean.start(number) for number in range(3)]
    waiting(network, 3)
    ran = subprocess.run(
        [*COMMAND, "approve", "--watch", "--json"],
        env=network.env, input="y\nn\nno\n", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    shown = [json.loads(line) for line in ran.stdout.splitlines()]
    order = [calls[each["arguments"]["first"]] for each in shown]
    assert order[0].result(30) == shown[0]["arguments"]["first"] / 2
    with pytest.raises(lb.PermissionDenied, match=r"no\. Ask geomar"):
        order[1].result(30)
    assert not order[2].done()  # nobody has answered
    order[2].cancel()


def records(network: Network, module: str) -> list[dict]:
    ran = command(network, "audit", module, "--json")
    return [each for line in ran.stdout.splitlines() if (each := json.loads(line))["event"] == "call"]


def test_what_was_decided_is_written_down(network, held):
    call = held.mean.start(1234)
    accepted(network, call)
    other = held.mean.start(4321)
    (one,) = waiting(network)
    command(network, "approve", one["id"], "--refuse", "--because", "no \u202e, thanks")
    with pytest.raises(lb.PermissionDenied):
        other.result(30)
    until(lambda: [each for each in records(network, MODULE) if "thanks" in each.get("approval_because", "")])
    last = records(network, MODULE)[-2:]
    assert [(each["approval"], each["outcome"]) for each in last] == [("approved", "ok"), ("refused", "denied")]
    assert all(each["approval_at"].startswith("20") for each in last)
    assert command(network, "audit", MODULE, "--verify")
    assert "refused 20" in command(network, "audit", MODULE).stdout
    # Values are not written down unless the owner says so.
    (file,) = network.folder.glob("state/landbridge/backends/geomar.held/audit/*/audit.jsonl")
    assert '"values"' not in file.read_text()
    assert '"first"' not in file.read_text()


def test_a_backend_that_is_killed_leaves_nothing_to_decide(network, served, held):
    call = held.mean.start(3)
    (one,) = waiting(network)
    (folder,) = network.folder.glob("state/landbridge/backends/geomar.held/approvals/*")
    os.kill(served.pid, signal.SIGKILL)
    with pytest.raises(lb.CallLost):
        call.result(60)
    waiting(network, 0)
    assert network.run("approve", one["id"]).returncode == 5
    served.pid = served.next_line()["pid"]
    until(lambda: not folder.exists())
    again = until(lambda: started(held))
    assert accepted(network, again) == 1.5


def test_a_backend_that_is_stopped_waits_for_no_owner(network):
    served = network.serve(SOURCE, "geomar/stopped")
    with lb.connect("awi/anna") as anna:
        call = anna["geomar/stopped"].mean.start(3)
        (one,) = waiting(network)
        assert served.stop(timeout_s=25) == 0  # before the grace of what runs is over
        with pytest.raises(lb.CallLost):
            call.result(30)
    assert network.run("approve", one["id"]).returncode == 5
    assert list(network.folder.glob("state/landbridge/backends/geomar.stopped/approvals/*")) == []


def started(held):
    with contextlib.suppress(lb.LandbridgeError):
        return held.mean.start(3)
    return None


@pytest.fixture
def ruled(network: Network):
    served = network.serve(RULED, "geomar/ruled")
    folder = max(network.folder.glob("served_*"), key=lambda path: int(path.name.partition("_")[2]))
    yield (folder / "landbridge.toml").write_text
    served.end()


def test_a_rule_may_ask_for_it_and_another_that_fits_need_not(network, ruled):
    ruled(
        '[[share]]\nwith = ["awi/*"]\napprove = "per-call"\n'
        '[[share]]\nwith = ["awi/*"]\nmembers = ["mean"]\narguments.first = { max = 9 }\n'
    )
    with lb.connect("awi/anna") as anna:

        def shared():
            with contextlib.suppress(lb.PermissionDenied):
                return anna["geomar/ruled"]

        live = until(shared)
        # What cannot be looked at before it goes is not shared like that.
        assert dir(live) == ["field", "kept", "mean", "slow", "slow_one"]
        for name in ("numbers", "sst"):
            with pytest.raises(lb.PermissionDenied, match="only if it can look at each result before it goes"):
                anna._member(f"geomar/ruled.{name}")
        with pytest.raises(lb.PermissionDenied, match="only if it can look"):
            lb.open("geomar/ruled.sst", profile="awi/anna")
        assert live.mean(9) == 4.5
        call = live.mean.start(10)
        assert accepted(network, call) == 5
        # Who is asked from now on is asked for what runs, too.
        ruled('[[share]]\nwith = ["awi/*"]\nmembers = ["mean"]\napprove = "per-call"\n')

        def waits():
            call = live.mean.start(9)
            if until(lambda: call.done() or call.notice) is not True:
                return call
            return None

        assert accepted(network, until(waits)) == 4.5
        # Revoked while it waits: nothing goes.
        call = live.mean.start(9)
        waiting(network)
        command(network, "revoke", "geomar/ruled", "awi/*")
        with pytest.raises(lb.PermissionDenied, match="does not let"):
            call.result(30)
    (network.folder / "state/landbridge/backends/geomar.ruled/shares.json").unlink()


FIRST_FREE = '[[share]]\nwith = ["awi/*"]\narguments.first = { min = 0, max = 10 }\n'
ALL_HELD = '[[share]]\nwith = ["awi/*"]\napprove = "per-call"\n'


def shared(anna, name: str = "geomar/ruled"):
    def found():
        with contextlib.suppress(lb.PermissionDenied):
            return anna[name]
        return None

    return until(found)


@pytest.mark.parametrize("then", [FIRST_FREE.strip() + '\napprove = "per-call"\n', ALL_HELD, FIRST_FREE + ALL_HELD])
def test_what_waits_for_its_turn_when_approval_is_switched_on_is_held_as_what_runs(network, ruled, then):
    ruled(FIRST_FREE)
    with lb.connect("awi/anna") as anna:
        live = shared(anna)
        calls = [live.slow_one.start(2), live.slow_one.start(4)]
        time.sleep(0.5)  # the first one runs, for two seconds, and the other waits for its turn
        ruled(then)
        found = waiting(network, 2)
        by_call = {one["call"]: one for one in found}
        assert len(by_call) == 2
        assert sorted(one["result"]["preview"] for one in found) == ["1.0", "2.0"]
        # What had begun was not noted; what had not is.
        assert [one["arguments"] for one in found if one["result"]["preview"] == "2.0"] == [{"first": 4}]
        assert not any(call.done() for call in calls)
        for one in found:
            command(network, "approve", one["id"])
        assert [call.result(30) for call in calls] == [1, 2]


def test_the_limits_of_a_share_without_approval_are_counted_beside_one_with_it(network, ruled):
    ruled(ALL_HELD + FIRST_FREE + "calls_per_hour = 2\n")
    with lb.connect("awi/anna") as anna:
        live = shared(anna)
        assert [live.mean(5), live.mean(5)] == [2.5, 2.5]
        call = live.mean.start(5)
        assert accepted(network, call) == 2.5


def test_what_needs_no_approval_is_answered_however_much_waits(network, ruled):
    ruled(ALL_HELD + FIRST_FREE)
    with lb.connect("awi/anna") as anna:
        live = shared(anna)
        calls = [live.mean.start(50) for _ in range(100)]
        waiting(network, 100)
        assert live.mean(5) == 2.5
        with pytest.raises(lb.Busy, match="100 calls of awi/anna run or wait for the approval"):
            live.mean(50)
        for call in calls:
            call.cancel()


def test_of_a_value_that_is_kept_while_approval_is_switched_on_the_value_is_shown(network, ruled):
    ruled(FIRST_FREE)
    with lb.connect("awi/anna") as anna:
        live = shared(anna)
        made: list[lb.Reference] = []
        keeping = threading.Thread(target=lambda: made.append(live.kept.keep(3)), daemon=True)
        keeping.start()
        time.sleep(0.5)
        ruled(ALL_HELD)
        (one,) = waiting(network)
        assert (one["arguments"], one["result"]["preview"]) == (None, "[3, 'of the owner']")
        assert "called with  not noted: it began before approval was asked for\n" in command(network, "approve").stdout
        command(network, "approve", one["id"])
        keeping.join(30)
        assert made.pop().get() == [3, "of the owner"]


def test_one_line_shares_with_approval(network, ruled):
    command(network, "share", "geomar/ruled.mean", "awi/*")
    ran = command(network, "share", "geomar/ruled.mean", "awi/anna", "--approve")
    assert "each to be approved" in ran.stdout
    assert "Calls of awi/anna still go through unseen: geomar/ruled.mean is shared with awi/* without" in ran.stderr
    command(network, "share", "geomar/ruled.mean", "awi/*", "--approve")
    with lb.connect("awi/anna") as anna:

        def waits():
            with contextlib.suppress(lb.PermissionDenied):
                call = anna["geomar/ruled"].mean.start(9)
                return call if until(lambda: call.done() or call.notice) is not True else None

        assert accepted(network, until(waits)) == 4.5
    (network.folder / "state/landbridge/backends/geomar.ruled/shares.json").unlink()


def test_arguments_are_written_down_if_the_owner_says_so(network, ruled):
    ruled('audit_values = true\n[[share]]\nwith = ["awi/*"]\n')
    with lb.connect("geomar/me") as me:
        live = me["geomar/ruled"]

        def written():
            live.mean(7)
            time.sleep(0.3)
            return [each for each in records(network, "geomar/ruled") if each.get("values") == {"first": 7}]

        until(written)
    assert "first=7" in command(network, "audit", "geomar/ruled").stdout
    assert '{""first"": 7}' in command(network, "audit", "geomar/ruled", "--csv").stdout
    assert command(network, "audit", "geomar/ruled", "--verify")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "import landbridge as lb\n@lb.method(approve='per-call')\ndef f():\n    yield 1\n",
            "gives its items one by one",
        ),
        ("import landbridge as lb\n@lb.method(approve='always')\ndef f(): return 1\n", 'approve must be "per-call"'),
        (
            "import landbridge as lb\n@lb.method(approve='per-call')\nclass A:\n    def f(self):\n        yield 1\n",
            "A.f has approve=",
        ),
    ],
)
def test_what_cannot_be_held_is_not_served(network, tmp_path: Path, source, said):
    (tmp_path / "odd.py").write_text(source)
    ran = network.run("serve", str(tmp_path / "odd.py"), "--as", "geomar/odd")
    assert ran.returncode == 2
    assert said in ran.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing"], 5, "Nothing waits under the id 'nothing'"),
        (["../../x"], 5, "Nothing waits under the id"),
        (["--refuse"], 2, "say which"),
        (["--because", "x"], 2, "goes with --refuse"),
        (["--watch", "--refuse"], 2, "asks for each by itself"),
    ],
)
def test_what_cannot_be_decided_is_told(network, words, code, said):
    ran = network.run("approve", *words)
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False)
    assert said in ran.stderr
