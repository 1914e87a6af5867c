"""A call as the backend sees it, one transition of the table at a time."""

from __future__ import annotations

import numpy as np
import pytest

from landbridge.errors import CallLost, Malformed, PermissionDenied
from landbridge.protocol import (
    ACCEPT_AFTER_S,
    BEAT_S,
    CALLER_SILENCE_S,
    CANCEL_GRACE_S,
    OVERHEAD,
    PART_BYTES,
    SMALLEST_WINDOW,
    VALUE_LIMIT,
    WINDOW,
    Forget,
    Interrupt,
    Kind,
    Message,
    More,
    Phase,
    Responder,
    Run,
    Send,
    pack,
    raised_to_meta,
    unpack,
)

INSTANCE = "0123456789abcdef" * 2
TARGET = "geomar/ocean.climatology"
RAISED = raised_to_meta("KeyError", "'sst'", "KeyError", "a1b2")


def message(kind: Kind, sequence: int = 0, body: bytes = b"", **meta: object) -> Message:
    return unpack(pack(kind, sequence, meta) + body)


def sent(actions: list) -> list[Message]:
    return [unpack(b"".join(action.parts)) for action in actions if isinstance(action, Send)]


def kinds(actions: list) -> list[Kind]:
    return [one.kind for one in sent(actions)]


def made(*, interruptible: bool = True, limit_s: float | None = None) -> Responder:
    return Responder(TARGET, INSTANCE, interruptible=interruptible, limit_s=limit_s)


def running(granted: int = WINDOW, **options: object) -> Responder:
    responder = made(**options)
    (run,) = responder.opened(message(Kind.CALL, body=b"args", granted=granted), 0.0)
    assert run == Run(memoryview(b"args"))
    return responder


def cancelled(responder: Responder, now: float = 1.0) -> list:
    return responder.received(message(Kind.CANCEL, 1), now)


@pytest.mark.parametrize(
    "first",
    [
        message(Kind.CALL),
        message(Kind.CALL, granted=SMALLEST_WINDOW - 1),
        message(Kind.CALL, 1, granted=WINDOW),
        message(Kind.PART, granted=WINDOW),
        message(Kind.CANCEL, granted=WINDOW),
        message(Kind.RESULT, granted=WINDOW),
    ],
)
def test_what_is_no_request_is_dropped_without_an_answer(first):
    with pytest.raises(Malformed):
        made().opened(first, 0.0)


def test_long_arguments_are_accepted_granted_and_put_together():
    responder = made()
    (beat,) = sent(responder.opened(message(Kind.CALL, body=b"abc", granted=WINDOW, total=6), 0.0))
    assert (beat.kind, beat.meta) == (Kind.BEAT, {"instance": INSTANCE, "granted": WINDOW + 3 + OVERHEAD})
    (run,) = responder.received(message(Kind.PART, 1, b"def"), 0.1)
    assert bytes(run.frame) == b"abcdef"


def test_arguments_that_say_they_are_huge_are_refused_at_once():
    actions = made().opened(message(Kind.CALL, body=b"abc", granted=WINDOW, total=VALUE_LIMIT + 1), 0.0)
    (error,) = sent(actions)
    assert error.meta["code"] == "too_large"
    assert actions[-1] == Forget()


def test_a_quick_result_is_one_message():
    responder = running()
    actions = responder.result([b"val", b"ue"], 5, 0.01)
    assert kinds(actions) == [Kind.RESULT]
    assert actions[-1] == Forget()


def test_a_longer_call_is_accepted_and_beats():
    responder = running()
    assert responder.tick(ACCEPT_AFTER_S / 2) == []
    (beat,) = sent(responder.tick(ACCEPT_AFTER_S))
    assert beat.meta["instance"] == INSTANCE
    assert responder.tick(1.0) == []
    assert kinds(responder.tick(ACCEPT_AFTER_S + BEAT_S)) == [Kind.BEAT]


def test_a_busy_stream_is_accepted_too():
    responder = running()
    beats = 0
    for hundredth in range(10):
        now = hundredth / 100
        responder.item([b"x"], 1, now)
        beats += kinds(responder.tick(now)).count(Kind.BEAT)
    assert beats == 1


def test_a_result_beyond_the_credit_names_whom_to_ask_for_more():
    responder = running(SMALLEST_WINDOW)
    actions = responder.result([bytes(SMALLEST_WINDOW)], SMALLEST_WINDOW, 0.01)
    assert kinds(actions) == [Kind.RESULT, Kind.PART, Kind.BEAT]
    assert [one.sequence for one in sent(actions)] == [0, 1, 2]
    assert responder.phase is Phase.FLUSHING
    actions = responder.received(message(Kind.BEAT, 1, granted=2 * SMALLEST_WINDOW), 0.02)
    assert kinds(actions) == [Kind.PART]
    assert actions[-1] == Forget()


def test_a_stream_waits_for_credit_and_goes_on():
    responder = running(SMALLEST_WINDOW)
    assert More() in responder.item([bytes(8_000)], 8_000, 0.0)
    responder.item([bytes(8_000)], 8_000, 0.0)
    assert More() not in responder.item([bytes(8_000)], 8_000, 0.0)
    assert not responder.may_produce
    actions = responder.received(message(Kind.BEAT, 1, granted=1 << 20), 0.1)
    assert kinds(actions) == [Kind.ITEM]
    assert actions[-1] == More()


@pytest.mark.parametrize("end", ["finished", "failed"])
def test_the_end_comes_after_the_items_that_wait(end):
    responder = running(SMALLEST_WINDOW)
    for _ in range(3):
        responder.item([bytes(8_000)], 8_000, 0.0)
    actions = responder.finished(0.1) if end == "finished" else responder.failed(RAISED, 0.1)
    assert Forget() not in actions
    actions = responder.received(message(Kind.BEAT, 1, granted=1 << 20), 0.2)
    assert kinds(actions) == [Kind.ITEM, Kind.END if end == "finished" else Kind.ERROR]
    assert actions[-1] == Forget()


@pytest.mark.parametrize("item", [True, False])
def test_a_value_beyond_the_limit_becomes_an_error(item):
    responder = running()
    size = VALUE_LIMIT + 1
    actions = responder.item([bytes(size)], size, 0.1) if item else responder.result([bytes(size)], size, 0.1)
    assert sent(actions)[0].meta["code"] == "too_large"
    # A generator is still suspended in its code and has to be closed; a function has returned.
    assert isinstance(actions[-1], Interrupt if item else Forget)


def test_progress_accepts_the_call_and_is_bounded():
    responder = running()
    beat, progress = sent(responder.progress(np.int64(3), np.float32(10), "\x1b" + "x" * 500, 0.01))
    assert beat.kind is Kind.BEAT
    assert progress.meta["done"] == 3
    assert progress.meta["total"] == 10
    assert len(progress.meta["label"]) == 200
    assert kinds(responder.progress(4, None, "", 0.02)) == [Kind.PROGRESS]


@pytest.mark.parametrize("done", [float("nan"), -1, float("inf"), float("-inf"), 1 << 61])
def test_progress_that_cannot_be_meant_is_not_told(done):
    responder = running()
    assert responder.progress(done, None, "", 0.1) == []
    assert "total" not in sent(responder.progress(1, done, "", 0.1))[-1].meta


def test_cancel_interrupts_and_says_when_the_code_has_ended():
    responder = running()
    (interrupt,) = cancelled(responder)
    assert isinstance(interrupt, Interrupt)
    actions = responder.stopped(1.2)
    assert sent(actions)[0].meta == {"state": "stopped"}
    assert actions[-1] == Forget()


@pytest.mark.parametrize(("interruptible", "state"), [(True, "stopping"), (False, "running")])
def test_code_that_goes_on_after_a_cancel_is_told_of_once(interruptible, state):
    responder = running(interruptible=interruptible)
    cancelled(responder)
    assert responder.tick(1.0 + CANCEL_GRACE_S / 2) == []
    assert sent(responder.tick(1.0 + CANCEL_GRACE_S))[0].meta == {"state": state}
    assert responder.tick(50.0) == []
    assert responder.stopped(60.0) == [Forget()]


@pytest.mark.parametrize("end", ["result", "finished", "failed", "stopped"])
def test_however_cancelled_code_ends_its_machine_is_forgotten(end):
    responder = running()
    cancelled(responder)
    if end == "result":
        actions = responder.result([b"x"], 1, 1.1)
    elif end == "failed":
        actions = responder.failed(RAISED, 1.1)
    else:
        actions = getattr(responder, end)(1.1)
    assert kinds(actions) == [Kind.CANCELLED]
    assert actions[-1] == Forget()


def test_items_and_progress_of_cancelled_code_are_dropped():
    responder = running()
    cancelled(responder)
    assert responder.item([b"x"], 1, 1.1) == responder.progress(1, 2, "", 1.1) == []
    assert cancelled(responder, 1.2) == []
    assert responder.received(message(Kind.BEAT, 1, granted=1 << 30), 1.3) == []


def test_cancel_before_all_arguments_came_ends_the_call():
    responder = made()
    responder.opened(message(Kind.CALL, body=b"abc", granted=WINDOW, total=6), 0.0)
    actions = cancelled(responder)
    assert sent(actions)[0].meta == {"state": "stopped"}
    assert actions[-1] == Forget()


def test_the_callers_limit_and_the_owners_limit_both_hold():
    for timeout_s, limit_s, expected in [(5, None, 5), (5, 3.0, 3), (5, 9.0, 5)]:
        responder = made(limit_s=limit_s)
        responder.opened(message(Kind.CALL, granted=WINDOW, timeout_s=timeout_s), 100.0)
        assert responder.deadline == 100.0 + expected
    assert running().deadline is None


def test_the_time_limit_answers_interrupts_and_waits_for_the_code():
    responder = running(limit_s=2.0)
    actions = responder.tick(2.0)
    assert sent(actions)[0].meta["code"] == "timeout"
    assert isinstance(actions[-1], Interrupt)
    assert responder.tick(50.0) == []
    assert responder.stopped(60.0) == [Forget()]


def test_work_of_a_caller_who_vanished_is_stopped_without_an_answer():
    responder = running()
    responder.tick(1.0)
    actions = responder.tick(CALLER_SILENCE_S)
    assert [type(action) for action in actions] == [Interrupt]
    assert responder.stopped(CALLER_SILENCE_S + 1) == [Forget()]


def test_a_break_of_the_connection_says_nothing_about_the_caller():
    responder = running()
    responder.tick(1.0)
    responder.reconnected(CALLER_SILENCE_S - 1)
    assert kinds(responder.tick(CALLER_SILENCE_S + 1)) == [Kind.BEAT]


@pytest.mark.parametrize(
    "wrong",
    [
        message(Kind.CALL, 1, granted=WINDOW),
        message(Kind.PART, 1, b"x"),
        message(Kind.RESULT, 1),
        message(Kind.ERROR, 1),
        message(Kind.PROGRESS, 1),
        message(Kind.PART, 2),
        message(Kind.BEAT, 9),
    ],
)
def test_a_message_out_of_place_ends_the_call_with_an_error(wrong):
    actions = running().received(wrong, 0.1)
    assert kinds(actions) == [Kind.ERROR]
    assert isinstance(actions[-1], Interrupt)


def test_a_refusal_needs_no_opened_call():
    actions = made().refuse(PermissionDenied("Not shared with you."), 0.0)
    assert sent(actions)[0].meta["code"] == "denied"
    assert actions[-1] == Forget()


def test_shutting_down_tells_the_caller():
    responder = running()
    actions = responder.shut_down(1.0)
    assert sent(actions)[0].meta["code"] == "lost"
    assert responder.stopped(1.1) == [Forget()]


def test_an_answered_call_is_silent_and_deaf():
    responder = running()
    responder.result([b"x"], 1, 0.1)
    assert responder.refuse(CallLost("x"), 0.2) == responder.shut_down(0.2) == responder.tick(100.0) == []
    assert responder.stopped(0.3) == responder.finished(0.3) == responder.failed(RAISED, 0.3) == []
    assert responder.result([b"x"], 1, 0.3) == responder.item([b"x"], 1, 0.3) == []
    assert responder.received(message(Kind.CANCEL, 1), 0.3) == []


def test_parts_fit_the_smallest_window_twice():
    responder = running(SMALLEST_WINDOW)
    sizes = [one.body.nbytes for one in sent(responder.result([bytes(PART_BYTES)], PART_BYTES, 0.0))]
    assert max(sizes) + OVERHEAD <= SMALLEST_WINDOW // 2
