"""Laws of the contract: binding is Python's, JSON keeps specs, lowering and reviving are inverse."""

import contextlib
import dataclasses
import enum
import inspect
import json
import keyword
import operator

from hypothesis import given, settings
from hypothesis import strategies as st

from landbridge.contract import (
    ModuleSpec,
    bind,
    docstring,
    lower_arguments,
    parse_text,
    read_module,
    rebuild_types,
    revive,
    signature,
)
from landbridge.errors import InvalidArguments, Malformed

P = inspect.Parameter
KINDS = (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD, P.VAR_POSITIONAL, P.KEYWORD_ONLY, P.VAR_KEYWORD)


@st.composite
def functions(draw):
    """A function with a random signature that returns what it was given."""
    names = iter("abcdefghij")
    pieces, optional = [], False
    for kind in (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD):
        for _ in range(draw(st.integers(0, 2))):
            optional = optional or draw(st.booleans())
            pieces.append((next(names), kind, optional))
    if draw(st.booleans()):
        pieces.append(("args", P.VAR_POSITIONAL, False))
    pieces += [(next(names), P.KEYWORD_ONLY, draw(st.booleans())) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        pieces.append(("rest", P.VAR_KEYWORD, False))
    made = inspect.Signature(
        [P(name, kind, default=f"default {name}" if opt else P.empty) for name, kind, opt in pieces]
    )
    returned = ", ".join(f"{name!r}: {name}" for name, _, _ in pieces)
    source = f"def f{made}: return {{{returned}}}"
    namespace = {}
    exec(source, namespace)
    return namespace["f"]


@settings(max_examples=300, deadline=None)
@given(
    function=functions(),
    args=st.lists(st.integers(), max_size=6).map(tuple),
    kwargs=st.dictionaries(st.sampled_from([*"abcdefgh", "zulu", "args", "rest"]), st.integers(), max_size=4),
)
def test_bind_then_check_is_a_call_of_python(function, args, kwargs):
    spec, methods = read_module("a/b", None, {"f": function})
    try:
        at_home = function(*args, **kwargs)
        python = None
    except TypeError as error:
        python = str(error)
    ours = None
    try:
        bound = bind(spec.methods["f"], args, kwargs)
    except TypeError as error:
        ours = str(error)
    # A name that Python takes twice (by place and among **rest) can not travel, and says so.
    if ours is not None and "given by position" in ours:
        return
    # Newer versions of Python add what was meant, as we do for all of them.
    assert (ours and ours.split(". Did you mean")[0]) == (python and python.split(". Did you mean")[0])
    if ours is not None:
        return
    far_args, far_kwargs = methods["f"].check(bound)
    assert function(*far_args, **far_kwargs) == at_home


@settings(max_examples=100, deadline=None)
@given(functions())
def test_the_signature_comes_back_from_json(function):
    spec, _ = read_module("a/b", None, {"f": function})
    again = ModuleSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert signature(again.methods["f"], {}) == inspect.signature(function)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["mean", "rows", "fetch"]), functions(), max_size=3), st.data())
def test_a_class_comes_back_from_json(functions_by_name, data):
    def method_of(function):
        def method(self, *args, **kwargs):
            return function(*args, **kwargs)

        shape = inspect.signature(function)
        method.__signature__ = shape.replace(parameters=[P("self", P.POSITIONAL_ONLY), *shape.parameters.values()])
        return method

    Grid = type("Grid", (), {"__init__": lambda self, a, *, b=1: None, "__module__": __name__})
    for name, function in functions_by_name.items():
        setattr(Grid, name, method_of(function))
    flags = data.draw(st.lists(st.sampled_from(["Grid", *(f"Grid.{name}" for name in functions_by_name)])))
    spec, methods = read_module("a/b", None, {}, classes={"Grid": Grid}, pure=flags[:1], idempotent=flags[1:])
    again = ModuleSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert str(signature(again.classes["Grid"], {})) == "(a, *, b=1)"
    assert {name for name, method in again.callables().items() if method.idempotent} == set(flags)
    for name, function in functions_by_name.items():
        assert signature(again.classes["Grid"].methods[name], {}) == inspect.signature(function)
        assert again.callables()[f"Grid.{name}"] == methods[f"Grid.{name}"].spec
    docstring(again.classes["Grid"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KEYWORDS = [
    "$ref", "type", "enum", "items", "anyOf", "properties", "required", "x-landbridge", "x-enum-names", "default",
    "additionalProperties", "prefixItems", "x-field-names", "minItems", "x-keys", "examples", "readOnly",
    "x-enum-mixin", "x-enum-aliases", "x-frozen", "x-arguments", "x-returns", "x-awaited",
]  # fmt: skip
WORDS = st.sampled_from(["#/$defs/A", "#/$defs/B", "enum", "flag", "dataclass", "model", "namedtuple", "typeddict",
                         "function", "integer", "string", "array", "object", "str", "A", "b", "__init__"])  # fmt: skip
SCHEMAS = st.recursive(
    WORDS | st.lists(WORDS, max_size=3) | st.lists(st.integers(-1, 3), max_size=3) | st.booleans() | st.integers(0, 3),
    lambda inner: (
        st.dictionaries(st.sampled_from([*KEYWORDS, "A", "b"]), inner, max_size=5) | st.lists(inner, max_size=3)
    ),
    max_leaves=25,
)


@settings(max_examples=600, deadline=None)
@given(a=SCHEMAS, b=SCHEMAS, schema=SCHEMAS, value=JSON)
def test_a_foreign_description_is_refused_or_works_without_end(a, b, schema, value):
    method = {"name": "f", "parameters": [{"name": "x", "schema": schema, "default": value}], "returns": schema}
    try:
        spec = ModuleSpec.from_json({"name": "a/b", "methods": [method], "types": {"A": a, "B": b}})
    except Malformed:
        return
    types = rebuild_types(spec)
    revive(value, spec.methods["f"].returns, types)
    signature(spec.methods["f"], types)
    docstring(spec.methods["f"])
    with contextlib.suppress(InvalidArguments):
        parse_text(spec.methods["f"], spec.types, {"x": "null"})


WEIRD = JSON | SCHEMAS
MAYBE_A_SCHEMA = st.sampled_from([{}, {"type": "integer"}, {"$ref": "#/$defs/A"}]) | SCHEMAS
NAME = operator.itemgetter("name")
PARAMETERS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("ab")}, optional={"schema": MAYBE_A_SCHEMA, "default": JSON}),
    max_size=2,
    unique_by=NAME,
)
OF_CLASSES = st.fixed_dictionaries(
    {"name": st.sampled_from(["mean", "rows", "Grid"]), "parameters": PARAMETERS},
    optional={"static": st.booleans(), "streams": st.booleans(), "returns": MAYBE_A_SCHEMA, "doc": st.text(max_size=9)},
)
CLASSES = st.builds(
    lambda name, init, methods, more: more | {"name": name, "init": init | {"name": name}, "methods": methods},
    st.sampled_from(["Grid", "Sea", "f"]),
    st.fixed_dictionaries({"parameters": PARAMETERS}, optional={"doc": st.text(max_size=9), "streams": WEIRD}),
    st.lists(OF_CLASSES, max_size=3, unique_by=NAME),
    st.dictionaries(st.sampled_from(["doc", "summary", "later", "methods"]), WEIRD, max_size=1),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(CLASSES, max_size=3, unique_by=NAME) | st.lists(CLASSES | WEIRD, max_size=2))
def test_foreign_classes_are_refused_or_work(classes):
    try:
        spec = ModuleSpec.from_json({"name": "a/b", "methods": [{"name": "f"}], "types": {"A": {}}, "classes": classes})
    except Malformed:
        return
    for cls in spec.classes.values():
        signature(cls, {})
        docstring(cls)
    assert len(spec.callables()) == 1 + sum(1 + len(cls.methods) for cls in spec.classes.values())
    assert ModuleSpec.from_json(spec.to_json()) == spec
    assert spec.only(["f", *spec.classes]).classes == spec.classes


names = st.text("abcdefgxyz", min_size=1, max_size=6).filter(lambda name: not keyword.iskeyword(name) and name != "mro")
scalars = st.integers() | st.text("abc \n", max_size=5) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None)
@given(members=st.dictionaries(names, scalars, min_size=1, max_size=5), data=st.data())
def test_members_of_any_enum_come_back(members, data):
    Any_ = enum.Enum("Any_", members)

    def f(x): ...

    f.__annotations__ = {"x": Any_, "return": list[Any_]}
    spec, methods = read_module("a/b", None, {"f": f})
    types = rebuild_types(spec)
    member = data.draw(st.sampled_from(list(Any_)))
    (there,) = revive(methods["f"].lower([member]), spec.methods["f"].returns, types)
    assert there.name == member.name
    assert methods["f"].check(lower_arguments({"x": there})) == ((), {"x": member})


class Basin(enum.Enum):
    NORTH = "n"
    SOUTH = "s"


@dataclasses.dataclass
class Leaf:
    number: float
    basin: Basin = Basin.NORTH


@dataclasses.dataclass
class Tree:
    leaves: list[Leaf]
    by_basin: dict[Basin, int]
    pair: tuple[int, Leaf] | None
    kids: "list[Tree]"


leaves = st.builds(Leaf, st.floats(allow_nan=False), st.sampled_from(Basin))
trees = st.recursive(
    st.builds(
        Tree,
        st.lists(leaves, max_size=3),
        st.dictionaries(st.sampled_from(Basin), st.integers()),
        st.none() | st.tuples(st.integers(), leaves),
        st.just([]),
    ),
    lambda inner: st.builds(Tree, st.just([]), st.just({}), st.none(), st.lists(inner, max_size=3)),
    max_leaves=6,
)


def grow(tree: Tree) -> Tree: ...


SPEC, METHODS = read_module("a/b", None, {"grow": grow})
TYPES = rebuild_types(SPEC)


@settings(max_examples=200, deadline=None)
@given(trees)
def test_records_come_back_from_the_caller_as_they_left(tree):
    there = revive(METHODS["grow"].lower(tree), SPEC.methods["grow"].returns, TYPES)
    assert type(there) is TYPES["Tree"]
    assert revive(lower_arguments(there), SPEC.methods["grow"].returns, TYPES) == there
    _, back = METHODS["grow"].check(lower_arguments({"tree": there}))
    assert back["tree"] == tree
