"""A message as it comes, and the interest in a subject that brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Message", "Subscription", "is_one_word"]


class Message(NamedTuple):
    """One message as it came; headers say nothing here and are left out.

    Attributes
    ----------
    subject : str
        Where it was sent to; the broker vouches that the sender was allowed to.
    reply : str
        Where the sender wants the answer; the broker does not check it.
    payload : bytes
        Its content.
    no_responders : bool
        True when the broker says that nobody subscribed to what was published with this reply. A hint only: whoever
        may publish here can say the same.
    """

    subject: str
    reply: str
    payload: bytes
    no_responders: bool


class Subscription:
    """Interest in a subject, kept over reconnects until `unsubscribe`.

    Parameters
    ----------
    subject : str
        Whose messages come.
    stop_asking : callable
        Has the broker send no more of them.
    forget : callable
        Has none be delivered any more.
    """

    __slots__ = ("_forget", "_stop_asking", "subject")

    def __init__(self, subject: str, stop_asking: Callable[[], object], forget: Callable[[], object]) -> None:
        self.subject, self._stop_asking, self._forget = subject, stop_asking, forget

    async def unsubscribe(self) -> None:
        """End it: from the call on nothing is delivered. A second time does nothing."""
        self._stop_asking()
        self._forget()

    async def drain(self, flush: Callable[[], Awaitable[None]]) -> None:
        """End it once what the broker had already sent has been delivered."""
        self._stop_asking()
        try:
            await flush()
        finally:
            self._forget()


def is_one_word(text: str) -> bool:
    """Return whether `text` cannot break out of its place in a line of the protocol."""
    return text != "" and text.isascii() and text.isprintable() and " " not in text
