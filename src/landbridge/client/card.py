"""The card of a call in a notebook: where it stands, how far it is, what it says, and how it ended."""

from __future__ import annotations

import os
import time
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import CallCancelled, printable
from ..protocol import Progress
from .html import Html, element, page
from .watching import View

if TYPE_CHECKING:
    from .call import Call

__all__ = ["Card", "call_html", "call_text", "is_notebook", "span_text"]

_REFRESH_S = 0.2
_SHORT_S = 0.5
"""A call that ends sooner shows no card."""

_SETTLE_S = 0.5
_LOG_LINES_SHOWN = 5
_LINE_CHARS = 300
# A forked child holds a copy of the kernel, whose sockets belong to the parent.
_pid = os.getpid()


def is_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    from IPython.core.getipython import get_ipython

    return hasattr(get_ipython(), "kernel") and os.getpid() == _pid


def span_text(seconds: float) -> str:
    """Return a length of time for people.

    Examples
    --------
    >>> span_text(0.42), span_text(12.3), span_text(200), span_text(7500)
    ('0.4 s', '12 s', '3 min 20 s', '2 h 5 min')
    """
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(min(seconds, 1e9))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _size_text(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def state_text(call: Call) -> str:
    """Return where a call stands, in words."""
    state = call.state
    if state == "running" and call.notice:
        return call.notice
    if state == "running" and call.queue_place:
        return f"in queue, place {call.queue_place}"
    if state == "stopping":
        return "interrupted; the backend was asked to stop"
    if state == "cancelled" and isinstance(call.error, CallCancelled):
        became = {"stopped": "the remote work has stopped", "running": "its code runs on at the backend"}
        return f"cancelled; {became.get(call.error.state, 'the backend was asked to stop')}"
    return state


def _progress_text(progress: Progress) -> str:
    label = f"{progress.label} " if progress.label else ""
    return f"{label}{progress.done:g}" + (f"/{progress.total:g}" if progress.total else "")


def call_text(call: Call) -> str:
    """Return the card as one line of plain text."""
    parts = [f"{call.target}: {state_text(call)}"]
    if call.progress is not None:
        parts.append(_progress_text(call.progress))
    return " ".join(printable(", ".join([*parts, span_text(call.seconds)]), _LINE_CHARS).split())


def call_html(call: Call) -> str:
    """Return the card of a call as it stands now."""
    state, progress, left_s = call.state, call.progress, call.seconds_left
    mark = {"done": "online", "failed": "offline", "cancelled": "offline"}.get(state, "faint")
    parts = [element("div", element("b", call.target), "  ", element("span", state_text(call), class_=mark))]
    facts = [span_text(call.seconds)]
    if progress is not None:
        if progress.total:
            share = min(progress.done / progress.total, 1.0)
            parts.append(element("progress", f"{share:.0%}", value=f"{share:.4f}", max="1"))
        facts.insert(0, _progress_text(progress))
    if left_s is not None:
        facts.append(f"about {span_text(left_s)} left")
    saved = f" ({_size_text(call.bytes_saved)} saved by compression)" if call.bytes_saved else ""
    facts.append(f"{_size_text(call.bytes_sent)} sent, {_size_text(call.bytes_received)} received{saved}")
    parts.append(element("div", " · ".join(facts), class_="faint"))
    if call.log_lines:
        # Copied in one step, as the I/O thread adds lines meanwhile.
        last = list(islice(reversed(call.log_lines.copy()), _LOG_LINES_SHOWN))[::-1]
        parts.append(element("pre", *(element("div", f"{text}", limit=_LINE_CHARS) for _, text in last)))
    if call.error is not None and state == "failed":
        parts.append(Html(call.error._repr_html_()))
    return page(*parts)


class Card(View):
    """A card below the cell that waits; what it says last stays in the notebook, also when that is exported."""

    refresh_s = _REFRESH_S

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._since = time.monotonic()
        self._written = 0.0
        self._handle: Any = None
        self._is_broken = False

    def look(self) -> None:
        """Renew the card, five times a second at most, and not before the call has taken a moment."""
        now = time.monotonic()
        if now - self._since >= _SHORT_S and now - self._written >= _REFRESH_S:
            self._written = now
            self._write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._write(settle_s=_SETTLE_S)

    def _write(self, settle_s: float = 0.0) -> None:
        if self._is_broken:
            return
        try:
            if self._call.state == "stopping":
                self._call._wait_for_end(settle_s)  # what became of the work is worth a moment
            bundle = {"text/html": call_html(self._call), "text/plain": call_text(self._call)}
            if self._handle is None:
                from IPython.display import display

                self._handle = display(bundle, raw=True, display_id=True)
            else:
                self._handle.update(bundle, raw=True)
        except Exception:  # the notebook has gone, or does not do as others: the work that the card tells of goes on
            self._is_broken = True
