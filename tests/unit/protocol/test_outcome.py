"""What the caller was told is what counts as the outcome of a call."""

from __future__ import annotations

import pytest

from landbridge.errors import CallLost, Malformed
from landbridge.protocol import CALLER_SILENCE_S, SMALLEST_WINDOW, Forget, Kind, Responder, pack, unpack


def message(kind, sequence, meta=None, body=b""):
    return unpack(pack(kind, sequence, meta) + body)


CANCEL = message(Kind.CANCEL, 1)
LARGE = [bytes(100_000)]


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([lambda r: r.result([b"x"], 1, 0)], "ok"),
        ([lambda r: r.item([b"x"], 1, 0), lambda r: r.finished(0)], "ok"),
        ([lambda r: r.result(LARGE, 100_000, 0)], "ok"),
        ([lambda r: r.failed({"code": "remote_error"}, 0)], "remote_error"),
        ([lambda r: r.received(CANCEL, 0), lambda r: r.stopped(0)], "cancelled"),
        ([lambda r: r.received(CANCEL, 0), lambda r: r.result([b"x"], 1, 0)], "cancelled"),
        ([lambda r: r.result(LARGE, 100_000, 0), lambda r: r.received(CANCEL, 0)], "cancelled"),
        ([lambda r: r.received(CANCEL, 0), lambda r: r.tick(5), lambda r: r.stopped(9)], "cancelled"),
        ([lambda r: r.tick(31), lambda r: r.result([b"x"], 1, 40)], "timeout"),
        (
            [lambda r: r.refuse(Malformed("no"), 0), lambda r: r.received(CANCEL, 0), lambda r: r.stopped(0)],
            "malformed",
        ),
        ([lambda r: r.result(LARGE, 100_000, 0), lambda r: r.refuse(CallLost("stopped"), 0)], "lost"),
        ([lambda r: r.refuse(CallLost("gone"), 0), lambda r: r.failed({"code": "remote_error"}, 0)], "lost"),
    ],
    ids=range(12),
)
def test_outcome(events, outcome):
    responder = Responder("awi/sea.depth", "0" * 32, interruptible=True, limit_s=30)
    responder.opened(message(Kind.CALL, 0, {"granted": SMALLEST_WINDOW}, b"arguments"), 0)
    assert responder.outcome == ""
    for event in events:
        event(responder)
    assert responder.outcome == outcome


def test_a_caller_who_has_gone_is_told_nothing():
    responder = Responder("awi/sea.depth", "0" * 32, interruptible=True)
    responder.opened(message(Kind.CALL, 0, {"granted": SMALLEST_WINDOW}, b"arguments"), 0)
    responder.tick(0.1)
    responder.tick(CALLER_SILENCE_S + 1)
    assert any(isinstance(action, Forget) for action in responder.stopped(CALLER_SILENCE_S + 2))
    assert responder.outcome == "lost"
