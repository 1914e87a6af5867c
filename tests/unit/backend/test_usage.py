"""What one caller takes up, and what the owner's log has of those who are refused."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from landbridge.backend.runner import Style
from landbridge.backend.usage import STREAMS_EACH, RefusalLog, Usage
from landbridge.errors import Busy
from landbridge.security import Caller

EVE = Caller("gfz", "eve")


def call(call_id: str, style: Style):
    return SimpleNamespace(call_id=call_id, style=style, arguments_held=0)


def test_streams_of_one_caller_are_bounded_and_plain_calls_go_on():
    usage = Usage(1000)
    for number in range(STREAMS_EACH):
        usage.check_room("a/b.c", EVE, is_stream=True)
        usage.enter(call(str(number), Style.GENERATOR))
    with pytest.raises(Busy, match="streams of gfz/eve"):
        usage.check_room("a/b.c", EVE, is_stream=True)
    usage.check_room("a/b.c", EVE, is_stream=False)
    usage.leave(call("0", Style.GENERATOR))
    usage.check_room("a/b.c", EVE, is_stream=True)


def test_bytes_that_nobody_takes_are_bounded_and_counted_out():
    usage = Usage(1000)
    held = call("x", Style.FUNCTION)
    usage.enter(held)
    assert usage.hold("x", 1000)
    assert not usage.hold("y", 1)
    with pytest.raises(Busy, match="bytes are held for gfz/eve"):
        usage.check_room("a/b.c", EVE, is_stream=False)
    usage.leave(held)
    usage.hold("y", 0)
    assert (usage.calls, usage.held_bytes) == (0, 0)


def test_a_flood_of_refusals_is_one_line_with_their_number(caplog):
    log = RefusalLog(logging.getLogger("test"))
    for number in range(5000):
        log.note("gfz/eve", "refused", number / 1000)
    log.note("awi/bob", "refused", 5.0)
    log.note("gfz/eve", "refused", 10.0)
    assert [record.getMessage() for record in caplog.records] == [
        "gfz/eve: refused",
        "awi/bob: refused",
        "gfz/eve: refused (and 4,999 more since the last line)",
    ]
