"""Fixtures of the broker's tests; a test that is a coroutine runs in a loop of its own."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from integration.broker.support import Network
from landbridge.broker import start_server


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    problems = []

    async def run() -> None:
        # What goes wrong in a callback of asyncio's is nobody's exception, and would only be logged.
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    assert problems == []
    return True


@pytest.fixture
def network(tmp_path) -> Network:
    return Network(tmp_path / "broker")


@pytest.fixture
def server(network):
    with start_server(network.config()) as server:
        yield server
