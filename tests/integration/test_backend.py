"""A backend in this process, with the broker of a real network."""

from __future__ import annotations

import asyncio
import types

import pytest

import landbridge as lb
from landbridge.backend.expose import exposure
from landbridge.backend.finished import FinishedCall
from landbridge.backend.objects import Objects
from landbridge.backend.service import Backend
from landbridge.hub.serve import access_for_serving, serve
from landbridge.names import Address
from landbridge.protocol import WINDOW, Kind, Outgoing
from landbridge.security import Caller


def exposed():
    module = types.ModuleType("work")
    exec("def add(a: int, b: int) -> int: return a + b\n__all__ = ['add']", vars(module))
    return exposure(module)


def test_a_backend_that_can_no_longer_look_after_its_calls_ends_with_that_error(network, monkeypatch):
    def fails(self, now):
        raise RuntimeError("a tick failed")

    monkeypatch.setattr(Objects, "expire", fails)
    address = Address("awi", "blind")

    async def main():
        stop = asyncio.Event()
        async with asyncio.timeout(60):
            await serve(
                address, exposed(), access_for_serving(address),
                network_owner=True, instance="0" * 32, workers=None, grace_s=1.0,
                ready=lambda backend: None, stop=stop, lost=lambda text: None,
            )  # fmt: skip

    with pytest.raises(RuntimeError, match="a tick failed"):
        asyncio.run(main())


def test_who_connects_once_a_backend_is_ready_finds_its_module(network):
    address = Address("awi", "early")
    found: list[bool] = []

    async def main():
        stop = asyncio.Event()

        def ready(backend):  # the backend does nothing more until this returns
            with lb.connect() as net:
                found.append(hasattr(net, "awi") and hasattr(net.awi, "early"))
            stop.set()

        async with asyncio.timeout(60):
            await serve(
                address, exposed(), access_for_serving(address),
                network_owner=True, instance="1" * 32, workers=None, grace_s=1.0,
                ready=ready, stop=stop, lost=lambda text: None,
            )  # fmt: skip

    asyncio.run(main())
    assert found == [True]


def test_after_a_break_little_is_sent_again_unasked_and_the_latest_first(monkeypatch):
    async def main():
        backend = Backend(Address("awi", "broken"), exposed(), instance="0" * 32)
        backend._loop = asyncio.get_running_loop()
        again: list[str] = []
        monkeypatch.setattr(backend._latecomers, "_publish", lambda subject, parts: again.append(subject))
        for number in range(100):
            out = Outgoing(WINDOW, WINDOW)
            out.counted(Kind.RESULT, {}, [bytes(2**20)], 2**20)
            call = FinishedCall(str(number), Caller("awi", "anna"), str(number), "", out, 2**20, backend._loop.time())
            backend._finished.keep(call)
        backend.reconnected()
        assert again == [str(number) for number in range(99, 92, -1)]

    asyncio.run(main())
