"""The audit log on disk: it goes on over restarts, full disks and half written records, and is whole."""

from __future__ import annotations

import json
import logging
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landbridge.backend import audit
from landbridge.backend.audit import Audit, digest
from landbridge.errors import Busy
from landbridge.hub.audits import Ledger

CALL = ("c" * 32, "awi/anna", "mean", 'it\'s "shared" with é\n', "ok", "sha256:00", 20, 30, 0.0123)


def entries(folder):
    ledger = Ledger(folder)
    return list(ledger.read()), ledger.head


@given(
    st.text(max_size=100), st.integers(0, 2**40), st.floats(0, 1e6),
    st.dictionaries(st.sampled_from(["approval", "values"]), st.text() | st.dictionaries(st.text(), st.text())),
)  # fmt: skip
@settings(max_examples=50)
def test_a_call_is_written_as_any_other_record_would_be(tmp_path_factory, why, size, seconds, more):
    folder = tmp_path_factory.mktemp("audit")
    log = Audit(folder)
    log.call("c" * 32, "awi/anna", "mean", why, "ok", digest(bytearray(b"x")), size, size, seconds, more)
    log.close()
    line, _ = (folder / "audit.jsonl").read_text().splitlines()
    said = json.loads(line)
    assert (said["decision"], said["microseconds"]) == (why, int(seconds * 1e6))
    assert said | more == said
    assert json.dumps(said, separators=(",", ":")) == line


def test_it_goes_on_where_it_was(tmp_path):
    for _ in range(3):
        log = Audit(tmp_path)
        log.note("serves")
        log.call(*CALL)
        log.close()
    found, head = entries(tmp_path)
    assert [entry.said["number"] for entry in found] == list(range(1, 10))  # with a seal each time
    assert [entry.fault for entry in found] == [""] * 9
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])["hash"] == head
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_full_files_are_kept_and_the_chain_goes_through_them(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "_FILE_BYTES", 2000)
    log = Audit(tmp_path)
    for _ in range(30):
        log.call(*CALL)
        log.write()
    log.close()
    log = Audit(tmp_path)
    log.note("again")
    log.close()
    assert len(list(tmp_path.glob("audit-*.jsonl"))) > 3
    found, _ = entries(tmp_path)
    assert [entry.said["number"] for entry in found] == list(range(1, 63))
    assert not any(entry.fault for entry in found)
    (oldest, *_) = sorted(tmp_path.glob("audit-*.jsonl"))
    oldest.unlink()
    found, _ = entries(tmp_path)
    assert found[0].fault == "what was written before it is not here"
    (_, middle, *_) = sorted(tmp_path.glob("audit-*.jsonl"))
    middle.unlink()
    assert sum(bool(entry.fault) for entry in entries(tmp_path)[0]) == 2


def test_half_a_record_at_the_end_is_taken_off(tmp_path, caplog):
    log = Audit(tmp_path)
    for _ in range(2):
        log.call(*CALL)
        log.write()
    log.close()
    file = tmp_path / "audit.jsonl"
    file.write_bytes(file.read_bytes()[:-20])  # the seal of the second
    log = Audit(tmp_path)
    log.note("again")
    log.close()
    assert "ended in the middle of a record" in caplog.text
    found, _ = entries(tmp_path)
    assert [entry.said["number"] for entry in found] == [1, 2, 3, 4, 5, 6]
    assert [entry.said["event"] for entry in found] == ["call", "sealed", "call", "unsealed", "again", "sealed"]
    assert [bool(entry.fault) for entry in found] == [False, False, False, True, False, False]


def test_records_that_somebody_adds_behind_the_last_seal_are_told_before_and_after_a_new_start(tmp_path):
    log = Audit(tmp_path)
    log.call(*CALL)
    log.close()
    with (tmp_path / "audit.jsonl").open("a") as file:
        file.write('{"number":3,"at":"2026","event":"call","caller":"awi/forged"}\n' * 2)
    assert entries(tmp_path)[0][-1].fault.startswith("2 records before it were not sealed")
    log = Audit(tmp_path)
    log.call(*CALL)
    log.close()
    faults = [entry.fault for entry in entries(tmp_path)[0] if entry.fault]
    assert [fault.partition(":")[0] for fault in faults] == ["2 records before it were not sealed"]


def test_what_is_no_record_is_told_and_a_new_chain_begins(tmp_path, caplog):
    (tmp_path / "audit.jsonl").write_text("rubbish\n")
    log = Audit(tmp_path)
    log.call(*CALL)
    log.close()
    assert "cannot be read" in caplog.text
    entry, *_ = entries(tmp_path)[0]
    assert "no record" in entry.fault


def test_on_a_full_disk_nothing_runs_that_has_to_be_written_down(tmp_path, caplog):
    (tmp_path / "audit.jsonl").symlink_to("/dev/full")
    log = Audit(tmp_path, required=True)
    for _ in range(3):
        with pytest.raises(Busy, match="cannot write its audit log, and runs nothing unlogged") as caught:
            log.begins("geomar/ocean.mean", {"caller": "awi/anna"})
        assert caught.value.retry_after_s > 0
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1  # once, not each time
    # When there is room again, it goes on.
    log.close()
    (tmp_path / "audit.jsonl").unlink()
    log = Audit(tmp_path, required=True)
    log.begins("geomar/ocean.mean", {"caller": "awi/anna"})
    assert entries(tmp_path)[0][0].said["event"] == "begins"  # before the call has begun
    log.close()


def test_on_a_full_disk_memory_is_not_filled_either(tmp_path):
    (tmp_path / "audit.jsonl").symlink_to("/dev/full")
    log = Audit(tmp_path)
    for _ in range(audit._KEPT_RECORDS + 100):
        log.call(*CALL)
        log.note("else")
    assert len(log._waiting) == audit._KEPT_RECORDS
    log.write()
    size = len(log._unwritten)
    for _ in range(3):
        log.call(*CALL)
        log.write()
    assert (len(log._unwritten), len(log._waiting)) == (size, 3)
    # How many are missing is written down once there is room.
    (tmp_path / "room").mkdir()
    (room := tmp_path / "room" / "audit.jsonl").touch()
    os.dup2(os.open(room, os.O_RDWR | os.O_APPEND), log._file)
    log.close()
    lost = [entry.said for entry in entries(tmp_path / "room")[0] if entry.said["event"] == "lost"]
    assert [said["records"] for said in lost] == [audit._KEPT_RECORDS + 200]


def test_many_refusals_of_one_caller_are_counted_and_not_all_written(tmp_path):
    log = Audit(tmp_path)
    for _ in range(1000):
        log.refused("awi/eve", {"member": "mean", "outcome": "denied"})
    log.refused("awi/anna", {"member": "mean", "outcome": "denied"})
    log._refused["awi/eve"] = (-1e9, 999)
    log.refused("awi/eve", {"member": "mean", "outcome": "denied"})
    for _ in range(7):
        log.refused("awi/eve", {"member": "mean", "outcome": "denied"})
    log.close()  # nor are those forgotten that nobody has followed up
    written = [entry.said for entry in entries(tmp_path)[0] if entry.said["event"] == "refused"]
    found = [(said["caller"], said.get("and_before", 0)) for said in written]
    assert found == [("awi/eve", 0), ("awi/anna", 0), ("awi/eve", 999), ("awi/eve", 7)]


def test_digests_tell_arguments_apart():
    long = bytearray(10_000_000)
    assert digest(long).startswith("sha256-of-both-ends:")
    assert len({digest(bytearray(b"a")), digest(bytearray(b"b")), digest(long), digest(long + b"x")}) == 4
