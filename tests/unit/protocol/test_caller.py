"""A call as its caller sees it, one transition of the table at a time."""

from __future__ import annotations

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
    BEAT_S,
    CANCEL_WAIT_S,
    OFFLINE_GRACE_S,
    OVERHEAD,
    PART_BYTES,
    SILENCE_S,
    SMALLEST_WINDOW,
    VALUE_LIMIT,
    WINDOW,
    Caller,
    Ended,
    Forget,
    Item,
    Kind,
    Message,
    Progress,
    Send,
    Started,
    State,
    pack,
    raised_to_meta,
    unpack,
)

INSTANCE = "0123456789abcdef" * 2
TARGET = "geomar/ocean.climatology"


def sent(actions: list, to: str) -> list[Message]:
    return [unpack(b"".join(action.parts)) for action in actions if isinstance(action, Send) and action.to == to]


def error_of(actions: list) -> Exception | None:
    (ended,) = [action for action in actions if isinstance(action, Ended)]
    return ended.error


def message(kind: Kind, sequence: int = 0, body: bytes = b"", **meta: object) -> Message:
    return unpack(pack(kind, sequence, meta) + body)


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


def test_arguments_beyond_the_limit_are_refused_before_sending():
    with pytest.raises(TooLarge):
        Caller(TARGET, [], VALUE_LIMIT + 1)


def test_an_answer_ends_the_call():
    assert started().received(message(Kind.RESULT, body=b"value"), 0.1) == [Ended(memoryview(b"value"), None), Forget()]


def test_the_end_of_a_stream_ends_without_value_and_error():
    assert started().received(message(Kind.END), 0.1) == [Ended(None, None), Forget()]


def test_an_error_ends_the_call_with_it():
    meta = raised_to_meta("KeyError", "'sst'", "KeyError", "a1b2")
    error = error_of(started().received(message(Kind.ERROR, **meta), 0.1))
    assert isinstance(error, RemoteError)
    assert isinstance(error, KeyError)


def test_the_rest_of_the_arguments_goes_to_the_backend_that_accepted():
    caller = started(PART_BYTES + 10)
    actions = caller.received(BEAT, 0.1)
    assert actions[0] == Started(INSTANCE)
    (part,) = sent(actions, "control")
    assert (part.kind, part.sequence, part.body.nbytes) == (Kind.PART, 1, 10)


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
    (beat,) = sent(caller.took(item.cost, 0.2), "control")
    assert beat.meta == {"granted": SMALLEST_WINDOW + SMALLEST_WINDOW // 2 + OVERHEAD}


def test_credit_used_before_the_backend_was_known_is_granted_with_the_first_beat():
    caller = started(window=SMALLEST_WINDOW)
    (item,) = caller.received(message(Kind.ITEM, 0, bytes(SMALLEST_WINDOW // 2)), 0.01)
    assert caller.took(item.cost, 0.02) == []
    (beat,) = sent(caller.received(message(Kind.BEAT, 1, instance=INSTANCE), 0.05), "control")
    assert beat.meta["granted"] > SMALLEST_WINDOW


@pytest.mark.parametrize("kind", [Kind.CALL, Kind.CANCEL])
def test_what_a_backend_never_sends_ends_the_call_and_the_work(kind):
    actions = running().received(message(kind, granted=1), 0.1)
    assert isinstance(error_of(actions), Malformed)
    assert [one.kind for one in sent(actions, "control")] == [Kind.CANCEL]
    assert actions[-1] == Forget()


def test_a_gap_ends_the_call_as_lost():
    actions = running().received(message(Kind.ITEM, 1), 0.1)
    assert isinstance(error_of(actions), CallLost)


def test_a_huge_declared_answer_ends_the_call():
    actions = running().received(message(Kind.RESULT, 0, b"abc", total=1 << 50), 0.1)
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


def test_a_request_that_nobody_ever_takes_is_forgotten_some_time_after_its_end():
    caller = started(timeout_s=2.0)
    caller.tick(2.0)
    assert caller.tick(2.0 + SILENCE_S - 0.1) == []
    assert caller.tick(2.0 + SILENCE_S) == [Forget()]


def test_noise_does_not_keep_an_ended_call_alive():
    caller = started(timeout_s=2.0)
    caller.tick(2.0)
    for second in range(3, 17):
        assert caller.received(message(Kind.ITEM, 9), float(second)) == []
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


def test_cancel_before_acceptance_goes_out_with_the_first_beat():
    caller = started()
    assert caller.cancel(0.01) == []
    assert [one.kind for one in sent(caller.received(BEAT, 0.05), "control")] == [Kind.CANCEL]


def test_a_value_that_was_under_way_when_cancelled_still_counts():
    caller = running()
    caller.cancel(1.0)
    assert caller.received(message(Kind.RESULT, body=b"value"), 1.1)[0].error is None


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
            caller.took(action.cost, now)
        caller.reconnected(now)
    assert isinstance(error_of(caller.tick(1.0 + CANCEL_WAIT_S)), CallCancelled)


def test_nobody_received_is_offline_at_once_on_an_old_connection():
    error = error_of(started().nobody_received(0.01, -100.0))
    assert isinstance(error, ModuleOffline)
    assert error.module == "geomar/ocean"


def test_a_young_connection_asks_again_for_a_moment():
    caller = started()
    assert caller.nobody_received(0.01, 0.0) == []
    assert caller.tick(0.05) == []
    (request,) = sent(caller.tick(0.2), "request")
    assert (request.kind, request.sequence, request.body.nbytes) == (Kind.CALL, 0, 3)
    assert isinstance(error_of(caller.nobody_received(OFFLINE_GRACE_S, 0.0)), ModuleOffline)


def test_a_request_that_somebody_took_is_never_sent_again():
    caller = started()
    caller.nobody_received(0.01, 0.0)
    caller.received(BEAT, 0.02)
    assert sent(caller.tick(0.5), "request") == []


def test_asking_again_does_not_prolong_the_time_limit():
    caller = started(timeout_s=0.3)
    caller.nobody_received(0.01, 0.0)
    caller.tick(0.2)
    assert isinstance(error_of(caller.tick(0.3)), CallTimeout)


def test_a_request_that_nobody_has_is_cancelled_for_certain():
    caller = started()
    caller.nobody_received(0.01, 0.0)
    assert error_of(caller.cancel(0.02)).state == "stopped"
    other = started()
    other.cancel(0.01)
    assert error_of(other.nobody_received(0.02, -100.0)).state == "stopped"


def test_after_a_break_the_backend_is_asked_and_silence_counts_anew():
    caller = running()
    assert [one.kind for one in sent(caller.reconnected(SILENCE_S - 1), "control")] == [Kind.BEAT]
    assert not any(isinstance(action, Ended) for action in caller.tick(SILENCE_S + 1))


def test_a_closed_connection_ends_the_call():
    actions = running().closed("the program ends")
    assert "the program ends" in str(error_of(actions))
    assert actions[-1] == Forget()


def test_an_ended_call_is_deaf():
    caller = started()
    caller.received(message(Kind.END), 0.1)
    assert caller.received(message(Kind.END, 1), 0.2) == []
    assert caller.tick(100.0) == caller.cancel(100.0) == caller.reconnected(100.0) == caller.closed("x") == []
    assert caller.nobody_received(100.0, 0.0) == []
