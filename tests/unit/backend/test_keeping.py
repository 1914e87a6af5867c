"""Answering for kept values: what is asked of them, and that they go when nobody holds them."""

from __future__ import annotations

import gc
import types
import weakref

import numpy as np
import pytest
import xarray as xr

from landbridge.backend.expose import exposure
from landbridge.backend.keeping import REFERENCE_VERBS, Keeper, Keeping
from landbridge.backend.offer import Offer
from landbridge.datasets.serving import opens
from landbridge.errors import ObjectGone, PermissionDenied, UnknownMember
from landbridge.names import Address
from landbridge.protocol import ObjectSubject
from landbridge.security import Caller, Rule, new_key

ANNA, HERE = Caller("awi", "anna"), "c" * 32


@pytest.fixture
def keeper():
    module = types.ModuleType("ocean")
    exec("def field() -> int: return 1\n__all__ = ['field']", vars(module))
    offer = Offer(Address("geomar", "ocean"), exposure(module), share=("awi/*",), network_owner=False)

    def fetch(data, call, lazily):
        raise AssertionError("nothing is anywhere else")

    return Keeper(offer, "a" * 32, Keeping(new_key("user", bytes(32)), None, fetch, opens), lambda: 0.0)


def test_what_was_approved_for_one_goes_on_to_nobody_who_has_to_have_it_approved_too():
    module = types.ModuleType("ocean")
    exec("def field() -> int: return 1\n__all__ = ['field']", vars(module))

    def goes(institute, *rules, onward=()):
        offer = Offer(Address("geomar", "ocean"), exposure(module), share=(), onward=onward, network_owner=False)
        offer.follow(rules)
        try:
            offer.check_onward("field", ANNA, institute)
        except PermissionDenied:
            return False
        return True

    asked = Rule("*/*", approve=True)
    assert goes("awi", asked)  # the caller's own
    assert goes("geomar", asked)
    assert not goes("gfz", asked)
    assert goes("gfz", asked, onward=("gfz/*",))
    assert goes("gfz", asked, Rule("gfz/*"))
    assert not goes("gfz", asked, Rule("gfz/*", refuses=True), onward=("gfz/*",))


def asked(keeper, data, verb, caller=ANNA):
    subject = ObjectSubject(*caller, "geomar", "ocean", "a" * 32, "ref", data.value_id, verb)
    return keeper.served(subject, HERE, None).function


def kept(keeper, value):
    return keeper.keep(ANNA, HERE, "field")(value)


def test_a_value_that_was_opened_goes_when_nobody_holds_it(keeper):
    data = kept(keeper, xr.Dataset({"a": ("x", np.arange(10.0))}))
    assert asked(keeper, data, "open")()["variables"] == ["a"]
    gone = weakref.ref(keeper.references._kept[data.value_id])
    keeper.references.release(data.value_id, ANNA, HERE)
    gc.collect()
    assert gone() is None


def test_few_values_are_open_at_a_time(keeper):
    many = [kept(keeper, xr.Dataset({"a": ("x", [float(number)])})) for number in range(80)]
    for data in many:
        asked(keeper, data, "open")()
    assert sum(each.opened is not None for each in keeper.references._kept.values()) == 64
    assert [float(asked(keeper, data, "get")().a[0]) for data in many] == [float(number) for number in range(80)]


def test_what_is_no_data_set_is_not_opened_and_what_cannot_be_asked_is_told(keeper):
    data = kept(keeper, 3)
    with pytest.raises(TypeError, match="it is a int, and only data sets can be opened"):
        asked(keeper, data, "open")()
    with pytest.raises(UnknownMember, match="a reference of geomar/ocean"):
        asked(keeper, data, "delete")
    for verb in REFERENCE_VERBS:
        with pytest.raises(ObjectGone):
            asked(keeper, data, verb, Caller("gfz", "eve"))
