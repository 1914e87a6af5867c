"""Errors as programs and people meet them."""

from __future__ import annotations

import copy
import pickle

import pytest

from landbridge.errors import RAISED_BUILTINS, CallTimeout, RemoteError, remote_error
from landbridge.protocol import Kind, Responder, Send, meta_to_error, pack, unpack
from landbridge.protocol.stream import WINDOW

CONNECTION = ["ConnectionError", "BrokenPipeError", "ConnectionAbortedError", "ConnectionRefusedError",
              "ConnectionResetError"]  # fmt: skip


@pytest.mark.parametrize("name", [*CONNECTION, "BlockingIOError", "ChildProcessError", "ProcessLookupError"])
def test_builtin_errors_of_the_system_are_raised_as_themselves(name):
    assert name in RAISED_BUILTINS
    with pytest.raises(OSError, match="no route"):
        raise remote_error("awi/sea.depth", name, "no route", "a1b2", name)


@pytest.mark.parametrize("name", sorted(RAISED_BUILTINS))
def test_every_listed_builtin_can_be_raised_and_pickled(name):
    error = remote_error("awi/sea.depth", name, "text", "a1b2", name)
    for again in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert isinstance(again, RemoteError)
        assert isinstance(again, RAISED_BUILTINS[name])
        assert again.remote_text == "text"
        assert str(again) == str(error)


def test_a_time_limit_says_whose_it_was_and_what_to_do():
    own, owners = CallTimeout("awi/sea.depth", 2.5), CallTimeout("awi/sea.depth", 2.5, by_owner=True)
    assert (own.by_owner, owners.by_owner) == (False, True)
    assert "Raise it (.options(timeout_s=...)" in str(own)
    assert "to which its owner limits calls" in str(owners)
    assert "ask the owner" in str(owners)
    assert "options" not in str(owners)


@pytest.mark.parametrize("by_owner", [False, True])
def test_a_time_limit_can_be_pickled(by_owner):
    error = CallTimeout("awi/sea.depth", 2.5, by_owner)
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error) == {"target": "awi/sea.depth", "timeout_s": 2.5, "by_owner": by_owner}
    assert str(again) == str(error)


@pytest.mark.parametrize(
    ("callers", "owners", "by_owner"),
    [(5, None, False), (5, 9.0, False), (5, 3.0, True), (5, 5.0, True), (None, 3.0, True)],
)
def test_the_caller_learns_whose_time_limit_passed(callers, owners, by_owner):
    meta = {"granted": WINDOW} if callers is None else {"granted": WINDOW, "timeout_s": callers}
    responder = Responder("awi/sea.depth", "0" * 32, interruptible=True, limit_s=owners)
    responder.opened(unpack(pack(Kind.CALL, 0, meta)), 100.0)
    answer = next(action for action in responder.tick(110.0) if isinstance(action, Send))
    error = meta_to_error(unpack(b"".join(answer.parts)).meta, "awi/sea.depth")
    assert isinstance(error, CallTimeout)
    assert error.by_owner is by_owner
    assert error.timeout_s == min(limit for limit in (callers, owners) if limit is not None)
    assert ("its owner limits calls" in str(error)) is by_owner


@pytest.mark.parametrize("sent", [{}, {"by_owner": "yes"}, {"by_owner": 1}, {"by_owner": None}])
def test_a_time_limit_is_the_callers_own_unless_the_answer_says_otherwise(sent):
    assert meta_to_error({"code": "timeout", "timeout_s": 3.0, **sent}, "awi/sea.depth").by_owner is False
