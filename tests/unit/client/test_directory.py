"""What a connection learns of modules from the catalogue and from what they say, and what it does not believe."""

from __future__ import annotations

import pytest

from landbridge.broker import Message
from landbridge.client import directory as module
from landbridge.client.directory import Directory
from landbridge.errors import ModuleOffline, UnknownModule
from landbridge.protocol import PRESENCE_SILENCE_S, Presence, pack_presence

FIRST, SECOND = "1" * 32, "2" * 32


class Told(Directory):
    """A directory, and what it told others."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.restarted: list[tuple[str, str, bool]] = []
        super().__init__(self.shown.append, lambda *told: self.restarted.append(told))

    def hear(self, name: str, instance: str = FIRST, *, serving: bool = True, run: str = "r1", now: float = 0.0):
        subject = f"lb.cat.{name.replace('/', '.')}"
        self.presence_arrived(Message(subject, "", pack_presence(Presence(instance, serving, run=run)), False), now)


def test_a_module_and_each_new_backend_of_it_is_told_once():
    directory = Told()
    for instance in (FIRST, FIRST, SECOND, FIRST):
        directory.hear("geomar/ocean", instance)
    assert directory.shown == ["geomar/ocean"] * 2
    assert directory.modules == {"geomar/ocean": {FIRST, SECOND}}


def test_a_backend_that_was_started_anew_is_told_of():
    directory = Told()
    directory.hear("geomar/ocean", run="r1")
    directory.hear("geomar/ocean", run="r1")
    assert directory.restarted == []
    directory.hear("geomar/ocean", run="r2")
    assert directory.restarted == [("geomar/ocean", FIRST, True)]


def test_a_backend_that_was_started_anew_beside_others_is_not_the_only_one():
    directory = Told()
    for instance in (FIRST, SECOND):
        directory.hear("geomar/ocean", instance, run="r1")
    directory.hear("geomar/ocean", SECOND, run="r2")
    assert directory.restarted == [("geomar/ocean", SECOND, False)]


def test_restarts_without_end_are_told_once_a_second_and_a_true_one_in_the_end():
    directory = Told()
    for number in range(1000):
        directory.hear("geomar/ocean", run=f"r{number}", now=number / 100)
    assert len(directory.restarted) == 10
    directory.hear("geomar/ocean", run="r999", now=15.0)
    assert len(directory.restarted) == 11
    directory.hear("geomar/ocean", run="r999", now=20.0)
    assert len(directory.restarted) == 11


def test_a_module_says_nothing_of_the_backends_of_another():
    directory = Told()
    directory.hear("geomar/ocean", FIRST, run="r1")
    directory.hear("gfz/hostile", FIRST, run="r2")
    directory.hear("gfz/hostile", FIRST, run="r3")
    assert [name for name, _, _ in directory.restarted] == ["gfz/hostile"]
    directory.hear("geomar/ocean", FIRST, run="r1", now=5.0)
    assert len(directory.restarted) == 1


def test_while_nobody_could_be_heard_nobody_went():
    directory = Told()
    directory.hear("geomar/ocean", now=10.0)
    directory.was_deaf(600.0)
    assert directory.was_there("geomar/ocean", 610.0 + PRESENCE_SILENCE_S - 0.1)
    assert not directory.was_there("geomar/ocean", 610.0 + PRESENCE_SILENCE_S)


def test_a_module_was_there_while_it_is_heard_of_and_has_not_taken_its_leave():
    directory = Told()
    assert not directory.was_there("geomar/ocean", 0.0)
    directory.hear("geomar/ocean", now=10.0)
    assert directory.was_there("geomar/ocean", 10.0 + PRESENCE_SILENCE_S - 0.1)
    assert not directory.was_there("geomar/ocean", 10.0 + PRESENCE_SILENCE_S)
    directory.hear("geomar/ocean", serving=False, now=11.0)
    assert not directory.was_there("geomar/ocean", 11.0)
    assert "geomar/ocean" in directory.modules


def test_what_is_known_is_offline_and_what_is_not_is_unknown():
    directory = Told()
    directory.hear("geomar/ocean")
    assert isinstance(directory.offline_error("geomar/ocean"), ModuleOffline)
    assert isinstance(directory.offline_error("lb/catalogue"), ModuleOffline)
    unknown = directory.offline_error("geomar/ocaen")
    assert isinstance(unknown, UnknownModule)
    assert "Did you mean 'geomar/ocean'" in str(unknown)


@pytest.mark.parametrize(
    ("subject", "payload"),
    [
        ("lb.cat.geomar", pack_presence(Presence(FIRST, True))),
        ("lb.cat.geomar.*", pack_presence(Presence(FIRST, True))),
        ("lb.cat.geomar.class", pack_presence(Presence(FIRST, True))),
        ("lb.cat.geomar.ocean", b""),
        ("lb.cat.geomar.ocean", b"[" * 100_000),
        ("lb.cat.geomar.ocean", b'{"instance": "x", "serving": true}'),
    ],
)
def test_what_is_no_announcement_is_ignored(subject, payload):
    directory = Told()
    directory.presence_arrived(Message(subject, "", payload, False), 0.0)
    assert directory.modules == {}
    assert directory.shown == []


def test_of_the_catalogue_only_entries_are_taken():
    directory = Told()
    directory.take_catalogue(
        [
            [{"module": "geomar/ocean"}, {"module": "geomar/ocean"}, {"module": 7}, {}, "x", {"module": "a.b/*"}],
            "y",
            None,
        ],
        0.0,
    )
    assert directory.modules == {"geomar/ocean": set()}
    assert directory.shown == ["geomar/ocean"]


def test_whom_the_catalogue_has_heard_of_was_there_until_more_is_known():
    directory = Told()
    odd = [{"module": f"gfz/odd{number}", "backends": count} for number, count in enumerate(("1", 0, -1, None, [1]))]
    directory.take_catalogue([[{"module": "geomar/ocean", "backends": 2}, {"module": "gfz/gone"}, *odd]], 10.0)
    assert [name for name in directory.modules if directory.was_there(name, 11.0)] == ["geomar/ocean"]
    assert not directory.was_there("geomar/ocean", 10.0 + PRESENCE_SILENCE_S)


def test_backends_without_end_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "_INSTANCES_KEPT", 10)
    directory = Told()
    for number in range(100):
        directory.hear("geomar/ocean", f"{number:032x}")
    assert len(directory.modules["geomar/ocean"]) <= 10
    assert len(directory._runs["geomar/ocean"]) <= 10


def test_modules_without_end_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "_MODULES_TAKEN", 10)
    directory = Told()
    for number in range(100):
        directory.hear(f"gfz/m{number}")
    assert len(directory.modules) == len(directory._runs) == len(directory._heard_at) == 10
