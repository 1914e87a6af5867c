"""A call as its caller sees it, one transition of the table at a time."""

from __future__ import annotations

import zlib

import pytest

from landbridge.errors import (
    CallCancelled,
    CallLost,
    CallTimeout,
    Malformed,
    ModuleOffline,
    ProtocolMismatch,
    RemoteError,
    TooLarge,
)
from landbridge.protocol import (
    ASKED_AT_ONCE,
    AWAY_S,
    BEAT_S,
    BULK_WINDOW,
    CANCEL_WAIT_S,
    FUNCTION_BYTES,
    LARGEST_WINDOW,
    OVERHEAD,
    PART_BYTES,
    SILENCE_S,
    SMALLEST_WINDOW,
    STUCK_S,
    WINDOW,
    Caller,
    Ended,
    Forget,
    Invoke,
    Item,
    Kind,
    Log,
    Message,
    OpenLane,
    Progress,
    Send,
    Started,
    State,
    Waits,
    pack,
    raised_to_meta,
    unpack,
)

INSTANCE = "0123456789abcdef" * 2
TARGET = "geomar/ocean.climatology"
RAISED = raised_to_meta("KeyError", "'sst'", "KeyError", "a1b2")


def sent(actions: list, to: str) -> list[Message]:
    return [unpack(b"".join(action.parts)) for action in actions if isinstance(action, Send) and action.to == to]


def error_of(actions: list) -> Exception | None:
    (ended,) = [action for action in actions if isinstance(action, Ended)]
    return ended.error


def message(kind: Kind, sequence: int = 0, body: bytes = b"", **meta: object) -> Message:
    return unpack(pack(kind, sequence, meta) + body)


GRACE_S = 0.8
BEAT = message(Kind.BEAT, instance=INSTANCE, granted=WINDOW)


def started(size: int = 3, **options: object) -> Caller:
    caller = Caller(TARGET, [bytes(size)], size, **options)
    caller.start(0.0)
    return caller


def running(size: int = 3, **options: object) -> Caller:
    caller = started(size, **options)
    caller.received(BEAT, 0.0)
    assert caller.state is State.RUNNING
    return caller


def test_the_request_grants_a_window_and_carries_the_arguments():
    caller = Caller(TARGET, [b"ab", b"c"], 3, timeout_s=2.5)
    (request,) = sent(caller.start(0.0), "request")
    assert request == (Kind.CALL, 0, {"granted": WINDOW, "timeout_s": 2.5}, b"abc")


@pytest.mark.parametrize("window", [0, 1, SMALLEST_WINDOW - 1])
def test_a_window_is_never_too_small_to_be_accepted(window):
    (request,) = sent(Caller(TARGET, [], 0, window=window).start(0.0), "request")
    assert request.meta["granted"] == SMALLEST_WINDOW


@pytest.mark.parametrize("timeout_s", [float("inf"), 1e10])
def test_a_limit_beyond_a_lifetime_is_none(timeout_s):
    caller = Caller(TARGET, [], 0, timeout_s=timeout_s)
    (request,) = sent(caller.start(0.0), "request")
    assert "timeout_s" not in request.meta


def test_an_answer_ends_the_call():
    assert started().received(message(Kind.RESULT, body=b"value"), 0.1) == [Ended(memoryview(b"value"), None), Forget()]


def test_the_end_of_a_stream_ends_without_value_and_error():
    assert started().received(message(Kind.END), 0.1) == [Ended(None, None), Forget()]


def test_an_error_ends_the_call_with_it():
    meta = raised_to_meta("KeyError", "'sst'", "KeyError", "a1b2")
    error = error_of(started().received(message(Kind.ERROR, **meta), 0.1))
    assert isinstance(error, RemoteError)
    assert isinstance(error, KeyError)


def test_long_arguments_are_announced_and_go_to_the_backend_that_accepted():
    size = PART_BYTES + 10
    caller = Caller(TARGET, [bytes(size)], size)
    actions = caller.start(0.0)
    (request,) = sent(actions, "request")
    assert (request.kind, request.meta["total"], request.body.nbytes) == (Kind.CALL, size, 0)
    assert actions[-1] == OpenLane()
    assert caller.lane_opened(0.05, LARGEST_WINDOW) == []
    actions = caller.received(message(Kind.BEAT, instance=INSTANCE, granted=WINDOW, bulk_granted=BULK_WINDOW), 0.1)
    assert actions[0] == Started(INSTANCE)
    assert [(one.kind, one.meta["at"], one.body.nbytes) for one in sent(actions, "lane")] == [
        (Kind.PART, 0, PART_BYTES),
        (Kind.PART, PART_BYTES, 10),
    ]


def test_a_lane_that_opens_late_holds_the_arguments_back_until_it_is_open():
    size = PART_BYTES + 10
    caller = started(size)
    actions = caller.received(message(Kind.BEAT, instance=INSTANCE, bulk_granted=BULK_WINDOW), 0.1)
    assert sent(actions, "lane") == []
    assert OpenLane() in actions
    assert len(sent(caller.lane_opened(0.2, LARGEST_WINDOW), "lane")) == 2


def test_waiting_for_the_lane_is_no_reason_to_fall_silent():
    caller = started(PART_BYTES + 10)
    for second in range(4):
        caller.received(message(Kind.BEAT, instance=INSTANCE, bulk_granted=BULK_WINDOW), float(second))
    assert [one.kind for one in sent(caller.tick(BEAT_S), "control")] == [Kind.BEAT]


def test_a_lane_that_was_cut_sends_again_what_is_not_known_to_have_arrived():
    caller = started(PART_BYTES + 10)
    caller.lane_opened(0.0, LARGEST_WINDOW)
    first = sent(caller.received(message(Kind.BEAT, instance=INSTANCE, bulk_granted=BULK_WINDOW), 0.1), "lane")
    caller.received(message(Kind.BEAT, instance=INSTANCE, bulk_next=PART_BYTES), 0.2)
    assert sent(caller.lane_opened(0.3, LARGEST_WINDOW), "lane") == first[1:]


def test_a_long_value_is_granted_received_and_acknowledged():
    caller = running()
    value = bytes(range(250)) * 100
    assert caller.received(message(Kind.RESULT, total=len(value)), 0.1) == [OpenLane()]
    (grant,) = sent(caller.lane_opened(0.2, LARGEST_WINDOW), "control")
    assert (grant.meta["next"], grant.meta["bulk_granted"], grant.meta["bulk_next"]) == (1, BULK_WINDOW, 0)
    assert caller.received(message(Kind.PART, body=value[:9000], at=0), 0.3) == []
    actions = caller.received(message(Kind.PART, body=value[9000:], at=9000, crc=zlib.crc32(value)), 0.4)
    (last,) = sent(actions, "control")
    assert last.meta["bulk_next"] == len(value)
    assert bytes(actions[-2].frame) == value
    assert actions[-1] == Forget()


def test_a_missing_part_is_asked_for_once_a_second_and_a_late_one_after_a_while():
    caller = running()
    caller.lane_opened(0.0, LARGEST_WINDOW)
    caller.received(message(Kind.RESULT, total=100), 0.0)
    (ask,) = sent(caller.received(message(Kind.PART, body=b"x", at=50), 0.1), "control")
    assert (ask.meta["resend"], ask.meta["bulk_next"]) == (True, 0)
    assert caller.received(message(Kind.PART, body=b"x", at=51), 0.2) == []
    caller.received(message(Kind.PART, body=b"x", at=0), 1.0)
    asked = [one for tenth in range(11, 75) for one in sent(caller.tick(tenth / 10), "control") if "resend" in one.meta]
    assert [one.meta["bulk_next"] for one in asked] == [1]


def test_a_long_value_that_stops_coming_from_a_backend_that_is_there_is_lost():
    caller = running()
    caller.lane_opened(0.0, LARGEST_WINDOW)
    caller.received(message(Kind.RESULT, total=100), 0.0)
    caller.received(message(Kind.PART, body=b"x", at=0), 1.0)
    for second in range(1, 121):
        caller.received(message(Kind.BEAT, 1, instance=INSTANCE), float(second))
        actions = caller.tick(float(second))
        assert not any(isinstance(action, Ended) for action in actions)
    actions = caller.tick(10.0 + STUCK_S)  # it was last granted something with a BEAT after the part
    assert isinstance(error_of(actions), CallLost)
    assert "no part of a long value came for 120 s" in str(error_of(actions))
    assert [one.kind for one in sent(actions, "control")] == [Kind.CANCEL]


def test_a_reader_who_sleeps_between_two_long_items_is_no_loss():
    caller = running()
    caller.lane_opened(0.0, LARGEST_WINDOW)
    caller.received(message(Kind.ITEM, total=100), 0.0)
    caller.received(message(Kind.PART, body=bytes(100), at=0, crc=zlib.crc32(bytes(100))), 1.0)
    caller.received(message(Kind.ITEM, 1, total=2 * BULK_WINDOW), 1.0)
    # All that was granted has come, but for less than is worth a part; more is granted when the first item is taken.
    for at in range(100, BULK_WINDOW - 100, PART_BYTES):
        caller.received(message(Kind.PART, body=bytes(min(PART_BYTES, BULK_WINDOW - 100 - at)), at=at), 1.0)
    for second in range(2, 1000):
        caller.received(message(Kind.BEAT, 2, instance=INSTANCE), float(second))
        assert not any(isinstance(action, Ended) for action in caller.tick(float(second)))


def test_a_value_that_was_damaged_ends_the_call_as_lost():
    caller = running()
    caller.lane_opened(0.0, LARGEST_WINDOW)
    caller.received(message(Kind.RESULT, total=3), 0.0)
    actions = caller.received(message(Kind.PART, body=b"abc", at=0, crc=1), 0.1)
    assert isinstance(error_of(actions), CallLost)
    assert "checksum" in str(error_of(actions))


def test_a_second_instance_is_not_believed():
    caller = running()
    other = message(Kind.BEAT, instance="f" * 32)
    assert caller.received(other, 0.1) == []
    assert caller.instance == INSTANCE


def test_progress_is_handed_on_with_a_printable_label():
    caller = running()
    actions = caller.received(message(Kind.PROGRESS, done=3, total=10, label="\x1b[31mred"), 0.1)
    assert actions == [Progress(3, 10, "\ufffd[31mred")]
    assert caller.received(message(Kind.PROGRESS), 0.1) == [Progress(0, None, "")]


def test_items_are_handed_on_and_their_use_grants_more():
    caller = running(window=SMALLEST_WINDOW)
    (item,) = caller.received(message(Kind.ITEM, 0, bytes(SMALLEST_WINDOW // 2)), 0.1)
    assert isinstance(item, Item)
    (beat,) = sent(caller.took(item.cost, item.bulk, 0.2), "control")
    assert beat.meta == {"granted": SMALLEST_WINDOW + SMALLEST_WINDOW // 2 + OVERHEAD, "next": 1}


def test_credit_used_before_the_backend_was_known_is_granted_with_the_first_beat():
    caller = started(window=SMALLEST_WINDOW)
    (item,) = caller.received(message(Kind.ITEM, 0, bytes(SMALLEST_WINDOW // 2)), 0.01)
    assert caller.took(item.cost, item.bulk, 0.02) == []
    (beat,) = sent(caller.received(message(Kind.BEAT, 1, instance=INSTANCE), 0.05), "control")
    assert beat.meta["granted"] > SMALLEST_WINDOW


@pytest.mark.parametrize("kind", [Kind.CALL, Kind.CANCEL])
def test_what_a_backend_never_sends_ends_the_call_and_the_work(kind):
    actions = running().received(message(kind, granted=1), 0.1)
    assert isinstance(error_of(actions), Malformed)
    assert [one.kind for one in sent(actions, "control")] == [Kind.CANCEL]
    assert actions[-1] == Forget()


def test_a_gap_is_asked_for_once_a_second():
    caller = running()
    (ask,) = sent(caller.received(message(Kind.ITEM, 1, b"second"), 0.1), "control")
    assert (ask.kind, ask.meta["next"], ask.meta["resend"]) == (Kind.BEAT, 0, True)
    assert caller.received(message(Kind.ITEM, 2, b"third"), 0.2) == []
    assert len(sent(caller.received(message(Kind.BEAT, 3, instance=INSTANCE), 1.2), "control")) == 1
    items = [caller.received(message(Kind.ITEM, number), 1.3) for number in (0, 0, 1, 1, 2)]
    assert [len(actions) for actions in items] == [1, 0, 1, 0, 1]


def test_what_the_backend_misses_is_sent_again():
    caller = running()
    (answer,) = sent(caller.returned(7, [b"value"], 5, 0.1), "control")
    assert (answer.kind, answer.sequence, answer.meta, bytes(answer.body)) == (Kind.RETURN, 1, {"ask": 7}, b"value")
    ask = message(Kind.BEAT, instance=INSTANCE, next=1, resend=True)
    assert sent(caller.received(ask, 0.2), "control") == [answer]


def test_a_call_nobody_speaks_of_is_asked_of_all_backends():
    caller = started()
    assert caller.tick(1.9) == []
    (ask,) = sent(caller.tick(2.0), "anyone")
    assert (ask.kind, ask.sequence, ask.meta) == (Kind.BEAT, 1, {"granted": WINDOW, "next": 0, "resend": True})
    assert caller.tick(3.9) == []
    assert len(sent(caller.tick(4.0), "anyone")) == 1
    assert caller.received(BEAT, 4.1)[0] == Started(INSTANCE)


def test_the_method_may_call_functions_of_its_caller():
    caller = running()
    (invoke,) = caller.received(message(Kind.INVOKE, 0, b"args", function=2, ask=7), 0.1)
    assert invoke == Invoke(2, 7, memoryview(b"args"), 4 + OVERHEAD, False)
    (raised,) = sent(caller.raised(7, RAISED, 0.2), "control")
    assert (raised.kind, raised.meta["ask"], raised.meta["code"]) == (Kind.RAISED, 7, "remote_error")


def test_an_answer_to_a_backend_that_is_not_known_yet_waits_until_it_is():
    caller = started()
    caller.received(message(Kind.INVOKE, 0, b"args", function=2, ask=7), 0.1)
    assert caller.returned(7, [b"value"], 5, 0.2) == []
    assert [one.kind for one in sent(caller.received(message(Kind.BEAT, 1, instance=INSTANCE), 0.3), "control")] == [
        Kind.RETURN
    ]


def test_an_ended_or_cancelled_call_answers_no_questions():
    caller = running()
    caller.cancel(0.1)
    assert caller.returned(0, [], 0, 0.2) == caller.raised(0, RAISED, 0.2) == []


def test_the_place_in_the_queue_is_told_when_it_changes():
    caller = running()
    beats = [message(Kind.BEAT, instance=INSTANCE, place=place) for place in (3, 3, 2)]
    assert [caller.received(beat, 0.1) for beat in beats] == [[Waits(3)], [], [Waits(2)]]
    assert caller.received(BEAT, 0.2) == [Waits(0)]


def test_that_its_owner_is_asked_is_told_when_it_changes():
    caller = running()
    beat = message(Kind.BEAT, instance=INSTANCE, approval=True)
    assert [caller.received(beat, at_s) for at_s in (0.1, 4.0)] == [[Waits(0, True)], []]
    assert caller.waits_for_approval


def test_what_the_method_wrote_is_handed_on_printable():
    log = message(Kind.LOG, stream="stdout\x1b", text="\x1b[31mred")
    assert running(extras={"logs": True}).received(log, 0.1) == [Log("stdout\ufffd", "\ufffd[31mred")]


def test_what_nobody_asked_to_see_is_not_shown():
    log = message(Kind.LOG, stream="stdout", text="Your password: ")
    assert running().received(log, 0.1) == []
    assert running(extras={"traceparent": "x"}).received(log, 0.1) == []


def test_a_method_asks_so_many_questions_at_a_time_and_no_more():
    caller = running()
    for ask in range(ASKED_AT_ONCE):
        assert caller.received(message(Kind.INVOKE, ask, b"", function=0, ask=ask), 0.1) != []
    caller.returned(0, [b"1"], 1, 0.2)
    assert Invoke(0, 100, memoryview(b""), OVERHEAD, False) in caller.received(
        message(Kind.INVOKE, ASKED_AT_ONCE, b"", function=0, ask=100), 0.3
    )
    ended, *_ = caller.received(message(Kind.INVOKE, ASKED_AT_ONCE + 1, b"", function=0, ask=101), 0.4)
    assert isinstance(ended.error, Malformed)


def test_what_a_function_is_given_is_bounded_before_memory_is_taken():
    caller = running(make_room=pytest.fail)
    ended, *_ = caller.received(message(Kind.INVOKE, 0, function=0, ask=0, total=FUNCTION_BYTES + 1), 0.1)
    assert isinstance(ended.error, TooLarge)


def test_further_fields_of_the_request_are_sent_along():
    caller = Caller(TARGET, [], 0, extras={"logs": True, "traceparent": "00-ab-cd-01"})
    (request,) = sent(caller.start(0.0), "request")
    assert request.meta == {"granted": WINDOW, "logs": True, "traceparent": "00-ab-cd-01"}


def test_a_huge_declared_answer_ends_the_call():
    actions = running().received(message(Kind.RESULT, 0, total=1 << 50), 0.1)
    assert isinstance(error_of(actions), TooLarge)


def test_an_answer_beyond_the_credit_ends_the_call():
    caller = running(window=SMALLEST_WINDOW)
    assert isinstance(error_of(caller.received(message(Kind.ITEM, 0, bytes(SMALLEST_WINDOW)), 0.1)), Malformed)


def test_bytes_of_another_version_end_the_call_with_both_versions():
    caller = running()
    actions = caller.broken(ProtocolMismatch("1.0", "2.0"), 0.1)
    assert isinstance(error_of(actions), ProtocolMismatch)
    assert caller.broken(Malformed("again"), 0.2) == []


def test_silence_ends_the_call_and_tells_the_backend_to_stop():
    caller = running()
    assert not any(isinstance(action, Ended) for action in caller.tick(SILENCE_S - 0.1))
    actions = caller.tick(SILENCE_S)
    assert isinstance(error_of(actions), CallLost)
    assert INSTANCE[:8] in str(error_of(actions))
    assert sent(actions, "control")[0].kind is Kind.CANCEL


def test_a_running_call_beats():
    caller = running()
    assert caller.tick(BEAT_S - 0.1) == []
    (beat,) = sent(caller.tick(BEAT_S), "control")
    assert beat.kind is Kind.BEAT
    assert caller.tick(BEAT_S + 0.1) == []


def test_the_time_limit_ends_a_running_call_and_the_work():
    actions = running(timeout_s=2.0).tick(2.0)
    assert isinstance(error_of(actions), CallTimeout)
    assert sent(actions, "control")[0].kind is Kind.CANCEL
    assert actions[-1] == Forget()


def test_a_backend_that_accepts_after_the_time_limit_is_told_to_stop():
    caller = started(timeout_s=2.0)
    assert isinstance(error_of(caller.tick(2.0)), CallTimeout)
    actions = caller.received(BEAT, 3.0)
    assert [one.kind for one in sent(actions, "control")] == [Kind.CANCEL]
    assert actions[-1] == Forget()


def test_a_late_beat_that_shows_a_gap_ends_the_call_without_a_question():
    caller = started(timeout_s=2.0)
    caller.tick(2.0)
    actions = caller.received(message(Kind.BEAT, 5, instance=INSTANCE), 3.0)
    assert [one.kind for one in sent(actions, "control")] == [Kind.CANCEL]
    assert actions[-1] == Forget()


def test_a_request_that_nobody_ever_takes_is_forgotten_some_time_after_its_end():
    caller = started(timeout_s=2.0)
    caller.tick(2.0)
    assert caller.tick(2.0 + SILENCE_S - 0.1) == []
    assert caller.tick(2.0 + SILENCE_S) == [Forget()]


def test_noise_does_not_keep_an_ended_call_alive():
    caller = started(timeout_s=2.0)
    caller.tick(2.0)
    for second in range(3, 17):
        actions = caller.received(message(Kind.ITEM, 9), float(second))
        assert [one.kind for one in sent(actions, "anyone")] == [Kind.BEAT]  # whoever has the call is to show up
    assert caller.tick(2.0 + SILENCE_S) == [Forget()]


def test_cancel_waits_for_what_became_of_the_work():
    caller = running()
    assert [one.kind for one in sent(caller.cancel(1.0), "control")] == [Kind.CANCEL]
    error = error_of(caller.received(message(Kind.CANCELLED, state="running"), 1.5))
    assert isinstance(error, CallCancelled)
    assert error.state == "running"


def test_an_unknown_state_of_cancelled_work_counts_as_stopping():
    caller = running()
    caller.cancel(1.0)
    assert error_of(caller.received(message(Kind.CANCELLED, state="asleep"), 1.5)).state == "stopping"


def test_second_cancel_is_ignored():
    caller = running()
    caller.cancel(1.0)
    assert caller.cancel(1.1) == []


def test_cancel_before_acceptance_goes_to_all_backends_and_again_with_the_first_beat():
    caller = started()
    assert [one.kind for one in sent(caller.cancel(0.01), "anyone")] == [Kind.CANCEL]
    assert [one.kind for one in sent(caller.received(BEAT, 0.05), "control")] == [Kind.CANCEL]


def test_a_value_that_was_under_way_when_cancelled_still_counts():
    caller = running()
    caller.cancel(1.0)
    assert caller.received(message(Kind.RESULT, body=b"value"), 1.1)[0].error is None


def test_a_stream_that_ends_while_it_is_cancelled_is_not_taken_for_whole():
    caller = running()
    caller.cancel(1.0)
    assert caller.received(message(Kind.ITEM, 0, b"x"), 1.1) == []
    assert error_of(caller.received(message(Kind.END, 1), 1.2)).state == "stopped"


def test_a_backend_that_does_not_answer_a_cancel_is_left():
    caller = running()
    caller.cancel(1.0)
    caller.received(BEAT, 2.0)
    error = error_of(caller.tick(1.0 + CANCEL_WAIT_S))
    assert isinstance(error, CallCancelled)
    assert error.state == "stopping"


def test_a_stream_that_flows_on_does_not_put_off_the_end_of_a_cancelled_call():
    caller = running(window=SMALLEST_WINDOW)
    caller.cancel(1.0)
    for number in range(4):
        now = 2.0 + number / 2
        for action in caller.received(message(Kind.ITEM, number, bytes(8_000)), now):
            assert isinstance(action, Item)
            caller.took(action.cost, action.bulk, now)
        caller.reconnected(now)
    assert isinstance(error_of(caller.tick(1.0 + CANCEL_WAIT_S)), CallCancelled)


def test_what_nobody_received_is_offline_at_once_when_nobody_can_be_on_the_way():
    error = error_of(started().nobody_received(0.01, 0.0))
    assert isinstance(error, ModuleOffline)
    assert error.module == "geomar/ocean"


def test_what_nobody_received_is_repeated_for_its_grace():
    caller = started()
    assert caller.nobody_received(0.01, GRACE_S) == []
    assert caller.tick(0.05) == []
    (request,) = sent(caller.tick(0.2), "request")
    assert (request.kind, request.sequence, request.body.nbytes) == (Kind.CALL, 0, 3)
    assert isinstance(error_of(caller.nobody_received(GRACE_S, GRACE_S)), ModuleOffline)


def test_a_request_that_somebody_took_is_never_sent_again():
    caller = started()
    caller.nobody_received(0.01, GRACE_S)
    caller.received(BEAT, 0.02)
    assert sent(caller.tick(0.5), "request") == []


def test_asking_again_does_not_prolong_the_time_limit():
    caller = started(timeout_s=0.3)
    caller.nobody_received(0.01, GRACE_S)
    caller.tick(0.2)
    assert isinstance(error_of(caller.tick(0.3)), CallTimeout)


def test_a_request_that_nobody_has_is_cancelled_for_certain():
    caller = started()
    caller.nobody_received(0.01, GRACE_S)
    assert error_of(caller.cancel(0.02)).state == "stopped"
    other = started()
    other.cancel(0.01)
    assert error_of(other.nobody_received(0.02, 0.0)).state == "stopped"


def test_after_a_break_the_backend_is_asked_and_silence_counts_anew():
    caller = running()
    (ask,) = sent(caller.reconnected(SILENCE_S - 1), "control")
    assert (ask.kind, ask.meta["resend"]) == (Kind.BEAT, True)
    assert not any(isinstance(action, Ended) for action in caller.tick(SILENCE_S + 1))


def test_after_a_break_before_acceptance_all_backends_are_asked():
    (ask,) = sent(started().reconnected(1.0), "anyone")
    assert ask.meta["resend"] is True


def test_while_our_own_connection_is_down_silence_is_borne_longer():
    caller = running()
    caller.disconnected()
    assert caller.tick(AWAY_S - 0.1) == []
    assert "our connection" in str(error_of(caller.tick(AWAY_S)))


def test_a_line_that_breaks_again_and_again_is_not_waited_for_without_end():
    caller = running()
    for second in range(1, int(AWAY_S) - 5, 5):
        caller.disconnected()
        caller.reconnected(float(second))
        assert not any(isinstance(action, Ended) for action in caller.tick(second + 4.0))
    assert "again and again" in str(error_of(caller.tick(AWAY_S)))


def test_a_backend_that_was_started_anew_is_asked_at_once():
    assert [one.kind for one in sent(running().backend_restarted(1.0), "control")] == [Kind.BEAT]


def test_the_only_backend_is_asked_when_it_was_started_anew_and_had_a_moment_to_answer():
    caller = started()
    (ask,) = sent(caller.backend_restarted(1.0), "anyone")
    assert ask.meta["resend"] is True
    assert caller.tick(1.9) == []
    assert "started anew" in str(error_of(caller.tick(2.0)))
    other = started()
    other.backend_restarted(1.0)
    other.received(BEAT, 1.5)
    assert not any(isinstance(action, Ended) for action in other.tick(2.1))


def test_a_closed_connection_ends_the_call():
    actions = running().closed("the program ends")
    assert "the program ends" in str(error_of(actions))
    assert actions[-1] == Forget()


def test_an_ended_call_is_deaf():
    caller = started()
    caller.received(message(Kind.END), 0.1)
    assert caller.received(message(Kind.END, 1), 0.2) == []
    assert caller.tick(100.0) == caller.cancel(100.0) == caller.reconnected(100.0) == caller.closed("x") == []
    assert caller.nobody_received(100.0, GRACE_S) == []


def test_a_request_that_waited_for_the_broker_is_given_its_moment_from_when_it_went_out():
    caller = started()
    caller.not_sent(30.0)  # held until then, and sent over a connection that has just come back
    assert caller.nobody_received(30.1, GRACE_S) == []
    assert isinstance(error_of(caller.nobody_received(30.0 + GRACE_S, GRACE_S)), ModuleOffline)
