"""The log of commands that go on until they are told to stop."""

from __future__ import annotations

import logging

from landbridge.cli.signals import _SafeFormatter


def test_a_text_of_several_lines_cannot_pass_for_several_records():
    formatter = _SafeFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    forged = "x\n2026-11-25 15:00:00 INFO awi/anna was let in\r\x85\u20282026-11-25 15:00:00 INFO again"
    record = logging.LogRecord("landbridge", logging.ERROR, "", 0, "raised %s", (forged,), None)
    first, *others = formatter.format(record).splitlines()
    assert first.endswith("ERROR raised x")
    assert len(others) == 1
    assert all(line.startswith("  | ") for line in others)


def test_lines_of_a_traceback_are_marked_as_such():
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        record = logging.LogRecord("landbridge", logging.ERROR, "", 0, "m", (), (ValueError, error, None))
    assert _SafeFormatter("%(message)s").format(record).splitlines() == ["m", "  | ValueError: a", "  | b"]
