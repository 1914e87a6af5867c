"""What is shown of a call while a thread waits for it: a line in a terminal, a card in a notebook, or nothing.

Only the waiting thread draws: what it writes belongs to the cell or terminal that waits, and Ctrl-C reaches it.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from ..terminal import Bar, terminal

if TYPE_CHECKING:
    from .call import Call

__all__ = ["View", "shown"]


class View:
    """Shows nothing; the others show something.

    Attributes
    ----------
    refresh_s : float or None
        How often `look` wants to be called at least, in seconds; None if only when something has happened.
    """

    refresh_s: float | None = None

    def __init__(self, call: Call) -> None:
        self._call = call

    def follow(self, call: Call) -> None:
        """Show another call from now on, in the same place."""
        self._call = call

    def look(self) -> None:
        """Show how the call stands now."""

    def pause(self) -> None:
        """Get out of the way of what others are about to write."""

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave behind what is to stay."""


class _Line(View):
    """A line in a terminal, gone when the wait is over."""

    refresh_s = 0.5

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._bar = Bar(call.target.rpartition(".")[2])

    def look(self) -> None:
        call = self._call
        if call.notice:
            self._bar.say(call.notice)
        elif call.queue_place:
            self._bar.say(f"in queue, place {call.queue_place}")
        elif call.progress is not None:
            self._bar.update(call.progress.done, call.progress.total, call.progress.label or None)

    def pause(self) -> None:
        self._bar.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def shown(call: Call) -> View:
    """Return what shows a call to whoever waits for it here."""
    if "IPython.core.interactiveshell" in sys.modules:
        from .card import Card, is_notebook

        if is_notebook():
            return Card(call)
    return View(call) if terminal() is None else _Line(call)
