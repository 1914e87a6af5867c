"""Answers to callers who come back for a call that has ended: what was sent last, as long as it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import wire
from ..errors import CallLost, Malformed
from ..protocol import ANYONE, SILENCE_S, ControlSubject, Kind, Message, error_to_meta, pack
from ..security import Caller
from .finished import Finished, FinishedCall

__all__ = ["Latecomers"]

Parts = Sequence[bytes | memoryview]

_AGAIN_BYTES = 8 * 1024 * 1024
"""How much is sent again unasked when the connection was down. It has most likely arrived; whoever misses more asks."""


class Latecomers:
    """Sends again what callers may not have got.

    Parameters
    ----------
    module, instance : str
        The backend.
    finished : Finished
        The calls that have ended.
    publish : callable
        Sends one message: ``publish(subject, parts)``.
    publish_part : callable
        Sends one part of a long value, the same way.
    learn_rate : callable
        Told how many bytes in a second the line to a caller carries.
    """

    def __init__(
        self,
        module: str,
        instance: str,
        finished: Finished,
        publish: Callable[[str, Parts], None],
        publish_part: Callable[[str, Parts], None],
        learn_rate: Callable[[Caller, float], None],
    ) -> None:
        self._module, self._instance, self._finished = module, instance, finished
        self._publish, self._publish_part, self._learn_rate = publish, publish_part, learn_rate

    def reconnected(self, now: float) -> None:
        """Send what may have gone into a connection that was dead already. Whoever has it ignores it."""
        room = _AGAIN_BYTES
        for finished in self._finished.since(now - SILENCE_S):
            for parts in finished.out.kept:
                room -= wire.size_bytes(parts)
                if room < 0:
                    return
                self._publish(finished.reply, parts)

    def lane_opened(self, now: float) -> None:
        """Send parts that may have gone into a lane that was dead already."""
        for finished in self._finished.since(now - SILENCE_S):
            if finished.out.bulk is not None:
                finished.out.bulk.again()
                self._send_parts(finished, now)

    def answer(self, caller: Caller, subject: ControlSubject, reply: str, beat: Message, now: float) -> None:
        """Answer a BEAT for a call that has ended: with what was sent last, if its caller has not got it."""
        finished = self._finished.find(subject.call_id, caller)
        if finished is None:
            if subject.instance != ANYONE:
                lost = CallLost(
                    f"The backend of {self._module} does not know this call any more: it was started anew, or the call "
                    "ended long ago. The method may have run, partly, wholly or not at all. Call again if that does no "
                    "harm."
                )
                # Numbered as the message that is due, or it would count as one that has come already.
                self._publish(reply, [pack(Kind.ERROR, beat.meta.get("next", 0), error_to_meta(lost))])
            return
        out = finished.out
        if "bulk_granted" in beat.meta:
            finished.lane_reply = reply
        try:
            again = out.heard(beat.meta, now) or out.again(now)
        except Malformed:
            self._finished.drop(subject.call_id)
            return
        if rate := out.measured():
            self._learn_rate(caller, rate)
        for parts in again:
            self._publish(finished.reply, parts)
        self._send_parts(finished, now)
        if out.keeps:
            self._publish(finished.reply, out.uncounted(Kind.BEAT, {"instance": self._instance}))
        else:
            self._finished.drop(subject.call_id)

    def _send_parts(self, finished: FinishedCall, now: float) -> None:
        for parts in finished.out.take_bulk(now):
            self._publish_part(finished.lane_reply, parts)
