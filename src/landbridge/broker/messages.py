"""A message as it comes, and the interest in a subject that brings it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .natsclient import NatsClient

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
    """Interest in a subject, kept over reconnects until `unsubscribe`."""

    __slots__ = ("_client", "_number", "subject")

    def __init__(self, client: NatsClient, number: int, subject: str) -> None:
        self._client, self._number, self.subject = client, number, subject

    async def unsubscribe(self) -> None:
        """End it: from the call on nothing is delivered. A second time does nothing."""
        self._client.unlisten(self._number)

    async def drain(self, flush: Callable[[], Awaitable[None]]) -> None:
        """End it once what the broker had already sent has been delivered."""
        self._client.stop_asking(self._number)
        try:
            await flush()
        finally:
            self._client.callbacks.pop(self._number, None)


def is_one_word(text: str) -> bool:
    """Return whether `text` cannot break out of its place in a line of the protocol."""
    return text != "" and text.isascii() and text.isprintable() and " " not in text
