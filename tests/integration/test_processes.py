"""Forks, pickles, several event loops, and the end of the interpreter, in real processes."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

import landbridge as lb
from landbridge import errors

SEA = """
import time
from pathlib import Path

import landbridge as lb

__all__ = ["add", "fail", "rows", "slow_rows", "wait"]


def add(a: int, b: int) -> int:
    return a + b


def rows(n: int):
    yield from range(n)


def slow_rows(n: int):
    for k in range(n):
        time.sleep(0.01)
        yield k


def fail() -> None:
    {}["year"]


def wait(folder: str) -> None:
    Path(folder, "started").touch()
    try:
        for _ in lb.track(range(10_000)):
            time.sleep(0.01)
    finally:
        Path(folder, "stopped").touch()
"""


@pytest.fixture(scope="module", autouse=True)
def sea(network, net):
    network.serve(SEA, "awi/sea", "--share", "*/*")
    return net["awi/sea"]


def until(what, timeout_s: float = 20.0):
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


FORKS = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of forks beside threads
import landbridge as lb
net = lb.connect()
sea = net.awi.sea
assert sea.add(1, 1) == 2

def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            sys.stdout.flush()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
"""


def run(network, script: str, *options: str) -> str:
    """Run a caller's script that must end well and say nothing on stderr; return what it printed."""
    done = subprocess.run(
        [sys.executable, *options, "-c", script], env=network.env, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_forked_children_and_grandchildren_call_with_the_parents_proxies(network):
    script = """
def grandchild():
    print("grandchild", sea.add(3, 3))

def child():
    print("child", sea.add(2, 2), net.awi.sea.add(2, 3), list(sea.rows(3)), flush=True)
    in_child(grandchild)

in_child(child)
print("parent", sea.add(4, 4))
"""
    assert run(network, FORKS + script).splitlines() == ["child 4 5 [0, 1, 2]", "grandchild 6", "parent 8"]


def test_threads_of_a_forked_child_open_one_connection_together(network):
    script = """
import gc
from landbridge.client.link import Link

def child():
    start = threading.Barrier(8)
    results = []
    def call():
        start.wait()
        results.append(sea.add(1, 2))
    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(results, sum(isinstance(each, Link) for each in gc.get_objects()))

in_child(child)
"""
    # The parent's, of which the child has a copy, and its own.
    assert run(network, FORKS + script) == f"{[3] * 8} 2\n"


def test_a_fork_while_others_hold_our_locks_leaves_the_child_able_to_call(network):
    script = """
import landbridge.client.loop, landbridge.client.network as module
locks = [module._filling, module._reconnecting, landbridge.client.loop._lock, lb._defaults_lock]
for lock in locks: lock.acquire()  # as another thread may
def child():
    print(net["awi/sea"].add(1, 1), lb._default_network().awi.sea.add(1, 2))
in_child(child)
for lock in locks: lock.release()
"""
    assert run(network, FORKS + script) == "2 3\n"


def test_a_forked_child_that_ends_like_any_program_leaves_the_parents_connection_alone(network):
    script = """
pid = os.fork()
if pid == 0:
    sea.add(1, 1)
    sys.exit(0)  # runs what was registered with atexit
assert os.waitpid(pid, 0)[1] == 0
print(sea.add(5, 5))
"""
    assert run(network, FORKS + script) == "10\n"


# DeprecationWarning: Python's own, of forks beside threads.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_call_methods_that_were_passed_to_them(sea, net, method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(sea.add, [1, 2, 3], [10, 20, 30])) == [11, 22, 33]
        assert pool.submit(partial(sea.add, b=5), 4).result() == 9
        found = pool.submit(getattr, net, "awi").result()
        assert found.sea.add(1, 1) == 2
        with pytest.raises(KeyError) as caught:
            pool.submit(sea.fail).result()
    assert isinstance(caught.value, lb.RemoteError)
    assert caught.value.target == "awi/sea.fail"
    with context.Pool(1) as pool:
        assert pool.apply(sea.add, (7, 7)) == 14


def test_networks_institutes_modules_and_methods_pickle_as_what_they_are_called(net, sea):
    for thing in (net, net.awi, sea, sea.add):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(thing, protocol))
            assert copy.copy(thing) is copy.deepcopy(thing) is thing
            assert isinstance(again, lb.Network) or repr(again) in (repr(thing), "<landbridge module awi/sea>")
    again = pickle.loads(pickle.dumps([net, sea.add]))
    assert again[0].awi.sea.add(1, 2) == again[1](1, 2) == 3


def test_the_handle_of_a_call_says_that_it_cannot_be_pickled(sea):
    call = sea.add.start(1, 2)
    for refused in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"awi/sea.add cannot be pickled or copied: .* Pass on its result"):
            refused(call)
    assert call.result() == 3

    async def main():
        async with lb.AsyncNetwork() as anet:
            call = anet.awi.sea.add(1, 2)
            with pytest.raises(TypeError, match="Pass on its result"):
                pickle.dumps(call)
            return await call

    assert asyncio.run(main()) == 3


EACH = [
    errors.LandbridgeError("text"),
    errors.InvalidName("a b", "module", "it has a space"),
    errors.InvalidArguments("awi/sea.add", [errors.Problem("a", "no"), errors.Problem("b", "neither")]),
    errors.CannotTravel("a[3]", "it is a socket"),
    errors.TooLarge("The value", 10, 5, "Ask for less"),
    errors.Malformed("nonsense"),
    errors.ProtocolMismatch("1.0", "3.0"),
    errors.ProtocolMismatch.of_method("awi/sea.add", "now is a stream"),
    errors.UnknownModule("awi/se", "awi/sea"),
    errors.UnknownMember("awi/sea", "ad", "add"),
    errors.PermissionDenied("no"),
    errors.IdentityChanged("gfz", "gfz/ocean", "aaaa-bbbb", "the module is one of cccc-dddd", "cccc-dddd"),
    errors.IdentityChanged("gfz", "gfz/ocean", "aaaa-bbbb", "the module proves nothing"),
    errors.Busy("awi/sea.add", "too many", 2.5),
    errors.ModuleOffline("awi/sea", " since noon"),
    errors.BrokerUnreachable("nobody there"),
    errors.CallLost("gone"),
    errors.CallTimeout("awi/sea.add", 3.0, by_owner=True),
    errors.CallCancelled("awi/sea.add", "running"),
    errors.RemoteError("awi/sea.add", "Strange", "text", "a1b2"),
    errors.remote_error("awi/sea.add", "KeyError", "'year'", "a1b2", "KeyError"),
    errors.remote_error("awi/sea.add", "OSError", "text", "a1b2", "FileNotFoundError"),
    errors.MethodCrashed("awi/sea.add", "was killed"),
    errors.ObjectGone("awi/sea.Station", "its lease ended"),
    errors.DatasetChanged("awi/sea.sst"),
    errors.InternalError("text", "a1b2"),
    errors.NothingToServe("text"),
    errors.NotConfigured("text"),
    errors.BrokerFailed("text"),
    errors.MissingExtra("Reading tables", "table"),
]


def test_the_list_of_errors_is_complete():
    public = {name for name in lb.__all__ if isinstance(cls := getattr(lb, name), type) and issubclass(cls, Exception)}
    assert public == {type(error).__name__ for error in EACH}


@pytest.mark.parametrize("error", EACH, ids=[f"{number}_{type(error).__name__}" for number, error in enumerate(EACH)])
def test_every_error_pickles_and_copies_with_its_fields(error):
    error.add_note("seen in the third year")
    copies = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for again in [*copies, copy.copy(error), copy.deepcopy(error)]:
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again), again.code) == (str(error), error.args, vars(error), error.code)
        assert again._repr_html_() == error._repr_html_()


def test_several_event_loops_each_with_a_network_of_its_own(sea):
    async def main(offset: int) -> list[int]:
        async with lb.AsyncNetwork() as anet:
            return await asyncio.gather(*(anet.awi.sea.add(offset, k) for k in range(20)))

    assert asyncio.run(main(0)) == list(range(20))
    assert asyncio.run(main(1)) == list(range(1, 21))  # another loop, after the first has ended
    results: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda k=k: results.update({k: asyncio.run(main(k))})) for k in (100, 200)]
    for thread in threads:
        thread.start()
    assert sea.add(1, 1) == 2  # and the blocking face beside them
    for thread in threads:
        thread.join()
    assert results == {k: list(range(k, k + 20)) for k in (100, 200)}


def test_an_async_network_in_another_loop_says_so_instead_of_hanging(tmp_path):
    async def elsewhere(anet, call, stream):
        with pytest.raises(RuntimeError, match="another event loop"):
            anet.awi.sea.add(1, 1)
        with pytest.raises(RuntimeError, match="another event loop"):
            await call
        with pytest.raises(RuntimeError, match="another event loop"):
            await call.cancel()
        with pytest.raises(RuntimeError, match="another event loop"):
            async for _ in stream:
                pass
        with pytest.raises(RuntimeError, match="another event loop"):
            await anet.close()

    async def main():
        async with lb.AsyncNetwork() as anet:
            assert await anet.awi.sea.add(1, 1) == 2
            call, stream = anet.awi.sea.wait(str(tmp_path)), anet.awi.sea.rows(3)
            await asyncio.to_thread(asyncio.run, elsewhere(anet, call, stream))
            assert [row async for row in stream] == [0, 1, 2]
            assert await call.cancel() == "stopped"

    asyncio.run(main())


OPEN = "import landbridge as lb\nnet = lb.connect()\nsea = net.awi.sea\nassert sea.add(1, 1) == 2\n"
DAEMONS = """
import threading
started = threading.Semaphore(0)
def work():
    started.release()
    WORK
threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: started.acquire()
"""
ENDS = {
    "an open network": OPEN,
    "a call that runs": OPEN + "call = sea.wait.start(FOLDER)",
    "a call that nobody holds": OPEN + "sea.wait.start(FOLDER)",
    "an open stream": OPEN + "rows = sea.rows(10**6)\nnext(rows)",
    "a stream that was not begun": OPEN + "rows = iter(sea.rows.start(10**6))",
    "a map half way": OPEN + "values = sea.add.map(range(1000), range(1000))\nnext(values)",
    "daemon threads that wait": OPEN + DAEMONS.replace("WORK", "sea.wait(FOLDER)"),
    "daemon threads that loop": OPEN + DAEMONS.replace("WORK", "while True: sea.add(1, 1)"),
    "daemon threads with streams": OPEN + DAEMONS.replace("WORK", "for _ in sea.slow_rows(10**6): pass"),
    "daemon threads that look around": OPEN + DAEMONS.replace("WORK", "while True: net['awi/sea']"),
    "sys.exit in the middle": OPEN + "import sys\nwith net:\n    call = sea.wait.start(FOLDER)\n    sys.exit(0)",
    "several networks": "import landbridge as lb\nnets = [lb.connect() for _ in range(5)]",
    "an object that calls when it is deleted": OPEN
    + """
class Late:
    def __del__(self):
        try: sea.add(1, 1)
        except (RuntimeError, TypeError): pass
late = Late()
""",
}


@pytest.mark.parametrize("script", ENDS.values(), ids=ENDS)
def test_the_interpreter_ends_in_order_with(network, tmp_path, script):
    assert run(network, script.replace("FOLDER", repr(str(tmp_path))), "-X", "dev", "-W", "error") == ""
    if (tmp_path / "started").exists():  # what ran for a program that has ended is told to stop
        until((tmp_path / "stopped").exists)


@pytest.mark.parametrize("first", ["", OPEN])
def test_calls_work_while_the_interpreter_ends(network, first):
    script = f"""
import atexit
import landbridge as lb
{first}
@atexit.register
def last():
    print(lb.connect().awi.sea.add(1, 2))
"""
    assert run(network, script, "-X", "dev", "-W", "error") == "3\n"


def test_calls_after_everything_was_closed_say_so(network):
    script = f"""
import atexit
@atexit.register
def last():
    try:
        sea.add(1, 1)
    except RuntimeError as error:
        print(error)
{OPEN}
"""
    assert "network has been closed" in run(network, script, "-X", "dev", "-W", "error")


def test_an_async_network_that_was_left_open_does_not_hold_up_the_end(network):
    script = """
import asyncio
import landbridge as lb
async def main():
    net = await lb.AsyncNetwork().__aenter__()
    print(await net.awi.sea.add(1, 2))
asyncio.run(main())
"""
    # Without -X dev, where asyncio itself tells of every socket that nobody closed.
    assert run(network, script) == "3\n"
