"""One stage for each file of attacks, and what must be true of it after each of them."""

from __future__ import annotations

import pytest

from integration.attacks.stage import MARK, running_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with running_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def mallory(stage):
    """The bare connection of mallory of gfz."""
    tap = stage.mallory.tap()
    yield tap
    tap.flush()
    assert MARK.encode() not in tap.heard
    tap.close()


@pytest.fixture
def colin(stage):
    """The bare connection of colin, a colleague of bob's."""
    tap = stage.colin.tap()
    yield tap
    tap.flush()
    assert MARK.encode() not in tap.heard
    tap.close()


@pytest.fixture
def bob(stage):
    """A bare connection of bob's, by which is seen what arrives for him."""
    tap = stage.bob.tap()
    yield tap
    tap.close()


@pytest.fixture
def unharmed(stage):
    """Nothing has run at awi/stats meanwhile, and bob is served as before."""
    before = stage.ran
    yield before
    assert stage.ran == before
    assert stage.net["awi/stats"].secret() == MARK
