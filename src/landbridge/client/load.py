"""Asks the backends of many modules at once how busy they are, over a connection of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..broker import Closed, Connection, Event
from ..broker import Message as Delivered
from ..errors import BrokerUnreachable, Malformed
from ..names import parse_address
from ..protocol import Load, inbox_subject, inbox_subscription, load_subject, unpack_load
from .access import Access

__all__ = ["LoadAnswers", "LoadConnection"]

_BACKENDS_LIMIT = 1000

LoadAnswers = dict[str, dict[str, Load | None]]
"""Module → instance → its load; None when the module shares nothing with whoever asked."""


class LoadConnection:
    """A connection to the network for this one purpose, as an asynchronous context manager.

    Entering raises `BrokerUnreachable` when no broker answers or it refuses the credential.

    Parameters
    ----------
    access : Access
        Which network, and as whom.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._conn_id = secrets.token_hex(16)
        self._open: dict[str, _Question] = {}
        self._settled = asyncio.Event()
        self._closed = ""
        self._connection: Connection

    async def __aenter__(self) -> LoadConnection:
        access = self._access
        self._connection = await Connection.open(
            access.urls,
            user_jwt=access.user_jwt,
            sign=access.sign,
            name=f"landbridge load {access.institute}/{access.person}",
            on_event=self._event,
            urls_now=access.urls_now,
            tls=access.tls,
        )
        await self._connection.subscribe(
            inbox_subscription(access.institute, access.person, self._conn_id), self._arrived
        )
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self._connection.close()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._connection.connected

    async def ask(self, modules: Mapping[str, int], wait_s: float) -> LoadAnswers:
        """Ask modules, and return what their backends answered.

        Parameters
        ----------
        modules : mapping of str to int
            ``institute/module``, and how many backends are expected to answer for it.
        wait_s : float
            How long to wait for those that have not answered.

        Raises
        ------
        BrokerUnreachable
            When the connection has ended for good.
        """
        if self._closed:
            raise BrokerUnreachable(f"The backends cannot be asked any more: {self._closed}")
        access = self._access
        self._open = {secrets.token_hex(16): _Question(name, count) for name, count in modules.items()}
        self._settled.clear()
        for question_id, question in self._open.items():
            owner, module, _ = parse_address(question.module)
            self._connection.publish(
                load_subject(access.institute, access.person, owner, module, question_id),
                reply=inbox_subject(access.institute, access.person, self._conn_id, question_id, 0),
            )
        try:
            async with asyncio.timeout(wait_s):
                while not all(question.settled for question in self._open.values()):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            pass  # what has not answered is missing from the answers
        return {question.module: question.answers for question in self._open.values()}

    def _arrived(self, delivered: Delivered) -> None:
        question = self._open.get(delivered.subject.split(".")[4])
        if question is None:
            return
        if delivered.no_responders:
            question.expected = 0
        elif len(question.answers) < _BACKENDS_LIMIT:
            try:
                instance, load = unpack_load(delivered.payload)
            except Malformed:  # no answer: it is missing, as when there is none
                return
            question.answers[instance] = load
        if question.settled:
            self._settled.set()

    def _event(self, event: Event) -> None:
        if isinstance(event, Closed):
            self._closed = event.reason


@dataclass
class _Question:
    module: str
    expected: int
    answers: dict[str, Load | None] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        return len(self.answers) >= self.expected
