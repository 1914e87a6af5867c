"""Errors on their way through an ERROR message: what arrives, and what cannot be forged."""

from __future__ import annotations

import pickle

import pytest

from landbridge.errors import (
    CallCancelled,
    CallLost,
    CallTimeout,
    CannotTravel,
    InternalError,
    InvalidArguments,
    Malformed,
    ModuleOffline,
    NotConfigured,
    PermissionDenied,
    Problem,
    ProtocolMismatch,
    RemoteError,
    TooLarge,
    UnknownMember,
)
from landbridge.protocol import Kind, error_to_meta, meta_to_error, pack, raised_to_meta, unpack

TARGET = "geomar/ocean.climatology"


def across(meta: dict) -> Exception:
    """Return what the caller gets, through the real bytes."""
    return meta_to_error(unpack(pack(Kind.ERROR, 0, meta)).meta, TARGET)


OURS = [
    CallCancelled(TARGET, "running"),
    CallLost("The backend was stopped."),
    CallTimeout(TARGET, 2.5),
    CannotTravel("result[0]", "it is a generator"),
    InternalError("A bug.", "a1b2"),
    Malformed("noise"),
    ModuleOffline("geomar/ocean"),
    PermissionDenied("awi/bob may not call this."),
    ProtocolMismatch("1.0", "1.4"),
    TooLarge("The result", 9_000_000, 8_388_608, "Return less"),
    UnknownMember("geomar/ocean", "climatolgy", "climatology"),
    UnknownMember("geomar/ocean", "nothing"),
]


@pytest.mark.parametrize("error", OURS)
def test_our_errors_arrive_with_class_text_and_fields(error):
    arrived = across(error_to_meta(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    for name, value in vars(error).items():
        assert getattr(arrived, name) == value
    assert str(pickle.loads(pickle.dumps(arrived))) == str(error)


def test_all_problems_of_the_arguments_arrive():
    problems = [Problem("first", "must be an integer, not 'x'"), Problem("region.west", "is missing")]
    arrived = across(error_to_meta(InvalidArguments("other/name.there", problems)))
    assert isinstance(arrived, InvalidArguments)
    assert list(arrived.problems) == problems
    assert arrived.target == TARGET


@pytest.mark.parametrize("letter", ["x", "ß", "海", "🌊", "\x00"])
def test_problems_and_texts_of_any_length_fit_a_message(letter):
    problems = [Problem(letter * 300, letter * 1_000)] * 200
    arrived = across(error_to_meta(InvalidArguments(TARGET, problems)))
    assert 5 <= len(arrived.problems) <= 50
    across(raised_to_meta("E" * 1_000, letter * 100_000, "KeyError", letter * 100))
    across(error_to_meta(UnknownMember("geomar/ocean", letter * 5_000, letter * 5_000)))
    across(error_to_meta(InternalError(letter * 100_000, letter * 1_000)))


def test_an_error_that_no_backend_sends_arrives_as_an_internal_one():
    arrived = across(error_to_meta(NotConfigured("no credentials in /home/anna")))
    assert type(arrived) is InternalError


def test_a_raised_exception_is_also_the_builtin():
    arrived = across(raised_to_meta("MissingVariable", "'sst'", "KeyError", "a1b2"))
    assert isinstance(arrived, RemoteError)
    assert isinstance(arrived, KeyError)
    assert (arrived.type_name, arrived.remote_text, arrived.incident) == ("MissingVariable", "'sst'", "a1b2")
    assert TARGET in str(arrived)


@pytest.mark.parametrize(
    "builtin", ["SystemExit", "KeyboardInterrupt", "StopIteration", "object", "type", "", "eval", None]
)
def test_only_listed_builtins_are_raised(builtin):
    arrived = across(raised_to_meta("X", "text", builtin, "a1b2"))
    assert type(arrived) is RemoteError


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"code": None},
        {"code": ["denied"]},
        {"code": {"denied": 1}},
        {"code": "unknown"},
        {"code": "LandbridgeError"},
        {"code": "internal", "text": 5, "incident": [1]},
        {"code": "remote_error", "text": None, "type": 3, "builtin": ["KeyError"], "incident": {}},
        {"code": "invalid_arguments", "problems": "all of them"},
        {"code": "invalid_arguments", "problems": [1, [], ["a"], ["a", 2], ["a", "b", "c"], {"a": "b"}, None]},
        {"code": "too_large", "size_bytes": "many", "limit_bytes": [1]},
        {"code": "timeout", "timeout_s": None},
        {"code": "cancelled", "state": 5},
        {"code": "busy", "reason": "x", "retry_after_s": float("nan")},
        {"code": "busy", "reason": "x", "retry_after_s": float("inf")},
        {"code": "unknown_member", "module": {"a": 1}, "suggestion": True},
    ],
)
def test_a_hostile_meta_gives_an_error_with_text(meta):
    arrived = meta_to_error(meta, TARGET)
    assert isinstance(str(arrived), str)
    assert isinstance(repr(arrived), str)
    pickle.dumps(arrived)


def test_text_from_elsewhere_is_printable_and_bounded():
    evil = "\x1b]0;pwned\x07\u202e" + "x" * 100_000
    for meta in (
        {"code": "denied", "text": evil},
        {"code": "remote_error", "text": evil, "type": evil, "incident": evil},
        {"code": "invalid_arguments", "problems": [[evil, evil]] * 100},
        {"code": "unknown_member", "text": evil, "member": evil},
    ):
        arrived = meta_to_error(meta, TARGET)
        shown = str(arrived) + str(vars(arrived))
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
        assert len(shown) < 80_000


def test_the_target_is_the_callers_own_knowledge():
    arrived = across(error_to_meta(CallTimeout("evil/module.method", 3.0)))
    assert arrived.target == TARGET


@pytest.mark.parametrize("never", [float("nan"), float("inf"), -1, 1 << 61, True, "5"])
def test_a_number_that_nobody_can_wait_for_is_left_out(never):
    meta = {"code": "busy", "text": "x", "retry_after_s": never}
    assert meta_to_error(meta, TARGET).retry_after_s is None


def test_a_state_that_is_none_is_not_believed():
    error = meta_to_error({"code": "cancelled", "text": "x", "state": "__x__"}, "a/b.c")
    assert error.state == "stopping"
