"""Whose turn it is when our own line is full."""

from __future__ import annotations

import asyncio

from landbridge.backend.congestion import Congestion


class Line:
    """Takes one message, and is full until it is told that it has gone."""

    def __init__(self) -> None:
        self.is_full = True
        self.gone = asyncio.Event()

    async def writable(self) -> None:
        await self.gone.wait()
        self.gone.clear()
        self.is_full = False


def test_those_who_wait_go_on_in_turns_each_when_there_is_room():
    async def run() -> list[str]:
        line, went = Line(), []

        def go_on(call: str) -> None:
            went.append(call)
            line.is_full = True
            if len(went) < 4:
                congestion.wait(call)  # it has more to send

        congestion = Congestion(line, go_on)
        for call in ("a", "b", "b"):
            congestion.wait(call)
        for count in range(1, 6):
            assert congestion.is_full
            line.gone.set()
            while len(went) < count and congestion._waiting:
                await asyncio.sleep(0)
        congestion.close()
        return went

    assert asyncio.run(run()) == ["a", "b", "a", "b", "a"]
