"""Specs from anywhere: what is taken, cleaned or refused."""

import pytest

from landbridge.contract import DatasetSpec, MethodSpec, ModuleSpec, ParameterSpec
from landbridge.errors import Malformed


def module(**changes):
    return {"name": "geomar/ocean", "methods": [], "types": {}} | changes


def method(*parameters, **changes):
    return module(methods=[{"name": "mean", "parameters": list(parameters)} | changes])


def nested(depth):
    schema = {}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


P = {"name": "a", "required": True}

MALFORMED = {
    "no object": [],
    "data sets are no list": module(datasets={}),
    "a data set is no object": module(datasets=["sst"]),
    "a data set without a name": module(datasets=[{"doc": "x"}]),
    "a data set with a hidden name": module(datasets=[{"name": "_sst"}]),
    "a data set named like a method": module(methods=[{"name": "mean", "parameters": []}], datasets=[{"name": "mean"}]),
    "two data sets of one name": module(datasets=[{"name": "sst"}, {"name": "sst"}]),
    "more data sets than a module has": module(datasets=[{"name": f"d{k}"} for k in range(3000)]),
    "null": None,
    "no name": {"methods": []},
    "name is no text": module(name=3),
    "name is a member": module(name="geomar/ocean.mean"),
    "name would leave its subject": module(name="geomar/ocean.>"),
    "methods no list": module(methods={}),
    "method no object": module(methods=[3]),
    "private method": module(methods=[{"name": "__init__"}]),
    "method name no text": module(methods=[{"name": 3}]),
    "method without name": module(methods=[{}]),
    "doubled method": module(methods=[{"name": "a"}, {"name": "a"}]),
    "parameter name": method({"name": "a b"}),
    "keyword": method({"name": "lambda"}),
    "kind": method({"name": "a", "kind": "sideways"}),
    "kind no text": method({"name": "a", "kind": []}),
    "required no flag": method({"name": "a", "required": "yes"}),
    "doc no text": method({"name": "a", "doc": 3}),
    "doubled parameter": method(P, P),
    "order": method(P | {"kind": "keyword_only"}, {"name": "b", "kind": "positional_only"}),
    "required after optional": method({"name": "a"}, {"name": "b", "required": True}),
    "two var_keyword": method({"name": "a", "kind": "var_keyword"}, {"name": "b", "kind": "var_keyword"}),
    "raises": method(raises=[["ValueError"]]),
    "raises no text": method(raises=[["ValueError", 3]]),
    "streams": method(streams=1),
    "idempotent": method(idempotent="yes"),
    "schema no object": method(P | {"schema": "int"}),
    "foreign reference": method(P | {"schema": {"$ref": "https://example.org/x"}}),
    "reference to a private name": method(P | {"schema": {"$ref": "#/$defs/__class__"}}),
    "reference no text": method(P | {"schema": {"$ref": 3}}),
    "schema type": method(P | {"schema": {"type": "integer; drop"}}),
    "schema type list": method(P | {"schema": {"type": []}}),
    "bound no number": method(P | {"schema": {"minimum": "3"}}),
    "bound a flag": method(P | {"schema": {"minimum": True}}),
    "enum no list": method(P | {"schema": {"enum": {}}}),
    "anyOf of texts": method(P | {"schema": {"anyOf": ["x"]}}),
    "properties no object": method(P | {"schema": {"properties": []}}),
    "names no texts": module(types={"A": {"x-enum-names": [1]}}),
    "aliases": module(types={"A": {"x-enum-aliases": {"A": 1}}}),
    "type name": module(types={"a.b": {}}),
    "types no object": module(types=[]),
    "deep schema": method(P | {"schema": nested(40)}),
    "very deep schema": method(P | {"schema": nested(5000)}),
    "large": module(doc="x" * 2_000_000),
    "wide": module(types={f"T{n}": {} for n in range(1001)}),
    "many parameters": method(*[{"name": f"a{n}"} for n in range(501)]),
    "a value that JSON has not": method({"name": "a", "default": b"x"}),
    "nan": method({"name": "a", "default": float("nan")}),
    "number as key": method({"name": "a", "default": {1: 2}}),
    "huge number": method({"name": "a", "default": 10**4_000_000}),
}


@pytest.mark.parametrize("obj", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_spec_is_refused(obj):
    with pytest.raises(Malformed):
        ModuleSpec.from_json(obj)


def test_one_list_many_times_is_counted_as_often_as_it_is_written():
    bomb = []
    for _ in range(40):
        bomb = [bomb, bomb]
    with pytest.raises(Malformed, match="larger"):
        ModuleSpec.from_json(method({"name": "a", "default": bomb}))


def test_texts_lose_their_control_characters():
    schema = {"title": "\x1b[2J", "enum": ["\x07"], "properties": {"\u202e": {}}}
    obj = method(
        {"name": "a", "doc": "\x1b[31m", "default": "\x1b", "unit": "\x00", "schema": schema}, doc="<b>\x9b</b>"
    )
    spec = ModuleSpec.from_json(obj).methods["mean"]
    assert spec.doc == "<b>\ufffd</b>"
    assert "\x1b" not in repr(spec)
    assert "\u202e" not in str(spec)


def test_what_is_pure_is_idempotent():
    assert MethodSpec("mean", pure=True).idempotent
    assert ModuleSpec.from_json(method(pure=True)).methods["mean"].idempotent
    assert not MethodSpec("mean").idempotent
    assert not MethodSpec("put", idempotent=True).pure


def test_long_texts_are_cut():
    assert len(ModuleSpec.from_json(module(doc="x" * 500_000)).doc) == 64 * 1024


def test_unknown_keys_and_keywords_are_left_out():
    spec = ModuleSpec.from_json(method(P | {"schema": {"type": "integer", "x-evil": 1}, "later": 1}, later=[]))
    assert spec.methods["mean"].parameters == (ParameterSpec("a", schema={"type": "integer"}),)


def test_data_sets_survive_their_json_and_are_members_like_others():
    spec = ModuleSpec(
        "geomar/ocean", methods={"mean": MethodSpec("mean")}, datasets={"sst": DatasetSpec("sst", "Of it.")}
    )
    assert ModuleSpec.from_json(spec.to_json()) == spec
    assert list(spec.only(["sst"]).datasets) == ["sst"]
    assert spec.only(["sst"]).methods == {}
    assert "sst" not in spec.callables()


def test_a_spec_survives_its_json():
    parameter = ParameterSpec("σ", "keyword_only", {"type": "number"}, False, 1.5, None, "Width.", "K")
    mean = MethodSpec("mean", "Doc.", "Doc.", (parameter,), {"type": "number"}, "It.", (("ValueError", "never"),))
    items = MethodSpec("items", streams=True, items={"$ref": "#/$defs/A"}, pure=True)
    put = MethodSpec("put", idempotent=True)
    methods = {"mean": mean, "items": items, "put": put}
    spec = ModuleSpec("geomar/ocean", "D", "D", "1.0", methods, {"A": {"enum": [1]}})
    assert ModuleSpec.from_json(spec.to_json()) == spec
