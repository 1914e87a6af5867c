"""What notebooks show: whatever comes from elsewhere is text in it, and nothing else."""

from __future__ import annotations

import ast
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge import errors
from landbridge.client.call import Call
from landbridge.client.card import call_html, call_text, span_text
from landbridge.client.html import (
    ModuleLine,
    dataset_html,
    example_call,
    method_html,
    module_html,
    module_lines,
    network_html,
    page,
    reference_html,
    without_fail,
)
from landbridge.contract import DatasetSpec, MethodSpec, ModuleSpec, ParameterSpec, rebuild_types
from landbridge.protocol import Progress

TAGS = {"div", "style", "details", "summary", "b", "span", "ul", "li", "code", "pre", "table", "tr", "th", "td",
        "progress", "br"}  # fmt: skip
CLASSES = {"landbridge", "faint", "text", "online", "offline"}
OWN_STYLES = {"border-left: 3px solid #c0392b; padding-left: .7em", "white-space: pre-wrap"}


class Reader(HTMLParser):
    """Reads HTML as a browser would, and refuses everything that we never write."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []
        self.styles: list[str] = []

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS
        for name, value in attributes:
            match name:
                case "class":
                    assert value in CLASSES
                case "style":
                    assert value in OWN_STYLES
                case "value" | "max":
                    assert 0 <= float(value) <= 1
                case _:
                    assert (tag, name, value) == ("details", "open", "")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.styles if self.open[-1:] == ["style"] else self.text).append(data)

    def handle_comment(self, data):
        raise AssertionError("a comment")

    handle_decl = handle_pi = unknown_decl = handle_comment


def text_of(written: str) -> str:
    """Return the text that a reader sees, having checked everything else."""
    reader = Reader()
    reader.feed(written)
    reader.close()
    assert reader.open == []
    for style in reader.styles:
        assert style == own_style()
        assert "url" not in style
        assert "@" not in style
    return "".join(reader.text)


def own_style() -> str:
    return page().partition("<style>")[2].partition("</style>")[0]


HOSTILE = ["<script>alert(1)</script>", "</style><script>x</script>", "\" onload=\"alert(1)", "' onclick='x", "<!--",
           "]]><img src=x onerror=y>", "&lt;b&gt;", "</div></div>", "\x1b[31m", "\u202e", "<svg/onload=x>", "\ud800",
           "javascript:x", "a\nb", "<", "", "x" * 5000]  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)) | st.builds(str.__add__, st.text(max_size=5),
                                                                              st.sampled_from(HOSTILE))  # fmt: skip
numbers = st.floats(0, 1e12) | st.integers(0, 10**30)
values = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts, max_size=2)
schemas = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["integer", "number", "string", "boolean", "array", "object"]),
        "title": texts,
        "pattern": texts,
        "x-unit": texts,
        "x-landbridge": texts,
        "enum": st.lists(values, max_size=3),
        "examples": st.lists(values, max_size=3),
        "minimum": st.integers(),
        "exclusiveMinimum": st.integers(),
        "$ref": texts.map("#/$defs/".__add__),
    },
)
parameters = st.builds(
    ParameterSpec,
    name=texts,
    kind=st.sampled_from(["positional_only", "positional_or_keyword", "var_positional", "keyword_only", "var_keyword"]),
    schema=schemas,
    required=st.booleans(),
    default=values,
    default_text=st.none() | texts,
    doc=texts,
    unit=st.none() | texts,
)
methods = st.builds(
    MethodSpec,
    name=texts,
    doc=texts,
    summary=texts,
    parameters=st.lists(parameters, max_size=3).map(tuple),
    returns=st.none() | schemas,
    returns_doc=texts,
    raises=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    streams=st.booleans(),
    items=st.none() | schemas,
)


@given(texts, methods)
def test_methods_are_text_whatever_they_say(address, method):
    text_of(method_html(address, method, {}))


@given(texts, texts, texts, texts, st.lists(methods, max_size=3), texts)
def test_modules_are_text_whatever_they_say(name, doc, summary, version, listed, trouble):
    spec = ModuleSpec(name, doc, summary, version, {str(number): method for number, method in enumerate(listed)})
    text_of(module_html(name, spec, {}, trouble))
    text_of(module_html(name, None, {}, trouble))


entries = st.fixed_dictionaries({"module": values}, optional=dict.fromkeys(("summary", "version", "backends"), values))


@given(texts, st.lists(texts, max_size=3), st.lists(st.none() | st.lists(values | entries, max_size=4), max_size=2))
def test_networks_are_text_whatever_the_catalogue_says(title, names, pages):
    text_of(network_html(title, module_lines(names, pages)))


@given(texts, st.lists(st.builds(Progress, done=numbers, total=st.none() | numbers, label=texts), max_size=3), texts,
       st.lists(st.tuples(texts, texts), max_size=7), st.none() | texts, st.integers(0, 10**12))  # fmt: skip
def test_calls_are_text_whatever_they_say(target, progress, notice, lines, error, size):
    call = Call(target, MethodSpec("count"), {}, None)
    for event in progress:
        call.progressed(event)
    call.notice, call.bytes_received = notice, size
    call.log_lines.extend(lines)
    text_of(call_html(call))
    assert "\n" not in call_text(call)
    if error is not None:
        call.ended(None, errors.remote_error(target, error, error, error, "ValueError"))
    else:
        call.ended(bytearray(b"x"), None)
    text_of(call_html(call))


@given(texts)
def test_errors_are_text_whatever_they_say(text):
    for error in (
        errors.LandbridgeError(text),
        errors.PermissionDenied(text),
        errors.UnknownModule(text, text, [text]),
        errors.remote_error(text, text, text, text, "KeyError"),
        errors.InvalidArguments(text, [errors.Problem(text, text)]),
    ):
        text_of(error._repr_html_())


def test_an_error_shows_its_code_what_happened_and_what_to_do():
    shown = errors.UnknownModule("awi/seaa", "awi/sea")._repr_html_()
    assert "<b>No module &#x27;awi/seaa&#x27; is known in this network.</b>" in shown
    assert text_of(shown) == (
        "UnknownModule unknown_moduleNo module 'awi/seaa' is known in this network."
        "Did you mean 'awi/sea'? See all: landbridge ls"
    )


BASIN = {"enum": ["n", "s"], "x-landbridge": "enum", "x-enum-names": ["NORTH", "SOUTH"], "type": "string"}
MEAN = MethodSpec(
    "mean",
    doc="Mean temperature.\n\nOf all stations.",
    summary="Mean temperature.",
    parameters=(
        ParameterSpec("first", schema={"type": "integer", "minimum": 1900}, doc="First year."),
        ParameterSpec("depth", schema={"type": "number"}, required=False, default=10.0, unit="m"),
        ParameterSpec("basin", "keyword_only", {"$ref": "#/$defs/Basin"}, required=False, default="n"),
    ),
    returns={"type": "number", "x-unit": "degC"},
    returns_doc="The mean.",
    raises=(("ValueError", "Without data."),),
)
SPEC = ModuleSpec("awi/sea", "The sea.\n\nNorth and south.", "The sea.", "2.1", {"mean": MEAN}, {"Basin": BASIN})


def test_a_method_shows_everything_a_caller_needs():
    text = text_of(method_html("awi/sea.mean", MEAN, rebuild_types(SPEC)))
    for part in ("awi/sea.", "mean(first, depth=10.0, *, basin=Basin.NORTH)", "Of all stations.", "int, at least 1900",
                 "First year.", "required", "Basin: NORTH, SOUTH", "Returns: float, in degC. The mean.",
                 "ValueError: Without data.", "net.awi.sea.mean(first=1900)"):  # fmt: skip
        assert part in text
    assert "floatm10.0" in text  # cells of type, unit and default


def test_a_module_shows_its_methods_folded():
    shown = module_html("awi/sea", SPEC, {})
    text = text_of(shown)
    for part in ("● online awi/sea 2.1", "The sea.", "North and south.", "Mean temperature.", "Of all stations."):
        assert text.count(part) == 1
    assert shown.count("<details>") == 3  # more of the docstring, the method, what it raises
    assert "not shared any with you" in text_of(module_html("awi/sea", ModuleSpec("awi/sea"), {}))


def test_a_network_shows_who_is_there():
    pages = [[{"module": "awi/sea", "backends": 1, "version": "2", "summary": "The sea."},
              {"module": "awi/ice", "backends": 0}, {"module": "lb/catalogue", "backends": 1}]]  # fmt: skip
    text = text_of(network_html("Network as gfz/anna", module_lines(["gfz/soil"], pages)))
    assert text == "Network as gfz/annaawi 2 modules○ offline ice  ● online sea 2  The sea.gfz 1 modulesoil  "
    assert "landbridge serve" in text_of(network_html("", []))


def test_very_much_is_cut():
    lines = [ModuleLine(f"awi/m{number}", True, "v" * 1000, "s" * 10_000) for number in range(10_000)]
    shown = network_html("", lines)
    assert len(shown) < 500_000
    assert "… and 9500 more modules" in text_of(shown)
    many = ModuleSpec("awi/sea", methods={f"m{number}": MethodSpec(f"m{number}") for number in range(1000)})
    assert "… and 800 more methods" in text_of(module_html("awi/sea", many, {}))


def test_showing_never_fails():
    def fail() -> str:
        raise RecursionError

    assert text_of(without_fail(fail, "awi/<sea>")) == "awi/<sea>"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "1"),
        ({"type": "number", "minimum": 3}, "3.0"),
        ({"type": "number", "exclusiveMinimum": 3}, "a"),
        ({"enum": ["x", "y"]}, "'x'"),
        ({"type": "boolean"}, "True"),
        ({"type": "string"}, "a"),
        ({"$ref": "#/$defs/Basin"}, "a"),
        ({}, "a"),
    ],
)
def test_the_example_can_be_copied(schema, value):
    line = example_call("awi/sea.at", MethodSpec("at", parameters=(ParameterSpec("a", schema=schema),)))
    assert line == f"net.awi.sea.at(a={value})"
    streaming = MethodSpec("at", parameters=(ParameterSpec("a", "positional_only", schema),), streams=True)
    ast.parse(example_call("awi/sea.at", streaming))


def test_a_card_shows_where_a_call_stands():
    call = Call("awi/sea.mean", MEAN, {}, None)
    assert "awi/sea.mean  running" in text_of(call_html(call))
    call.queue_place = 3
    assert "in queue, place 3" in text_of(call_html(call))
    call.notice = "busy; trying again in 2 s"
    assert "busy; trying again in 2 s" in text_of(call_html(call))
    call.notice, call.queue_place = "", 0
    call.progressed(Progress(10, 40, "years"))
    assert "left" not in text_of(call_html(call))
    call.progressed(Progress(20, 40, "years"))
    call.bytes_sent, call.bytes_received = 800, 12_345_678
    call.log_lines.extend(("stderr", f"line {number}") for number in range(9))
    text = text_of(call_html(call))
    for part in ("50%", "years 20/40", "about 0.0 s left", "800 B sent, 12.3 MB received", "line 4line 5", "line 8"):
        assert part in text
    assert "line 3" not in text
    assert "saved" not in text
    call.bytes_saved = 1_500_000
    assert "12.3 MB received (1.5 MB saved by compression)" in text_of(call_html(call))
    call.ended(None, errors.CallCancelled(call.target, "running"))
    text = text_of(call_html(call))
    assert "cancelled; its code runs on at the backend" in text
    assert "left" not in text


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "done"),
        (errors.ModuleOffline("awi/sea"), "failed"),
        (errors.CallCancelled("awi/sea.mean", "stopped"), "cancelled"),
    ],
)
def test_the_state_of_a_call_says_how_it_ended(error, state):
    call = Call("awi/sea.mean", MEAN, {}, None)
    assert call.state == "running"
    call.ended(None, error)
    assert (call.state, call.error) == (state, error)
    assert repr(call) == f"<landbridge call awi/sea.mean: {state}>"
    assert ("No backend serves" in text_of(call._repr_html_())) is (state == "failed")


def test_the_pace_is_that_of_the_progress_under_way():
    call = Call("awi/sea.mean", MEAN, {}, None)
    call.progressed(Progress(99, 100, ""))
    call.progressed(Progress(0, 50, ""))  # another loop
    assert call.seconds_left is None
    call.progressed(Progress(25, 50, ""))
    assert call.seconds_left is not None
    call.progressed(Progress(26, None, ""))
    assert call.seconds_left is None


def test_lengths_of_time_are_for_people():
    assert [span_text(s) for s in (-1, 9.96, 59.6, 3599.6, 1e300)] == [
        "0.0 s", "10 s", "1 min 0 s", "1 h 0 min", "277777 h 46 min",
    ]  # fmt: skip


def test_a_data_set_and_a_kept_value_are_text_whatever_their_owner_says():
    evil = "<script>alert(1)</script>"
    shown = dataset_html("geomar/ocean.sst", DatasetSpec("sst", evil, evil))
    kept = reference_html("geomar/ocean.field", {"type": evil, "bytes": 1234, "dims": {evil: 3}, "preview": evil})
    spec = ModuleSpec("geomar/ocean", datasets={"sst": DatasetSpec("sst", evil, evil)})
    module = module_html("geomar/ocean", spec, {})
    for html in (shown, kept, module):
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
    assert "1,234" in kept
    assert "landbridge.open(&quot;geomar/ocean.sst&quot;)" in module
