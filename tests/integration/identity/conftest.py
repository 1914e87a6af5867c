from __future__ import annotations

import asyncio
import contextlib
import secrets
import time

import pytest

from integration.identity.attacker import RawClient
from landbridge.broker import ServerConfig, start_server
from landbridge.hub import NetworkKeys, mint


class Network:
    """A running broker, its keys, and clients that are closed at the end."""

    def __init__(self, directory, stack):
        self.directory, self._stack = directory, stack
        keys = NetworkKeys.create(secrets.token_bytes, now=int(time.time()))
        for institute in ("awi", "gfz", "lb", "local"):
            keys = keys.add_institute(institute, secrets.token_bytes, now=int(time.time()))
        keys.save(directory)
        self.server = None
        self.start()

    def start(self):
        keys = self.keys
        config = ServerConfig(
            operator_jwt=keys.operator_jwt(),
            system_account=keys.system.public,
            accounts=keys.account_jwts(),
            directory=self.directory / "broker",
        )
        self.server = self._stack.enter_context(start_server(config))

    @property
    def keys(self):
        return NetworkKeys.load(self.directory)

    @property
    def url(self):
        return self.server.url

    def issue(self, institute, person, *modules):
        return asyncio.run(
            mint(
                self.directory,
                institute,
                person,
                modules,
                now=int(time.time()),
                random=secrets.token_bytes,
                urls=[self.url],
            )
        )

    def client(self, institute, person, *modules):
        return self.client_of(self.issue(institute, person, *modules))

    def client_of(self, credentials):
        client = RawClient.of(self.url, credentials)
        self._stack.callback(client.close)
        return client


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Network(tmp_path_factory.mktemp("network"), stack)


@pytest.fixture
def own_network(tmp_path):
    """A network that the test may change or stop."""
    with contextlib.ExitStack() as stack:
        yield Network(tmp_path, stack)
