"""The files by which an owner is asked: whole, private, and gone with the backend that wrote them."""

from __future__ import annotations

import os
import stat

import pytest

from landbridge.hub.approvals import FileDesk, pending

SAID = {"module": "geomar/ocean", "member": "mean", "since": "2026-11-26T12:00:00Z", "result": {"preview": "1"}}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "landbridge/backends/geomar.ocean/approvals"


@pytest.fixture
def desk():
    desk = FileDesk("geomar/ocean")
    yield desk
    desk.close()


def test_what_is_laid_is_seen_decided_and_cleared(desk, state):
    assert pending() == []
    assert not state.exists()  # most modules ask for nothing
    for item in ("0000000a", "0000000b"):
        desk.lay(item, SAID)
    first, second = pending()
    assert (first.said["id"], second.said["member"]) == ("0000000a", "mean")
    assert desk.verdicts() == []
    assert first.decide(False, "why")
    assert second.decide(True)
    assert pending() == []  # it has been decided, whenever the backend looks
    assert sorted(desk.verdicts()) == [("0000000a", False, "why"), ("0000000b", True, "")]
    assert desk.verdicts() == []
    desk.clear("0000000a")
    assert [each.said["id"] for each in pending()] == ["0000000b"]
    desk.clear("0000000b")
    assert not second.decide(True)


def test_nobody_else_can_read_it(desk, state):
    desk.lay("0000000a", SAID)
    for path in state.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_several_backends_of_a_module_do_not_disturb_each_other(desk):
    other = FileDesk("geomar/ocean")
    desk.lay("0000000a", SAID)
    other.lay("0000000b", SAID)
    for each in pending():
        each.decide(True)
    assert [verdict.item for verdict in desk.verdicts()] == ["0000000a"]
    other.close()
    desk.clear("0000000a")
    assert pending() == []


def test_what_a_dead_backend_has_left_is_neither_shown_nor_kept(desk, state):
    desk.lay("0000000a", SAID)
    os.close(desk._lock)  # as when it was killed
    desk._lock = None
    (run,) = state.iterdir()
    assert pending() == []
    assert not run.exists()
    desk.lay("0000000b", SAID)
    os.close(desk._lock)
    desk._lock = None
    FileDesk("geomar/ocean")
    assert list(state.iterdir()) == []


def test_nothing_is_written_behind_its_end(desk, state):
    desk.lay("0000000a", SAID)
    desk.close()
    desk.lay("0000000b", SAID)
    assert list(state.iterdir()) == []
    (state / "0123456789abcdef").mkdir()  # by a command that was slower than the end of the backend
    assert pending() == []
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"accepted": 1, "because": ""}', "[" * 100_000, "\x00"])
def test_what_is_no_verdict_lets_nothing_go(desk, state, text):
    desk.lay("0000000a", SAID)
    (run,) = state.iterdir()
    (run / "0000000a.verdict").write_text(text)
    (run / "0000000a.verdict").chmod(0o600)
    assert [verdict.accepted for verdict in desk.verdicts()] in ([], [False])
    assert len(pending()) == 1


def test_what_others_put_there_is_passed_over(desk, state):
    desk.lay("0000000a", SAID)
    (run,) = state.iterdir()
    for name in ("0000000b.json", "x.json", "0000000c.json"):
        (run / name).write_text("[" if name.startswith("0000000b") else "[]")
        (run / name).chmod(0o600)
    (run / "0000000d.json").write_text("{}")  # open to others
    (run / "0000000d.json").chmod(0o644)
    assert [each.said["id"] for each in pending()] == ["0000000a"]
