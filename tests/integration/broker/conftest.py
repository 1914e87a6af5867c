"""Fixtures of the broker's tests.

A test that is a coroutine runs in a loop of its own: twice, as its connections are read by the loop of a caller, and by
threads beside the loop of a backend (see `connected`).
"""

from __future__ import annotations

import asyncio
import inspect

import pytest

from integration.broker.support import Network
from landbridge.broker import SharedLoop, start_server


def pytest_generate_tests(metafunc):
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("read_by")
        metafunc.parametrize("read_by", ["its loop", "a thread"])


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

    in_thread = pyfuncitem.callspec.params["read_by"] == "a thread"
    with asyncio.Runner(loop_factory=SharedLoop if in_thread else None) as runner:
        runner.run(run())
    assert problems == []
    return True


@pytest.fixture
def network(tmp_path) -> Network:
    return Network(tmp_path / "broker")


@pytest.fixture
def server(network):
    with start_server(network.config()) as server:
        yield server
