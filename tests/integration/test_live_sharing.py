"""Sharing while a module is served: the owner shares, limits and revokes, whatever can be asked of it."""

from __future__ import annotations

import datetime
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

import landbridge as lb
from landbridge.datasets.remote import _SPECS
from network import Network

SOURCE = """
import time
from collections.abc import Callable
import numpy as np
import xarray as xr
import landbridge as lb

__all__ = ["mean", "apart", "asks", "same", "blocks", "in_loop", "waits", "numbers", "Model", "field", "sst"]

def mean(first: int, last: int = 2000) -> float:
    return (first + last) / 2

@lb.method(process=True)
def apart(first: int) -> int:
    return first

@lb.method(process=True)
def asks(function: Callable[[int], int], first: int) -> int:
    return function(first)

def same(value):
    return value

def blocks(n: int) -> xr.Dataset:
    return xr.Dataset({"t": ("x", np.random.default_rng(1).random(n))})

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


def test_what_was_kept_is_not_passed_on_either_by_who_may_no_longer_have_it_made(network, anna, monkeypatch):
    command(network, "share", MODULE, "awi/*")
    live = until(lambda: anna[MODULE])
    kept = live.field.keep()
    assert live.same(kept).identical(live.field())
    command(network, "revoke", f"{MODULE}.field", "awi/anna")
    until_refused(kept.get)
    with refused():
        live.same(kept)
    # Nor by a caller of another make, who asks for no grant first.
    monkeypatch.setattr(lb.Reference, "_for", lambda self, institute: replace(self._data, grant=None))
    with refused():
        live.same(kept)
    with refused("landbridge share geomar/live.sst 'gfz/tom'"), lb.connect("gfz/tom") as tom:
        tom._open_dataset(tom, f"{MODULE}.sst")


def test_what_streams_of_a_kept_value_ends_too(network, anna):
    command(network, "share", MODULE, "awi/*")
    kept = until(lambda: anna[MODULE]).blocks.keep(8_000_000)
    version = kept._method(_SPECS["open"])()["version"]
    blocks = iter(kept._method(_SPECS["select"])(version, [["t", ["outer", [slice(None)]]]]))
    next(blocks)
    command(network, "revoke", MODULE, "awi/*")
    until_refused(kept.get)
    with refused():
        list(blocks)


def test_rules_that_name_what_is_not_there_are_told(policy, anna, served):
    policy('[[share]]\nwith = ["awi/*"]\nmembers = ["mean", "Model.stepp", "sst"]\n')
    until(lambda: anna[MODULE])
    assert "names Model.stepp, which it has not; was Model.step meant?" in served.stderr
    assert served.stderr.count("which it has not") == 1


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
    # What is checked before it goes to a worker may ask its caller all the same.
    assert live.asks(lambda first: 2 * first, 1990) == 3980
    with refused("first is 1979"):
        live.asks(lambda first: first, 1979)
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


@pytest.mark.parametrize("what", ["package", "data/year_*/t.nc", "data/year_1/t.nc"])
def test_the_policy_lies_beside_packages_and_data_too(network, tmp_path, what):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("__all__ = ['f']\ndef f() -> int: return 1\n")
    for year in (1, 2):
        (tmp_path / f"data/year_{year}").mkdir(parents=True)
        data = xr.Dataset({"t": ("time", [1.0, 2.0])}, {"time": [10 * year, 10 * year + 1]})
        data.to_netcdf(tmp_path / f"data/year_{year}/t.nc")
    # Of a pattern, the folder before anything that stands for several.
    folder = {"package": tmp_path, "data/year_*/t.nc": tmp_path / "data", "data/year_1/t.nc": tmp_path / "data/year_1"}
    (folder[what] / "landbridge.toml").write_text('[[share]]\nwith = ["awi/*"]\n')
    served = network.start("serve", str(tmp_path / what), "--as", "geomar/beside", "--json")
    with lb.connect("awi/anna") as anna:
        assert dir(anna["geomar/beside"])
    served.stop()
