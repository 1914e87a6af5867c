"""Objects of callers at a backend: whose they are, how long they live, how many there may be."""

from __future__ import annotations

import threading

import pytest

from landbridge.backend import objects as module
from landbridge.backend.objects import OBJECTS_EACH, Objects
from landbridge.backend.offer import Served
from landbridge.backend.running import Style
from landbridge.contract import read_module
from landbridge.errors import Busy, ObjectGone
from landbridge.protocol import LEASE_S
from landbridge.security import Caller

ANNA, EVE = Caller("awi", "anna"), Caller("gfz", "eve")
INSTANCE = "0" * 32


@pytest.fixture
def objects():
    return Objects("geomar/grids", INSTANCE)


def test_an_object_is_found_by_its_caller_and_by_nobody_else(objects):
    value = object()
    made = objects.keep(value, "Grid", ANNA, 0.0)
    assert made["instance"] == INSTANCE
    assert objects.find(made["object"], ANNA, "cells", 1.0).value is value
    with pytest.raises(ObjectGone):
        objects.find(made["object"], EVE, "cells", 1.0)


def test_whoever_guesses_is_told_the_same_whether_there_is_an_object_or_not(objects):
    made = objects.keep(object(), "Grid", ANNA, 0.0)
    texts = set()
    for object_id in (made["object"], "f" * 32):
        with pytest.raises(ObjectGone) as caught:
            objects.find(object_id, EVE, "cells", 1.0)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_ids_cannot_be_guessed(objects):
    ids = {objects.keep(object(), "Grid", ANNA, 0.0)["object"] for _ in range(OBJECTS_EACH)}
    assert len(ids) == OBJECTS_EACH
    assert all(len(object_id) == 32 for object_id in ids)


def test_a_lease_ends_when_it_is_not_renewed_and_each_use_renews_it(objects):
    idle, used = (objects.keep(object(), "Grid", ANNA, 0.0)["object"] for _ in range(2))
    objects.find(used, ANNA, "cells", LEASE_S - 1)
    objects.expire(LEASE_S - 0.1)
    assert len(objects) == 2
    objects.expire(LEASE_S)
    assert len(objects) == 1
    with pytest.raises(ObjectGone, match="nobody used it for 600 s"):
        objects.find(idle, ANNA, "cells", LEASE_S)
    objects.expire(2 * LEASE_S - 1.1)
    assert len(objects) == 1
    objects.expire(2 * LEASE_S - 1)
    assert len(objects) == 0


def test_only_its_caller_can_release_an_object(objects):
    made = objects.keep(object(), "Grid", ANNA, 0.0)["object"]
    objects.release(made, EVE)
    assert len(objects) == 1
    objects.release(made, ANNA)
    objects.release(made, ANNA)
    assert len(objects) == 0


def test_one_caller_has_so_many_and_others_still_may(objects):
    made = [objects.keep(object(), "Grid", EVE, 0.0)["object"] for _ in range(OBJECTS_EACH)]
    with pytest.raises(Busy, match="gfz/eve has 100 objects"):
        objects.keep(object(), "Grid", EVE, 0.0)
    objects.keep(object(), "Grid", ANNA, 0.0)
    objects.release(made[0], EVE)
    objects.keep(object(), "Grid", EVE, 0.0)


def test_all_together_have_so_many(objects, monkeypatch):
    monkeypatch.setattr(module, "OBJECTS", 3)
    for number in range(3):
        objects.keep(object(), "Grid", Caller("gfz", f"eve{number}"), 0.0)
    with pytest.raises(Busy, match="3 objects live"):
        objects.check_room("Grid", ANNA)


def test_one_plain_method_of_an_object_runs_at_a_time(objects):
    kept = objects.find(objects.keep(object(), "Grid", ANNA, 0.0)["object"], ANNA, "cells", 0.0)
    assert kept.admission.enter(ANNA, "first")
    assert not kept.admission.enter(ANNA, "second")
    assert kept.admission.leave("first", 0.1) == ["second"]


class Grid:
    """Tells in which thread it goes."""

    gone_in: str | None = None
    gone = threading.Event()

    def cells(self) -> int:
        return 5

    def __del__(self) -> None:
        Grid.gone_in = threading.current_thread().name
        Grid.gone.set()


@pytest.fixture
def served():
    Grid.gone.clear()
    methods = read_module("geomar/grids", "", {}, classes={"Grid": Grid})[1]
    return {name: Served(method, Style.of(method), None) for name, method in methods.items()}


def test_an_object_in_use_is_kept_and_goes_with_its_last_call_in_a_thread_of_its_own(objects, served):
    now = 0.0
    made = objects.keep(Grid(), "Grid", ANNA, now)["object"]
    kept = objects.find(made, ANNA, "cells", now)
    calls = [objects.using(served["Grid.cells"], kept, lambda: now) for _ in range(2)]
    for _ in calls:
        objects.use(kept)
    now = 2 * LEASE_S
    objects.expire(now)
    assert len(objects) == 1
    (first, first_ended), (second, second_ended) = calls
    assert first.function() == 5
    first_ended("ok")
    objects.release(made, ANNA)
    assert len(objects) == 0
    assert second.function() == 5  # of what was released meanwhile
    assert not Grid.gone.is_set()
    second_ended("ok")
    assert Grid.gone.wait(20)
    assert Grid.gone_in != threading.current_thread().name


def test_the_use_of_an_object_renews_its_lease_at_its_end(objects, served):
    made = objects.keep(Grid(), "Grid", ANNA, 0.0)["object"]
    kept = objects.find(made, ANNA, "cells", 0.0)
    _, ended = objects.using(served["Grid.cells"], kept, lambda: 3 * LEASE_S)
    objects.use(kept)
    ended("ok")
    objects.expire(4 * LEASE_S - 1)
    assert len(objects) == 1
    objects.expire(4 * LEASE_S)
    assert len(objects) == 0


@pytest.mark.parametrize(("outcome", "left"), [("ok", 1), ("cancelled", 0), ("timeout", 0), ("lost", 0)])
def test_an_object_that_its_caller_does_not_hear_of_is_let_go_of(objects, served, outcome, left):
    make, ended = objects.constructing(served["Grid"], ANNA, lambda: 0.0)
    make.function()
    assert len(objects) == 1
    ended(outcome)
    assert len(objects) == left


def test_a_constructor_that_made_nothing_leaves_nothing(objects, served):
    _, ended = objects.constructing(served["Grid"], ANNA, lambda: 0.0)
    ended("remote_error")
    assert len(objects) == 0


def test_the_owners_limit_holds_for_all_objects_together(objects, served):
    limit = module.Admission("geomar/grids.Grid.cells", concurrency=2, queue=10)
    cells = module.replace(served["Grid.cells"], admissions=(limit,))
    kept = objects.find(objects.keep(Grid(), "Grid", ANNA, 0.0)["object"], ANNA, "cells", 0.0)
    assert objects.using(cells, kept, lambda: 0.0)[0].admissions == (kept.admission, limit)
