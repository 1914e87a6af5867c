"""The catalogue: what is remembered, how much of it, and how often it is written."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from landbridge import wire
from landbridge.broker import Message
from landbridge.errors import Malformed
from landbridge.hub import catalogue as module
from landbridge.hub.catalogue import Catalogue, follow, load
from landbridge.hub.services import _listing
from landbridge.protocol import PRESENCE_SILENCE_S, Presence, pack_presence

ONE = "0" * 32


def presence(summary: str = "", *, instance: str = ONE, serving: bool = True, version: str = "") -> Presence:
    return Presence(instance, serving, summary, version)


class Announcements:
    """As much of a connection as the catalogue uses: who subscribes is told what is announced."""

    def __init__(self) -> None:
        self.announce: Callable[[Message], None] | None = None

    async def subscribe(self, subject: str, callback: Callable[[Message], None]) -> None:
        self.announce = callback

    def say(self, address: str, said: Presence) -> None:
        self.announce(Message(f"lb.cat.{address.replace('/', '.')}", "", pack_presence(said), False))


def kept(file: Path) -> dict[str, dict]:
    return json.loads(file.read_text())


def test_backends_that_fell_silent_do_not_count():
    catalogue = Catalogue()
    catalogue.note("awi/sea", presence("The sea."), 100.0)
    catalogue.note("awi/sea", presence("The sea.", instance="1" * 32), 110.0)
    assert [catalogue.modules(now)[0]["backends"] for now in (110.0, 100.0 + PRESENCE_SILENCE_S, 200.0)] == [2, 1, 0]
    catalogue.note("awi/sea", presence("The sea.", instance="1" * 32, serving=False), 111.0)
    assert catalogue.modules(111.0)[0]["backends"] == 1


def test_backends_that_fell_silent_leave_their_places_to_others():
    catalogue = Catalogue()
    for number in range(1_200):
        catalogue.note("awi/sea", presence(instance=f"{number:032x}"), 100.0)
    assert catalogue.modules(100.0)[0]["backends"] == 1_000
    catalogue.note("awi/sea", presence(instance="f" * 32), 100.0 + PRESENCE_SILENCE_S)
    assert catalogue.modules(100.0 + PRESENCE_SILENCE_S)[0]["backends"] == 1


def test_one_institute_cannot_fill_the_catalogue_for_others():
    catalogue = Catalogue()
    for number in range(500):
        catalogue.note(f"awi/m{number}", presence(), 100.0)
    with pytest.raises(Malformed, match="500 modules of awi"):
        catalogue.note("awi/more", presence(), 100.0)
    assert catalogue.note("awi/m7", presence("still heard"), 101.0)
    assert catalogue.note("gfz/sea", presence(), 100.0)
    assert len(catalogue.modules(100.0)) == 501


def test_a_kept_file_with_too_many_of_one_institute_still_has_those_of_others():
    fields = {"summary": "", "version": "", "seen": 1.0}
    text = json.dumps({f"awi/m{number}": fields for number in range(600)} | {"gfz/sea": fields})
    listed = [entry["module"] for entry in Catalogue.from_json(text).modules(1.0)]
    assert len(listed) == 501
    assert "gfz/sea" in listed


def test_a_full_catalogue_with_the_longest_texts_can_be_read_again(tmp_path):
    catalogue = Catalogue()
    for number in range(10_000):
        said = presence("🌊" * 200, version="🌊" * 40)
        catalogue.note(f"{'a' * 59}{number // 500:04}/{'m' * 59}{number % 500:04}", said, 1.0)
    file = tmp_path / "catalogue.json"
    module.private_write(file, catalogue.to_json())
    assert len(load(file).modules(1.0)) == 10_000


@pytest.mark.parametrize(
    "fields",
    [
        '{"summary": "", "version": "", "seen": NaN}',
        '{"summary": "", "version": "", "seen": Infinity}',
        '{"summary": "", "version": "", "seen": -1}',
        '{"summary": "", "version": "", "seen": 1e300}',
        '{"summary": "", "version": "", "seen": 1' + "0" * 400 + "}",
        '{"summary": "", "version": "", "seen": "1"}',
        '{"summary": ["x"], "version": "", "seen": 1}',
        '{"seen": 1}',
        "[]",
        "null",
    ],
)
def test_a_kept_entry_that_cannot_be_understood_is_left_out_alone(caplog, fields):
    good = '{"summary": "The sea.", "version": "1", "seen": 1.5}'
    catalogue = Catalogue.from_json(f'{{"awi/bad": {fields}, "awi/sea": {good}}}')
    assert [entry["module"] for entry in catalogue.modules(100.0)] == ["awi/sea"]
    assert "1 entries" in caplog.text


@pytest.mark.parametrize("name", ["awi", "awi.sea", "awi/sea/x", "awi/Sea", "", "/", "awi/sea.x"])
def test_a_kept_entry_under_a_name_that_is_none_is_left_out(name):
    assert Catalogue.from_json(json.dumps({name: {"summary": "", "version": "", "seen": 1.0}})).modules(1.0) == []


def test_texts_of_kept_entries_are_as_bounded_and_printable_as_announced_ones():
    fields = {"summary": "\x1b[2J" + "x" * 100_000, "version": "\x9b" * 1_000, "seen": 1.0}
    (entry,) = Catalogue.from_json(json.dumps({"awi/sea": fields})).modules(1.0)
    assert (len(entry["summary"]), len(entry["version"])) == (200, 40)
    assert not {"\x1b", "\x9b"} & set(entry["summary"] + entry["version"])


def test_a_full_listing_comes_in_pages_each_of_which_can_travel():
    catalogue = Catalogue()
    for number in range(10_000):
        said = presence("🌊" * 200, version="🌊" * 40)
        catalogue.note(f"{'a' * 59}{number // 500:04}/{'m' * 59}{number % 500:04}", said, 1.0)
    pages = list(_listing(catalogue)())
    assert [entry["module"] for page in pages for entry in wire.decode(b"".join(wire.encode(page)))] == [
        entry["module"] for entry in catalogue.modules(1.0)
    ]
    assert max(map(len, pages)) <= 200


def test_a_kept_file_that_cannot_be_read_is_told_but_a_missing_one_is_not(tmp_path, caplog):
    assert load(tmp_path / "catalogue.json").modules(1.0) == []
    assert not caplog.records
    (tmp_path / "catalogue.json").write_bytes(b"\xff")
    (tmp_path / "catalogue.json").chmod(0o600)
    assert load(tmp_path / "catalogue.json").modules(1.0) == []
    assert "lost" in caplog.text


def test_listing_in_other_threads_disturbs_nothing_while_announcements_come():
    catalogue, errors, ended = Catalogue(), [], threading.Event()

    def read() -> None:
        try:
            while not ended.is_set():
                catalogue.modules(100.0)
                catalogue.to_json()
        except Exception as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=read) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for number in range(4_000):
            catalogue.note(f"i{number % 5}/sea", presence(instance=secrets.token_hex(16)), 100.0)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert errors == []
    # What a reader replaced meanwhile would be missing here.
    assert sum(entry["backends"] for entry in catalogue.modules(100.0)) == 4_000


def test_the_first_change_is_written_at_once_many_as_one_and_all_at_the_end(tmp_path, monkeypatch):
    writers: list[int] = []

    def counted(file: Path, content: str) -> None:
        writers.append(threading.get_ident())
        write(file, content)

    write = module.private_write
    monkeypatch.setattr(module, "private_write", counted)
    file = tmp_path / "catalogue.json"

    async def run() -> None:
        connection = Announcements()
        async with follow(Catalogue(), connection, file):
            for number in range(1_000):
                connection.say("awi/sea", presence(f"version {number}"))
            async with asyncio.timeout(30):
                while not file.exists():
                    await asyncio.sleep(0.001)
            for number in range(1_000, 2_000):
                connection.say("awi/sea", presence(f"version {number}"))

    asyncio.run(run())
    assert kept(file)["awi/sea"]["summary"] == "version 1999"
    assert len(writers) == 2
    assert threading.get_ident() not in writers


def test_changes_are_written_while_the_network_runs_and_a_failed_write_is_tried_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "_KEEP_S", 0.01)
    file = tmp_path / "folder" / "catalogue.json"
    file.parent.write_text("in the way")

    async def run() -> None:
        connection = Announcements()
        async with follow(Catalogue(), connection, file), asyncio.timeout(30):
            connection.say("awi/sea", presence("The sea."))
            while "could not be kept" not in caplog.text:
                await asyncio.sleep(0.01)
            file.parent.unlink()
            while not file.exists():
                await asyncio.sleep(0.01)
            assert kept(file)["awi/sea"]["summary"] == "The sea."

    asyncio.run(run())


def test_what_is_known_is_written_when_following_ends_by_an_error(tmp_path):
    async def run() -> None:
        connection = Announcements()
        async with follow(Catalogue(), connection, tmp_path / "catalogue.json"):
            connection.say("awi/sea", presence("The sea."))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(run())
    assert list(kept(tmp_path / "catalogue.json")) == ["awi/sea"]
