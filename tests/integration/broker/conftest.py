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
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def network(tmp_path) -> Network:
    return Network(tmp_path / "broker")


@pytest.fixture
def server(network):
    with start_server(network.config()) as server:
        yield server
