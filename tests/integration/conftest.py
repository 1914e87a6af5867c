"""A network that the tests of a file share, and one for tests that break it."""

from __future__ import annotations

import pytest

import landbridge as lb
from network import running_network


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with running_network(tmp_path_factory.mktemp("network")) as network:
        yield network


@pytest.fixture
def own_network(tmp_path):
    with running_network(tmp_path) as network:
        yield network


@pytest.fixture(scope="module")
def net(network):
    with lb.connect() as net:
        yield net
