"""A call as the backend sees it, one transition of the table at a time."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from landbridge.errors import CallLost, Malformed, PermissionDenied, TooLarge
from landbridge.protocol import (
    ACCEPT_AFTER_S,
    BEAT_S,
    BULK_WINDOW,
    CALLER_SILENCE_S,
    CANCEL_GRACE_S,
    KEPT_S,
    LARGEST_WINDOW,
    OVERHEAD,
    PART_BYTES,
    SILENCE_S,
    SMALLEST_WINDOW,
    WINDOW,
    Forget,
    Interrupt,
    Kind,
    Message,
    More,
    OpenLane,
    Phase,
    Responder,
    Returned,
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


def sent(actions: list, to: str = "inbox") -> list[Message]:
    return [unpack(b"".join(action.parts)) for action in actions if isinstance(action, Send) and action.to == to]


def kinds(actions: list) -> list[Kind]:
    return [one.kind for one in sent(actions)]


def made(*, interruptible: bool = True, **options: object) -> Responder:
    return Responder(TARGET, INSTANCE, interruptible=interruptible, **options)


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


def receiving(total: int = 6) -> Responder:
    """A call whose arguments come through the lane."""
    responder = made()
    assert responder.opened(message(Kind.CALL, granted=WINDOW, total=total), 0.0) == [OpenLane()]
    return responder


def test_long_arguments_are_granted_once_the_lane_is_open_and_put_together():
    responder = receiving()
    (beat,) = sent(responder.lane_opened(0.1, LARGEST_WINDOW))
    assert beat.kind is Kind.BEAT
    assert beat.meta == {
        "instance": INSTANCE, "granted": WINDOW, "next": 1, "bulk_granted": BULK_WINDOW, "bulk_next": 0,
    }  # fmt: skip
    assert responder.received(message(Kind.PART, body=b"abc", at=0), 0.2) == []
    run, beat = responder.received(message(Kind.PART, body=b"def", at=3, crc=zlib.crc32(b"abcdef")), 0.3)
    assert bytes(run.frame) == b"abcdef"
    assert sent([beat])[0].meta["bulk_next"] == 6


def test_arguments_that_wait_for_the_lane_are_accepted_all_the_same():
    assert kinds(receiving().tick(ACCEPT_AFTER_S)) == [Kind.BEAT]


def test_arguments_that_were_damaged_are_never_run():
    responder = receiving()
    responder.lane_opened(0.1, LARGEST_WINDOW)
    actions = responder.received(message(Kind.PART, body=b"abcdef", at=0, crc=1), 0.3)
    assert sent(actions)[0].meta["code"] == "lost"
    assert actions[-1] == Forget()


def test_a_missing_part_of_the_arguments_is_asked_for():
    responder = receiving()
    responder.lane_opened(0.1, LARGEST_WINDOW)
    (ask,) = sent(responder.received(message(Kind.PART, body=b"def", at=3), 0.2))
    assert (ask.meta["resend"], ask.meta["bulk_next"]) == (True, 0)


def test_arguments_that_say_they_are_huge_are_refused_at_once():
    responder = Responder(TARGET, INSTANCE, interruptible=True, arguments_limit=1000)
    with pytest.raises(TooLarge):
        responder.opened(message(Kind.CALL, granted=WINDOW, total=1001), 0.0)


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


def test_a_long_result_is_announced_and_goes_through_the_lane_as_it_is_granted():
    responder = running()
    size = PART_BYTES + 10
    actions = responder.result([bytes(size)], size, 0.01)
    assert kinds(actions) == [Kind.RESULT, Kind.BEAT]  # it can only be granted more by whom it has told its name
    assert sent(actions)[0].meta == {"total": size}
    assert OpenLane() in actions
    assert responder.phase is Phase.FLUSHING
    assert responder.lane_opened(0.02, LARGEST_WINDOW) == []
    actions = responder.received(message(Kind.BEAT, 1, next=1, bulk_granted=PART_BYTES), 0.03)
    assert [one.meta["at"] for one in sent(actions, "lane")] == [0]
    actions = responder.received(message(Kind.BEAT, 1, bulk_granted=size), 0.04)
    assert [one.meta["at"] for one in sent(actions, "lane")] == [PART_BYTES]
    assert actions[-1] == Forget()
    # It is kept: the caller may have missed it.
    assert responder.out.held_bytes == responder.held_bytes == size
    assert responder.holds
    responder.out.heard({"next": 1, "bulk_next": size}, 0.0)
    assert not responder.out.keeps
    assert not responder.holds


def test_whoever_asks_for_what_was_missed_and_grants_the_rest_is_answered_before_the_call_is_forgotten():
    responder, size = running(), 2 * PART_BYTES
    responder.result([bytes(size)], size, 0.01)
    responder.lane_opened(0.02, LARGEST_WINDOW)
    actions = responder.received(message(Kind.BEAT, 1, next=1, bulk_granted=size, resend=True), 0.03)
    assert Kind.BEAT in kinds(actions)
    assert len(sent(actions, "lane")) == 2
    assert [type(action) for action in actions].index(Forget) == len(actions) - 1


def test_a_result_that_is_not_taken_is_given_up_after_a_time():
    responder = running()
    responder.result([bytes(PART_BYTES + 1)], PART_BYTES + 1, 1.0)
    for minute in range(1, 5):
        responder.received(message(Kind.BEAT, 1), 60.0 * minute)
        assert Forget() not in responder.tick(60.0 * minute)
    assert Forget() in responder.tick(1.0 + KEPT_S)


def test_waiting_for_the_lane_is_no_reason_to_fall_silent():
    responder = running()
    responder.item([bytes(PART_BYTES + 1)], PART_BYTES + 1, 0.0)
    for second in range(1, 4):
        responder.received(message(Kind.BEAT, 1), float(second))
    assert kinds(responder.tick(BEAT_S)) == [Kind.BEAT]


def test_what_the_caller_missed_is_sent_again_with_a_beat():
    responder = running()
    (item,) = sent(responder.item([b"x"], 1, 0.1))
    actions = responder.received(message(Kind.BEAT, 1, next=0, resend=True), 0.2)
    assert sent(actions)[0] == item
    assert kinds(actions) == [Kind.ITEM, Kind.BEAT]
    assert kinds(responder.received(message(Kind.BEAT, 1, next=1, resend=True), 0.3)) == [Kind.BEAT]


def test_a_lane_that_was_cut_sends_again_what_is_not_known_to_have_arrived():
    responder = running()
    size = PART_BYTES + 10
    responder.item([bytes(size)], size, 0.0)
    responder.lane_opened(0.0, LARGEST_WINDOW)
    first = sent(responder.received(message(Kind.BEAT, 1, bulk_granted=size), 0.1), "lane")
    assert sent(responder.lane_opened(0.2, LARGEST_WINDOW), "lane") == first


def test_a_function_of_the_caller_is_called_and_answers():
    responder = running()
    actions = responder.invoke(2, 7, [b"args"], 4, 0.1)
    beat, invoke = sent(actions)
    assert beat.kind is Kind.BEAT
    assert (invoke.kind, invoke.meta, bytes(invoke.body)) == (Kind.INVOKE, {"function": 2, "ask": 7}, b"args")
    (answer,) = responder.received(message(Kind.RETURN, 1, b"value", ask=7), 0.2)
    assert answer == Returned(7, memoryview(b"value"), None)
    responder.invoke(2, 8, [b"args"], 4, 0.3)
    (answer,) = responder.received(message(Kind.RAISED, 2, ask=8, **RAISED), 0.3)
    assert (answer.ask, answer.frame, type(answer.error).code) == (8, None, "remote_error")


def test_what_is_held_back_for_our_own_line_goes_when_it_has_room():
    full = {"line"}
    responder = running(is_full=lambda line: line in full)
    assert kinds(responder.result([bytes(5000)], 5000, 0.1)) == [Kind.BEAT]
    assert (responder.phase, responder.out.held_back) == (Phase.FLUSHING, "line")
    assert sent(responder.line_has_room(0.2)) == []
    assert responder.out.held_back == "line"
    full.clear()
    (result,) = sent(responder.line_has_room(0.3))
    assert result.kind is Kind.RESULT
    assert (responder.phase, responder.out.held_back) == (Phase.DONE, "")


def test_a_call_that_was_cancelled_waits_for_no_line():
    responder = running(is_full=lambda line: True)
    responder.item([bytes(5000)], 5000, 0.1)
    assert responder.out.held_back == "line"
    responder.received(message(Kind.CANCEL, 1), 0.2)
    assert responder.out.held_back == ""
    assert responder.line_has_room(0.3) == []


def test_answers_to_what_nobody_asked_are_left_out():
    responder = running()
    responder.invoke(2, 7, [b"args"], 4, 0.1)
    assert responder.received(message(Kind.RETURN, 1, b"value", ask=8), 0.2) == []
    assert responder.received(message(Kind.RETURN, 2, b"value", ask=7), 0.2) != []
    assert responder.received(message(Kind.RETURN, 3, b"value", ask=7), 0.2) == []


def test_a_long_answer_of_a_function_comes_through_the_lane():
    responder = running()
    responder.invoke(0, 7, [b"args"], 4, 0.1)
    assert OpenLane() in responder.received(message(Kind.RETURN, 1, ask=7, total=6), 0.1)
    responder.lane_opened(0.2, LARGEST_WINDOW)
    actions = responder.received(message(Kind.PART, body=b"abcdef", at=0, crc=zlib.crc32(b"abcdef")), 0.3)
    assert actions[0] == Returned(7, bytearray(b"abcdef"), None)


def test_what_the_method_writes_is_sent_printable():
    (beat, log) = sent(running().log("stdout", "\x1b[31mred", 0.1))
    assert (beat.kind, log.kind) == (Kind.BEAT, Kind.LOG)
    assert log.meta == {"stream": "stdout", "text": "\ufffd[31mred"}


def test_the_place_in_the_queue_is_told_once_a_second_and_its_end_at_once():
    responder = running()
    assert responder.waits(3, 0.0) == []  # not accepted yet: the first BEAT says it
    assert sent(responder.tick(ACCEPT_AFTER_S))[0].meta["place"] == 3
    assert [sent(responder.waits(place, 2.0))[0].meta["place"] for place in (2,)] == [2]
    assert responder.waits(1, 2.5) == []
    assert sent(responder.waits(1, 3.0))[0].meta["place"] == 1
    assert "place" not in sent(responder.waits(0, 3.1))[0].meta


def test_that_its_owner_is_asked_is_told_in_each_beat_and_his_limit_holds_no_more():
    responder = Responder(TARGET, INSTANCE, interruptible=True, limit_s=5.0)
    responder.opened(message(Kind.CALL, granted=WINDOW, timeout_s=50.0), 0.0)
    (beat,) = sent(responder.awaits_approval(1.0))
    assert (beat.kind, beat.meta["approval"]) == (Kind.BEAT, True)
    (beat,) = sent(responder.tick(1.0 + BEAT_S))
    assert beat.meta["approval"] is True
    assert kinds(responder.tick(10.0)) == [Kind.BEAT]
    (error,) = sent(responder.tick(50.0))
    assert (error.meta["code"], error.meta["by_owner"]) == ("timeout", False)
    assert responder.awaits_approval(51.0) == []


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


def test_code_that_is_to_stop_takes_no_answers_and_holds_none():
    responder = running()
    responder.invoke(0, 0, [b"x"], 1, 0.1)
    responder.received(message(Kind.RETURN, 1, ask=0, total=10), 0.2)
    responder.lane_opened(0.3, LARGEST_WINDOW)
    responder.received(message(Kind.PART, body=b"abc", at=0), 0.4)
    assert responder.held_bytes == 10
    assert responder.received(message(Kind.CANCEL, 2), 0.5) == [Interrupt("cancelled by its caller")]
    assert responder.held_bytes == 0
    assert responder.received(message(Kind.PART, body=b"def", at=3), 0.6) == []
    assert responder.received(message(Kind.RETURN, 2, ask=1, total=1000), 0.7) == []
    assert (responder.held_bytes, responder.receives_bulk) == (0, False)
    assert kinds(responder.stopped(0.8)) == [Kind.CANCELLED]


def test_cancel_before_all_arguments_came_ends_the_call():
    actions = cancelled(receiving())
    assert sent(actions)[0].meta == {"state": "stopped"}
    assert actions[-1] == Forget()


def test_a_cancel_that_shows_a_gap_ends_the_call_without_a_question():
    actions = receiving().received(message(Kind.CANCEL, 5), 0.1)
    assert kinds(actions) == [Kind.CANCELLED]
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
    assert kinds(responder.reconnected(CALLER_SILENCE_S - 1)) == [Kind.BEAT]
    assert kinds(responder.tick(CALLER_SILENCE_S - 1 + BEAT_S)) == [Kind.BEAT]


@pytest.mark.parametrize(
    "wrong",
    [
        message(Kind.CALL, 1, granted=WINDOW),
        message(Kind.PART, body=b"x", at=0),
        message(Kind.PART, body=b"x"),
        message(Kind.RESULT, 1),
        message(Kind.ERROR, 1),
        message(Kind.PROGRESS, 1),
        message(Kind.RETURN, 1, total=5, body=b"x"),
        message(Kind.RETURN, 1, total=1 << 50),
    ],
)
def test_a_message_out_of_place_ends_the_call_with_an_error(wrong):
    actions = running().received(wrong, 0.1)
    assert kinds(actions) == [Kind.ERROR]
    assert isinstance(actions[-1], Interrupt)


def test_a_second_request_in_the_same_call_runs_nothing():
    responder = receiving()
    actions = responder.received(message(Kind.CALL, 1, b"other", granted=WINDOW), 0.1)
    assert sent(actions)[0].meta["code"] == "malformed"
    assert actions[-1] == Forget()


def test_functions_that_raise_use_up_no_credit_for_good():
    responder, granted, count = running(), WINDOW, WINDOW // OVERHEAD + 1
    for number in range(1, count + 1):
        raised = Message(Kind.RAISED, number, {"ask": number, **RAISED}, memoryview(b""))
        for beat in sent(responder.received(raised, 0.1)):
            granted = beat.meta["granted"]
    assert count * OVERHEAD + WINDOW // 2 <= granted


def test_a_result_that_is_not_wanted_any_more_is_let_go_of():
    responder = running()
    responder.result([bytes(PART_BYTES + 1)], PART_BYTES + 1, 0.1)
    assert kinds(cancelled(responder)) == [Kind.CANCELLED]
    assert responder.held_bytes == 0


def test_a_call_that_has_ended_waits_nowhere():
    responder = running()
    responder.tick(ACCEPT_AFTER_S)
    cancelled(responder)
    assert responder.waits(3, 2.0) == []


def test_a_gap_is_asked_for_once_a_second():
    responder = running()
    (ask,) = sent(responder.received(message(Kind.RETURN, 2, b"second"), 0.1))
    assert (ask.meta["next"], ask.meta["resend"]) == (1, True)
    assert responder.received(message(Kind.BEAT, 3), 0.2) == []
    assert len(sent(responder.received(message(Kind.BEAT, 3), 1.2))) == 1


def test_a_refusal_needs_no_opened_call():
    actions = made().refuse(PermissionDenied("Not shared with you."), 0.0)
    assert sent(actions)[0].meta["code"] == "denied"
    assert actions[-1] == Forget()


def test_nobody_waits_for_a_call_whose_caller_is_silent_or_has_been_answered():
    silent = running()
    assert silent.is_awaited(SILENCE_S - 0.1)
    assert not silent.is_awaited(SILENCE_S)
    silent.received(message(Kind.BEAT, 1), SILENCE_S)
    assert silent.is_awaited(SILENCE_S)
    stopping = running()
    cancelled(stopping, 1.0)
    assert stopping.is_awaited(1.5)  # until it is told what became of it
    stopping.tick(1.0 + CANCEL_GRACE_S)
    assert not stopping.is_awaited(1.0 + CANCEL_GRACE_S)


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


def test_messages_fit_the_smallest_window_twice():
    size = SMALLEST_WINDOW // 2 - OVERHEAD
    assert sent(running(SMALLEST_WINDOW).item([bytes(size)], size, 0.0))[0].body.nbytes == size
    assert sent(running(SMALLEST_WINDOW).item([bytes(size + 1)], size + 1, 0.0))[0].meta == {"total": size + 1}
