"""Notebooks in a real kernel: cards of calls, what proxies show, Ctrl-C, running loops, completion."""

from __future__ import annotations

import asyncio
import tempfile
import time

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

SEA = '''
"""The sea."""
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import landbridge as lb

__all__ = ["Basin", "count", "fail", "mean", "patient", "rows"]
__version__ = "2.1"


class Basin(Enum):
    NORTH = "n"
    SOUTH = "s"


def mean(first: int, depth: Annotated[float, "m"] = 10.0, *, basin: Basin = Basin.NORTH) -> float:
    """Mean temperature.

    Parameters
    ----------
    first : int
        First year.
    """
    return 4.5


def count(n: int) -> int:
    for _ in lb.track(range(n), label="years"):
        time.sleep(0.04)
    return n


def rows(n: int):
    for k in range(n):
        time.sleep(0.04)
        yield k


def fail() -> None:
    time.sleep(0.7)
    raise ValueError("no <b>year</b> 1066")


def patient(folder: str) -> None:
    Path(folder, "started").touch()
    try:
        for _ in lb.track(range(10_000)):
            time.sleep(0.01)
    finally:
        Path(folder, "stopped").touch()
'''


@pytest.fixture(scope="module", autouse=True)
def sea(network):
    return network.serve(SEA, "awi/sea")


@pytest.fixture(scope="module", autouse=True)
def own_folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as short:
        # Sockets have their paths there, which must be short.
        patch.setenv("JUPYTER_RUNTIME_DIR", short)
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        yield


def notebook(*cells: str) -> NotebookClient:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return NotebookClient(book, kernel_name="python3", timeout=60, allow_errors=True)


def outputs(cell) -> list[tuple[str, str]]:
    """Return kind and text of what a cell shows; of HTML, without the style."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        assert not any("widget" in kind for kind in data)
        text = data.get("text/html") or data.get("text/plain") or output.get("text") or output.get("evalue", "")
        found.append((output.output_type, text.rpartition("</style>")[2]))
    return found


def until(what, timeout_s: float = 20.0):
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_notebook_that_was_run_holds_the_cards_as_they_were_last():
    client = notebook(
        "import landbridge as lb\nnet = lb.connect()\nsea = net.awi.sea",
        "sea.count(30)",
        "sea.count(1)",
        "sea.fail()",
        "list(sea.rows(25))[-1]",
        "for row in sea.rows(1000):\n    if row == 20: break",
        "list(sea.count.map([20, 20, 25]))",
        "call = sea.count.start(1000)\ntry: call.result(timeout=0.8)\nexcept TimeoutError as error: print(error)",
        "call.cancel(), call",
        "call",
    )
    book = client.execute()
    nbformat.validate(book)
    _, count, short, fail, rows, left, mapped, early, _, cancelled = (outputs(cell) for cell in book.cells)

    (kind, card), result = count
    assert (kind, result) == ("display_data", ("execute_result", "30"))
    for part in ("awi/sea.count</b>", ">done<", '<progress value="1.0000"', "years 30/30"):
        assert part in card
    assert short == [("execute_result", "1")]  # too short for a card

    (_, card), (kind, text) = fail
    assert kind == "error"
    assert "no <b>year</b> 1066" in text
    assert ">failed<" in card
    assert "ValueError: no &lt;b&gt;year&lt;/b&gt; 1066" in card

    assert ">done<" in rows[0][1]
    assert rows[1] == ("execute_result", "24")
    assert [kind for kind, _ in left] == ["display_data"]
    assert "cancelled; the remote work has stopped" in left[0][1]
    assert [kind for kind, _ in mapped] == ["display_data", "execute_result"]  # one card for all calls
    assert ">done<" in mapped[0][1]
    assert ">running<" in early[0][1]  # nobody waits for it any more, but it runs
    assert "it goes on" in early[1][1]
    assert "cancelled; the remote work has stopped" in cancelled[0][1]


def test_proxies_show_what_they_are_and_never_fail():
    client = notebook(
        "import landbridge as lb\nnet = lb.connect()\nnet",
        "net.awi",
        "net.awi.sea",
        "net.awi.sea.mean",
        "call = net.awi.sea.count.start(1000)\ncall",
        "net.close()\nnet",
        "lb.ModuleOffline('awi/sea')",
    )
    shown = [outputs(cell)[0][1] for cell in client.execute().cells]
    network, institute, module, method, call, closed, error = shown
    for text in (network, institute):
        assert "● online" in text
        assert "<b>sea</b>" in text
        assert "2.1" in text
        assert "The sea." in text
    for text in (module, method):
        assert "mean(first, depth=10.0, *, basin=Basin.NORTH)" in text
        assert "First year." in text
        assert "net.awi.sea.mean(first=1)" in text
    assert "awi/sea.count" in call
    assert "(closed)" in closed
    assert "<code>offline</code>" in error


def test_interrupting_the_kernel_stops_the_remote_work(tmp_path):
    client = notebook(
        f"import landbridge as lb\nnet = lb.connect()\nnet.awi.sea.patient({str(tmp_path)!r})",
        "net.awi.sea.count(2)",
    )

    async def main():
        running = asyncio.create_task(client.async_execute())
        while not (tmp_path / "started").exists():
            assert not running.done()
            await asyncio.sleep(0.02)
        await asyncio.sleep(1)  # so that there is a card
        await client.km.interrupt_kernel()
        return await running

    interrupted, after = asyncio.run(main()).cells
    until((tmp_path / "stopped").exists)
    kinds = [output.output_type for output in interrupted.outputs]
    assert kinds == ["display_data", "error"]
    assert interrupted.outputs[1].ename == "KeyboardInterrupt"
    assert "cancelled; the remote work has stopped" in interrupted.outputs[0].data["text/html"]
    assert outputs(after) == [("execute_result", "2")]


def test_cells_with_loops_of_their_own():
    client = notebook(
        "import asyncio\nimport landbridge as lb\nnet = lb.connect()\nasyncio.get_running_loop().is_running()",
        "async def inside():\n    return net.awi.sea.count(1)\nawait inside()",
        "async with lb.AsyncNetwork() as anet:\n"
        "    both = await asyncio.gather(anet.awi.sea.count(3), anet.awi.sea.mean(1))\n"
        "    some = [row async for row in anet.awi.sea.rows(3)]\n"
        "both, some",
        "anet = await lb.AsyncNetwork().__aenter__()",
        "await anet.awi.sea.count(2)",  # the loop lives from cell to cell
        "await anet.close()",
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor() as pool:\n    print(list(pool.map(net.awi.sea.count, [1, 2, 3])))",
    )
    cells = [outputs(cell) for cell in client.execute().cells]
    assert cells == [
        [("execute_result", "True")],
        [("execute_result", "1")],
        [("execute_result", "([3, 4.5], [0, 1, 2])")],
        [],
        [("execute_result", "2")],
        [],
        [("stream", "[1, 2, 3]\n")],
    ]


@pytest.fixture(scope="module")
def kernel(network, sea, own_folders):
    """A kernel that somebody types into."""
    manager = KernelManager(kernel_name="python3", transport="ipc")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        ask(client, "import landbridge as lb\nnet = lb.connect()\nsea = net.awi.sea\nassert dir(sea)")
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def ask(client, code: str) -> list[str]:
    """Run code; return the kinds of messages that came."""
    kinds: list[str] = []
    reply = client.execute_interactive(code, timeout=60, output_hook=lambda message: kinds.append(message["msg_type"]))
    assert reply["content"]["status"] == "ok", reply["content"]
    return kinds


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("net.", {"awi", "close"}),
        ("net.a", {"awi"}),
        ("net.awi.", {"sea"}),
        ("net.awi.sea.", {"Basin", "count", "fail", "mean", "patient", "rows"}),
        ("sea.me", {"mean"}),
        ("net.awi.sea.mean.", {"map", "options", "start"}),
        ("sea.mean(fi", {"first="}),
        ("sea.mean(1, ba", {"basin="}),
        ("net.awi.sea.mean(de", {"depth="}),
        ("sea.mean.options(ti", {"timeout_s="}),
        ("sea.Basin.NO", {"NORTH"}),
        ('net["aw', {"awi/sea"}),
    ],
)
def test_completion_offers_what_is_there(kernel, typed, offered):
    content = kernel.complete(typed, reply=True, timeout=60)["content"]
    # Some completers repeat what is before the last dot or bracket.
    names = {match.rpartition(".")[2].strip("\"'[]") for match in content["matches"]}
    assert offered <= names


def test_a_question_mark_shows_signature_and_docstring(kernel):
    content = kernel.inspect("net.awi.sea.mean", reply=True, timeout=60)["content"]
    text = content["data"]["text/plain"]
    for part in ("first", "depth", "10.0", "Mean temperature.", "First year.", "in m"):
        assert part in text
    module = kernel.inspect("net.awi.sea", reply=True, timeout=60)["content"]["data"]["text/plain"]
    assert "The sea." in module


def test_cards_are_renewed_at_most_five_times_a_second(kernel):
    began = time.monotonic()
    kinds = ask(kernel, "sea.count(60)")
    seconds = time.monotonic() - began
    assert kinds.count("display_data") == 1
    # The first look after half a second makes the card; the end renews it once more at any time.
    assert 1 <= kinds.count("update_display_data") <= 5 * seconds + 1
