"""Answers those who ask how busy this backend is: callers (`protocol.load`) and the tools of NATS (``$SRV``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ..broker import Connection
from ..broker import Message as Delivered
from ..errors import Malformed
from ..names import Address
from ..protocol import (
    Endpoint,
    Service,
    check_reply,
    check_tool_reply,
    load_subscription,
    pack_load,
    parse_load,
    service_answer,
    service_subscriptions,
)
from ..security import Caller
from .metrics import Metrics, load_of

__all__ = ["answer_questions"]


async def answer_questions(
    connection: Connection,
    address: Address,
    summary: str,
    metrics: Callable[[], Metrics],
    *,
    visible: Callable[[Caller], Iterable[str]],
    public: Callable[[], Iterable[str]],
    publish: Callable[[str, Sequence[bytes | memoryview]], object],
    dropped: Callable[[str], object],
) -> None:
    """Answer on `connection` from now on.

    Parameters
    ----------
    connection : Connection
        With a credential that may serve the module.
    address : Address
        ``institute/module``.
    summary : str
        One line about the module.
    metrics : callable
        Gives what is counted.
    visible : callable
        Gives the methods that somebody may call; of others they hear nothing.
    public : callable
        Gives the methods that everybody may call: tools do not say who asks, and hear of no others.
    publish : callable
        Sends the parts of one message to a subject.
    dropped : callable
        Told the reason when a question is dropped, because nothing may be sent where its answer is wanted.
    """

    def load_asked(delivered: Delivered) -> None:
        try:
            asked = parse_load(delivered.subject)
            check_reply(delivered.reply, asked.institute, asked.person, asked.question_id)
        except Malformed as error:
            dropped(error.reason)
            return
        now = metrics()
        counts = [now.methods[name] for name in visible(Caller(asked.institute, asked.person))]
        publish(delivered.reply, [pack_load(now.instance, load_of(counts) if counts else None)])

    def tool_asked(verb: str, delivered: Delivered) -> None:
        try:
            reply = check_tool_reply(delivered.reply)
        except Malformed as error:
            dropped(error.reason)
            return
        publish(reply, [service_answer(verb, _service(address, summary, metrics(), set(public())))])

    owner, module = address.institute, address.module
    await connection.subscribe(load_subscription(owner, module), load_asked)
    for subject, verb in service_subscriptions(owner, module, metrics().instance).items():
        await connection.subscribe(subject, partial(tool_asked, verb))


def _service(address: Address, summary: str, metrics: Metrics, public: set[str]) -> Service:
    endpoints = tuple(
        Endpoint(
            name, counts.begun, counts.errors, counts.last_error, counts.seconds, counts.running, counts.waiting
        )
        for name, counts in metrics.methods.items()
        if name in public
    )  # fmt: skip
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(metrics.started))
    about, version = (summary, metrics.version) if public else ("", "")
    return Service(address.institute, address.module, metrics.instance, version, about, started, endpoints)
