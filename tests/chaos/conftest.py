"""A network for tests that break it."""

from __future__ import annotations

import pytest

from network import running_network


@pytest.fixture
def own_network(tmp_path):
    with running_network(tmp_path) as network:
        yield network
