"""Errors ↔ the meta of an ERROR message. What crosses is code, text and fields; a traceback never does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import (
    RAISED_BUILTINS,
    Busy,
    CallCancelled,
    CallLost,
    CallTimeout,
    CannotTravel,
    DatasetChanged,
    InternalError,
    InvalidArguments,
    LandbridgeError,
    Malformed,
    MethodCrashed,
    ModuleOffline,
    ObjectGone,
    PermissionDenied,
    Problem,
    ProtocolMismatch,
    RemoteError,
    TooLarge,
    UnknownMember,
    printable,
    remote_error,
)
from .messages import MOST_PROGRESS

__all__ = ["error_to_meta", "meta_to_error", "raised_to_meta"]

_TEXT_LIMIT = 8000
_PROBLEMS_LIMIT = 50
# A message holds 65,535 bytes of meta, and a character has up to four: the text of 8,000 leaves half of them.
_PROBLEMS_BYTES = 30_000
_FIELD_LIMIT = 200

# Errors that a backend may send whole: the class is chosen by code, from this table only.
_BY_CODE: dict[str, type[LandbridgeError]] = {
    cls.code: cls
    for cls in (
        Busy, CallCancelled, CallLost, CallTimeout, CannotTravel, DatasetChanged, InternalError, InvalidArguments,
        Malformed, MethodCrashed, ModuleOffline, ObjectGone, PermissionDenied, ProtocolMismatch, RemoteError, TooLarge,
        UnknownMember,
    )
}  # fmt: skip

# What programs read of these errors, beyond the text. The caller knows its target itself.
_FIELDS: dict[type[LandbridgeError], tuple[str, ...]] = {
    Busy: ("reason", "retry_after_s"),
    CallCancelled: ("state",),
    CallTimeout: ("timeout_s", "by_owner"),
    CannotTravel: ("where", "reason"),
    Malformed: ("reason",),
    MethodCrashed: ("how",),
    ModuleOffline: ("module",),
    ObjectGone: ("why",),
    ProtocolMismatch: ("ours", "theirs"),
    TooLarge: ("size_bytes", "limit_bytes"),
    UnknownMember: ("module", "member", "suggestion"),
}
_NUMBERS = frozenset({"retry_after_s", "timeout_s", "size_bytes", "limit_bytes"})


def error_to_meta(error: LandbridgeError) -> dict[str, Any]:
    """Return the meta of an ERROR message for one of our own errors."""
    if isinstance(error, RemoteError):
        builtin = next((cls.__name__ for cls in type(error).__mro__ if RAISED_BUILTINS.get(cls.__name__) is cls), None)
        return raised_to_meta(error.type_name, error.remote_text, builtin, error.incident)
    meta: dict[str, Any] = {"code": error.code, "text": printable(str(error), _TEXT_LIMIT)}
    if isinstance(error, InvalidArguments):
        meta["problems"] = _listed(error.problems)
    if isinstance(error, InternalError):
        meta["incident"] = printable(error.incident, 40)
    for name in _FIELDS.get(type(error), ()):
        value = getattr(error, name, None)
        if isinstance(value, (str, int, float)):
            meta[name] = printable(value, _FIELD_LIMIT) if isinstance(value, str) else value
    return meta


def raised_to_meta(type_name: str, text: str, builtin: str | None, incident: str) -> dict[str, Any]:
    """Return the meta of an ERROR message for an exception that the method raised."""
    meta = {
        "code": RemoteError.code,
        "text": printable(text, 4000),
        "type": printable(type_name, 100),
        "incident": printable(incident, 40),
    }
    if builtin is not None:
        meta["builtin"] = builtin
    return meta


def meta_to_error(meta: dict[str, Any], target: str) -> LandbridgeError:
    """Return the error that an ERROR message stands for; its meta is believed in nothing but text.

    Parameters
    ----------
    meta : dict
        As received.
    target : str
        ``institute/module.method``, from the caller's own knowledge.
    """
    code, text = meta.get("code"), printable(_text(meta, "text"), _TEXT_LIMIT)
    incident = printable(_text(meta, "incident"), 40)
    cls = _BY_CODE.get(code) if isinstance(code, str) else None
    if cls is RemoteError:
        builtin = meta.get("builtin")
        return remote_error(
            target, _text(meta, "type") or "Exception", text, incident, builtin if isinstance(builtin, str) else None
        )
    if cls is InvalidArguments:
        return InvalidArguments(target, _problems(meta))
    if cls is None or cls is InternalError:
        return InternalError(text or f"{target} failed without saying why.", incident)
    # Their constructors build texts from fields that are known at the other side only; the text came along.
    error = cls.__new__(cls, text)
    error.args = (text,)
    for name in _FIELDS.get(cls, ()):
        value = meta.get(name)
        if name in _NUMBERS:
            setattr(error, name, _number(value))
        else:
            setattr(error, name, printable(value, _FIELD_LIMIT) if isinstance(value, str) else None)
    if isinstance(error, CallTimeout):
        error.by_owner = meta.get("by_owner") is True
    if isinstance(error, CallCancelled) and error.state not in ("stopped", "stopping", "running"):
        error.state = "stopping"
    if isinstance(error, CallTimeout | CallCancelled | DatasetChanged | MethodCrashed | ObjectGone):
        error.target = target
    return error


def _text(meta: dict[str, Any], name: str) -> str:
    value = meta.get(name, "")
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    # NaN, infinity and what is below zero are no seconds and no bytes: whoever waits for so long would fail.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MOST_PROGRESS:
        return None
    return value


def _listed(problems: Sequence[Problem]) -> list[list[str]]:
    listed: list[list[str]] = []
    room = _PROBLEMS_BYTES
    for problem in problems[:_PROBLEMS_LIMIT]:
        pair = [printable(problem.where, 200), printable(problem.message, 500)]
        room -= sum(len(text.encode()) + 8 for text in pair)
        if room < 0:
            break
        listed.append(pair)
    return listed


def _problems(meta: dict[str, Any]) -> list[Problem]:
    listed = meta.get("problems")
    pairs = listed[:_PROBLEMS_LIMIT] if isinstance(listed, list) else []
    return [
        Problem(printable(pair[0], 200), printable(pair[1], 500))
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
    ]
