"""Which calls are tried again by themselves, and when."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from landbridge.client.again import again_in
from landbridge.errors import Busy, CallLost, CallTimeout, MethodCrashed, ModuleOffline


def call(**fields):
    known = {"idempotent": False, "delivered": False, "tries": 1, "waited_s": 0.0, "at": 0.0, "timeout_s": None}
    return SimpleNamespace(**(known | fields))


def test_a_busy_backend_is_asked_again_when_it_says_so_whatever_the_method():
    assert again_in(Busy("a/b.c", "9 wait", 3.0), call(), 0.0) == (3.0, "busy: 9 wait; trying again in 3 s")


def test_a_refusal_without_a_time_stands():
    assert again_in(Busy("a/b.c", "streams are open", None), call(idempotent=True), 0.0) is None


@pytest.mark.parametrize(("said", "waits"), [(0.0, 0.05), (1e-9, 0.05)])
def test_what_a_backend_says_is_kept_within_reason(said, waits):
    assert again_in(Busy("a/b.c", "full", said), call(), 0.0)[0] == waits


def test_who_would_have_to_wait_for_long_is_told_so_at_once():
    assert again_in(Busy("a/b.c", "2 calls an hour", 100.0), call(), 0.0) is not None
    assert again_in(Busy("a/b.c", "2 calls an hour", 1800.0), call(), 0.0) is None


def test_a_backend_that_always_says_that_there_is_room_at_once_does_not_have_its_callers_spin():
    waiting = call()
    while again_in(Busy("a/b.c", "full", 0.0), waiting, 0.0) is not None:
        waiting.tries += 1
    assert waiting.tries < 160
    assert waiting.waited_s <= 300.0


def test_nobody_waits_for_a_busy_backend_for_ever():
    waiting, now, waits = call(), 0.0, 0
    while (again := again_in(Busy("a/b.c", "full", 60.0), waiting, now)) is not None:
        now += again[0]
        waits += 1
    assert waits == 5
    assert waiting.waited_s == 300.0


def test_a_lost_call_is_repeated_only_if_that_does_no_harm():
    lost = CallLost("its backend fell silent")
    assert again_in(lost, call(), 0.0) is None
    assert again_in(lost, call(idempotent=True), 0.0) == (0.2, "the backend was lost; trying again in 0.2 s")


def test_a_lost_stream_of_which_items_were_handed_on_is_not_repeated():
    assert again_in(CallLost("lost"), call(idempotent=True, delivered=True), 0.0) is None


def test_a_call_that_is_lost_again_and_again_is_given_up_after_growing_waits():
    waits = []
    for tries in range(1, 10):
        again = again_in(CallLost("lost"), call(idempotent=True, tries=tries), 0.0)
        waits.append(again and again[0])
    assert waits == [0.2, 0.4, 0.8, 1.6, None, None, None, None, None]


def test_nothing_is_tried_again_beyond_the_time_limit():
    assert again_in(Busy("a/b.c", "full", 2.0), call(timeout_s=10.0), 7.9) is not None
    assert again_in(Busy("a/b.c", "full", 2.0), call(timeout_s=10.0), 8.0) is None
    assert again_in(CallLost("lost"), call(idempotent=True, timeout_s=1.0), 0.9) is None


@pytest.mark.parametrize(
    "error", [MethodCrashed("a/b.c", "was killed"), CallTimeout("a/b.c", 1.0), ModuleOffline("a/b")]
)
def test_other_errors_stand(error):
    assert again_in(error, call(idempotent=True), 0.0) is None
