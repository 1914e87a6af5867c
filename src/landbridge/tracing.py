"""W3C Trace Context: which larger piece of work a call belongs to, as tracing systems write it down.

A trace goes with a call in two texts, ``traceparent`` and ``tracestate`` (https://www.w3.org/TR/trace-context/). The
caller takes them from OpenTelemetry's current span, if the program uses OpenTelemetry, else from the call that it
serves itself; the backend gives the call an id of its own below. Nothing here records or sends spans.
"""

from __future__ import annotations

import re
import sys
from contextvars import ContextVar
from typing import NamedTuple, Protocol

__all__ = ["TraceContext", "outgoing_trace", "parse_trace", "serving"]

TRACESTATE_BYTES = 512
"""Longest ``tracestate`` that travels."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACEPARENT_LIMIT = 256  # later versions may be longer than the 55 characters of version 00
_MEMBERS_LIMIT = 32
_MEMBER = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"  # key, or tenant@system
    r"=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)


class TraceContext(NamedTuple):
    """One place in a trace.

    Attributes
    ----------
    trace_id : str
        Id of the whole trace, 32 hexadecimal digits.
    span_id : str
        Id of the piece of work in it that others are below, 16 hexadecimal digits.
    sampled : bool
        Whether the trace is recorded.
    state : str
        ``tracestate``; empty when there is none.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The trace as a text of version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    def child(self, span_id: str) -> TraceContext:
        """Return the place of a piece of work below this one."""
        return self._replace(span_id=span_id)

    def to_meta(self) -> dict[str, str]:
        """Return what goes into the meta of a request."""
        return {"traceparent": self.traceparent} | ({"tracestate": self.state} if self.state else {})


def parse_trace(traceparent: object, tracestate: object = None) -> TraceContext | None:
    """Return the trace that two values from elsewhere say; None when the first is no ``traceparent``.

    What is wrong is dropped, as the recommendation asks: it must never cost somebody a call. A ``tracestate`` that is
    wrong or too long is dropped alone.

    Examples
    --------
    >>> parse_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rojo=1").state
    'rojo=1'
    >>> parse_trace("00-00000000000000000000000000000000-b7ad6b7169203331-01") is None
    True
    """
    if not isinstance(traceparent, str) or len(traceparent) > _TRACEPARENT_LIMIT:
        return None
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, further = found.groups()
    if version == "ff" or (version == "00" and further is not None):
        return None
    if trace_id.count("0") == 32 or span_id.count("0") == 16:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1), _parse_state(tracestate))


def _parse_state(text: object) -> str:
    """Return a ``tracestate`` without empty members and needless spaces; empty when anything in it is wrong."""
    if not isinstance(text, str) or len(text) > TRACESTATE_BYTES:
        return ""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in found if match is not None}
    return ",".join(members) if len(keys) == len(members) <= _MEMBERS_LIMIT else ""


class _Serves(Protocol):
    @property
    def trace(self) -> TraceContext | None: ...


serving: ContextVar[_Serves | None] = ContextVar("landbridge_current_call", default=None)
"""The call that the running code serves; None at home. What it calls in turn is part of the same trace."""


def outgoing_trace() -> TraceContext | None:
    """Return the trace that a call made now is part of; None when there is none."""
    call = serving.get()
    return _opentelemetry_trace() or (call.trace if call is not None else None)


def _opentelemetry_trace() -> TraceContext | None:
    api = sys.modules.get("opentelemetry.trace")  # never imported by us
    if api is None:
        return None
    try:
        context = api.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        flags = int(context.trace_flags) & 1
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
        return parse_trace(parent, context.trace_state.to_header())
    except Exception:  # a version of it that we do not know must not cost the call
        return None
