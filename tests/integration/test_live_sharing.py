"""Sharing while a module is served: the owner shares, limits and revokes, whatever can be asked of it."""

from __future__ import annotations

import datetime
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import landbridge as lb
from network import Network

SOURCE = """
import time
import numpy as np
import xarray as xr
import landbridge as lb

__all__ = ["mean", "apart", "in_loop", "waits", "numbers", "Model", "field", "sst"]

def mean(first: int, last: int = 2000) -> float:
    return (first + last) / 2

@lb.method(process=True)
def apart(first: int) -> int:
    return first

async def in_loop(first: int) -> int:
    return first

def waits() -> None:
    while not lb.current_call().cancelled:
        time.sleep(0.01)

def numbers(n: int):
    for number in range(n):
        time.sleep(0.01)
        yield number

class Model:
    def step(self) -> int:
        return 1

def field() -> xr.Dataset:
    return xr.Dataset({"t": ("x", np.arange(100_000.0))})

@lb.dataset
def sst() -> xr.Dataset:
    return field()
"""
MODULE = "geomar/live"


@pytest.fixture
def served(network: Network):
    """Serve the module, of which nothing is shared yet."""
    (network.folder / "state/landbridge/backends/geomar.live/shares.json").unlink(missing_ok=True)
    served = network.serve(SOURCE, MODULE)
    yield served
    served.end()


@pytest.fixture
def folder(served, network: Network) -> Path:
    """Return where what is served lies."""
    return max(network.folder.glob("served_*"), key=lambda path: int(path.name.partition("_")[2]))


@pytest.fixture
def policy(folder):
    """Return what writes the policy file beside what is served."""
    return (folder / "landbridge.toml").write_text


@pytest.fixture
def anna(served):
    with lb.connect("awi/anna") as anna:
        yield anna


def command(network: Network, *words: str):
    ran = network.run(*words)
    assert ran.returncode == 0, ran.stderr
    return ran


def until(what, within_s: float = 30.0):
    """Try again until it does not raise `AssertionError` or a refusal any more."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return what()
        except (AssertionError, lb.PermissionDenied):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def holds(condition: bool) -> None:
    assert condition


@contextmanager
def refused(match: str = "geomar"):
    with pytest.raises(lb.PermissionDenied, match=match):
        yield


def until_refused(what, match: str = "geomar") -> None:
    def is_refused() -> None:
        try:
            what()
        except lb.PermissionDenied as error:
            assert match in str(error)  # noqa: PT017 - it may not be refused yet
        else:
            raise AssertionError

    until(is_refused)


def test_one_line_shares_a_method_and_one_line_revokes_it(network, anna):
    with refused("has shared nothing"):
        anna[MODULE]
    command(network, "share", f"{MODULE}.mean", "awi/anna")
    live = until(lambda: anna[MODULE])
    assert dir(live) == ["mean"]
    assert live.mean(1, 3) == 2
    with lb.connect("awi/bob") as bob, refused():
        bob[MODULE]
    command(network, "revoke", f"{MODULE}.mean", "awi/anna")
    until_refused(lambda: live.mean(1, 3), "does not let awi/anna call")


def test_what_runs_when_it_is_revoked_is_ended(network, anna):
    command(network, "share", MODULE, "awi/*")
    live = until(lambda: anna[MODULE])
    waiting, stream = live.waits.start(), iter(live.numbers.start(100_000))
    model, kept = live.Model(), live.field.keep()
    assert [next(stream), next(stream)] == [0, 1]
    dataset = lb.open(f"{MODULE}.sst", profile="awi/anna")
    assert float(dataset.t[7]) == 7 == float(kept.open().t[7])
    command(network, "revoke", MODULE, "awi/*")
    with refused():
        waiting.result(30)
    with refused():
        list(stream)
    for use in (lambda: model.step(), kept.get, lambda: dataset.t[8].load(), kept.open, lambda: live.mean(1)):
        until_refused(use)
    with lb.connect(f"{MODULE.partition('/')[0]}/eve") as own:
        assert own[MODULE].mean(1, 3) == 2
    # Taken back by the same words.
    command(network, "share", MODULE, "awi/*")
    assert until(lambda: live.mean(1, 3)) == 2
    assert until(lambda: float(kept.open().t[9])) == 9


def test_a_share_outlasts_its_backend_and_ends_when_it_says(network, anna):
    command(network, "share", f"{MODULE}.mean", "awi/anna", "--until", "2020-01-01")
    with refused("had shared|has shared nothing"):
        time.sleep(0.5)
        anna._member(f"{MODULE}.mean")(1, 3)
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=4)
    command(network, "share", f"{MODULE}.mean", "awi/anna", "--until", soon.isoformat())
    mean = until(lambda: anna[MODULE].mean)
    assert mean(1, 3) == 2
    until_refused(lambda: mean(1, 3), "had shared geomar/live.mean with awi/anna until")


def test_limits_say_when_to_call_again(network, anna):
    command(network, "share", f"{MODULE}.mean", "awi/anna", "--calls-per-hour", "2")
    command(network, "share", f"{MODULE}.waits", "awi/anna", "--concurrent", "1")
    until(lambda: holds(len(dir(anna[MODULE])) == 2))
    live = anna[MODULE]
    assert [live.mean(1, 3), live.mean(1, 3)] == [2, 2]
    with pytest.raises(lb.Busy, match="its owner allows awi/anna 2 calls an hour") as caught:
        live.mean(1, 3)
    assert 1000 < caught.value.retry_after_s <= 1800
    first, second = live.waits.start(), live.waits.start()
    until(lambda: holds("its owner allows awi/anna 1 calls at a time" in second.notice))
    assert first.cancel() == "stopped"
    until(lambda: holds(not second.notice))  # now it is its turn
    assert second.cancel() == "stopped"


def test_arguments_are_kept_within_what_the_owner_allows(policy, anna):
    policy('[[share]]\nwith = ["awi/*"]\narguments.first = { min = 1980, max = 2010 }\n')
    live = until(lambda: anna[MODULE])
    assert live.mean(1990) == 1995
    for call in (live.mean, live.apart, live.in_loop):
        assert call(1980)
        with refused("for some arguments only: first is 1979, and may be 1980 to 2010"):
            call(1979)
    with refused("n is|first is not given"):
        list(live.numbers(3))
    policy('[[share]]\nwith = ["awi/*"]\narguments.last = { max = 1999 }\n')
    # A default is an argument, too.
    until_refused(lambda: live.mean(1990), "last is 2000")
    assert live.mean(1990, 1998) == 1994


def test_a_policy_that_cannot_be_read_shares_nothing_with_anybody(policy, anna, served):
    policy('[[share]]\nwith = ["awi/*"]\n')
    live = until(lambda: anna[MODULE])
    waiting = live.waits.start()
    policy('[[share]]\nwith = ["awi/*"]\nuntill = 2030-01-01\n')
    until_refused(lambda: live.mean(1), "what geomar allows cannot be read")
    with refused("cannot be read"):
        waiting.result(30)
    assert "it knows no untill; was until meant?" in served.stderr
    policy('[[share]]\nwith = ["awi/*"]\n')
    assert until(lambda: live.mean(1, 3)) == 2


def test_nothing_is_served_whose_policy_cannot_be_read(network, folder, policy):
    policy("[[share]\n")
    ran = network.run("serve", str(folder / "live.py"), "--as", "geomar/other")
    assert ran.returncode != 0
    assert "landbridge.toml cannot be read" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["share", "geomar/nowhere", "awi/*"], 5, "has not been served from this computer"),
        (["share", f"{MODULE}.meen", "awi/*"], 5, "mean"),
        (["share", MODULE, "awi/b*"], 2, "may not name a person"),
        (["share", MODULE, "*/anna"], 2, "known only together with the institute"),
        (["share", MODULE, "awi/*", "--until", "soon"], 2, "--until is 'soon'; write it as 2027-03-31"),
        (["share", MODULE, "awi/*", "--concurrent", "0"], 2, "--concurrent is 0"),
        (["share", "../x", "awi/*"], 2, "may not name"),
        (["revoke", MODULE], 2, "say whom"),
    ],
)
def test_what_cannot_be_shared_is_told(network, served, words, code, said):
    ran = network.run(*words)
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr
    assert said in ran.stderr


def test_what_is_shared_can_be_read_by_people_and_programs(network, anna):
    assert "Nothing has been shared from here" in command(network, "share", MODULE).stderr
    command(network, "share", f"{MODULE}.mean", "awi/*", "gfz/tom", "--until", "2027-03-31", "--concurrent", "2")
    ran = command(network, "revoke", MODULE, "awi/bob")
    assert "the end of 2027-03-31" in ran.stdout
    assert "not everything" in ran.stdout
    ran = network.run("share", f"{MODULE}.mean", "awi/bob")
    assert "awi/bob still may not call it: awi/bob is refused, which comes first" in ran.stderr
    assert '"refused": true' in command(network, "share", MODULE, "--json").stdout
