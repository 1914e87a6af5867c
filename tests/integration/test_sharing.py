"""Who may call what: the owner decides, the backend enforces it, and the reason can be acted on."""

from __future__ import annotations

import pytest

import landbridge as lb

SOURCE = """
import landbridge as lb

@lb.method
def own() -> str:
    return lb.current_call().caller

@lb.method(share=["awi/anna", "gfz/*"])
def shared() -> str:
    return lb.current_call().caller

@lb.method(share="*/*")
def public() -> str:
    return lb.current_call().caller
"""


@pytest.fixture(scope="module")
def served(network):
    network.serve(SOURCE, "geomar/shared")
    network.serve(SOURCE, "geomar/widened", "--share", "iow/*")


def allowed(who: str, module: str) -> set[str]:
    with lb.connect(profile=who) as net:
        remote = net[module]
        names = set(dir(remote))
        for name in names:
            assert getattr(remote, name)() == who
        return names


@pytest.mark.parametrize(
    ("who", "module", "expected"),
    [
        ("geomar/eve", "geomar/shared", {"own", "shared", "public"}),
        ("awi/anna", "geomar/shared", {"shared", "public"}),
        ("awi/bob", "geomar/shared", {"public"}),
        ("gfz/anybody", "geomar/shared", {"shared", "public"}),
        ("iow/zoe", "geomar/shared", {"public"}),
        ("iow/zoe", "geomar/widened", {"own", "shared", "public"}),
    ],
)
def test_each_caller_sees_and_may_call_what_is_shared_with_it(served, who, module, expected):
    assert allowed(who, module) == expected


def test_owner_of_the_network_may_call_everything(served):
    with lb.connect() as net:
        assert set(dir(net["geomar/shared"])) == {"own", "shared", "public"}
        assert net["geomar/shared"].own().startswith("local/")


def test_who_calls_all_the_same_is_told_why_not_and_whom_to_ask(served, network):
    with lb.connect() as owner, lb.connect(profile="awi/bob") as net:
        method = owner["geomar/shared"].own
        smuggled = type(method)(net, method._address, method._spec, method._types)
        with pytest.raises(lb.PermissionDenied, match=r"not shared geomar/shared.own with awi/bob; ask geomar"):
            smuggled()
        assert isinstance(lb.PermissionDenied("no"), PermissionError)


def test_strangers_are_told_that_nothing_is_shared_with_them_and_see_no_types(network):
    source = (
        "import enum\nimport landbridge as lb\n"
        "Secret = enum.Enum('Secret', ['A'])\nOpen = enum.Enum('Open', ['B'])\n"
        "@lb.method\ndef own(x: Secret): ...\n@lb.method(share='awi/*')\ndef shared(x: Open): ...\n"
    )
    network.serve(source, "geomar/typed")
    with lb.connect(profile="awi/bob") as net:
        assert set(dir(net["geomar/typed"])) == {"shared", "Open"}
    denied = pytest.raises(lb.PermissionDenied, match="shared nothing of geomar/typed with ufz/eve")
    with lb.connect(profile="ufz/eve") as net, denied:
        net["geomar/typed"]
    run = network.python("from landbridge.remote.geomar.typed import own", LANDBRIDGE_PROFILE="ufz/eve")
    assert "shared nothing of geomar/typed with ufz/eve" in run.stderr


def test_a_pattern_that_is_none_is_refused_where_it_is_given(network):
    run = network.run("serve", "json", "--as", "geomar/x", "--share", "*/anna")
    assert run.returncode != 0
    assert "awi/anna" in run.stderr


def test_a_name_that_may_not_be_one_is_refused_where_it_is_given(network):
    for name in ("geomar/*", "geo.mar/x", "lb/catalogue/x", "id/x", "geomar/class", "Geomar/x", "geomar/x\n"):
        run = network.run("serve", "json", "--as", name)
        assert run.returncode == 2, run.stderr
        assert "Traceback" not in run.stderr


@pytest.mark.parametrize("profile", ["awi/*", "*/x", "awi/a.b", "lb/x", "id/y", "awi/>", "awi/", "/x"])
def test_nobody_can_be_somebody_with_a_wildcard_in_the_name(network, profile):
    with pytest.raises(lb.LandbridgeError):
        lb.connect(profile=profile)
