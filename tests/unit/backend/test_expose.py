"""What a module exposes: what was named, all of it, and nothing beside it."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import inspect
import sys
import textwrap
from types import ModuleType

import pytest

from landbridge.backend.expose import Exposure, exposure, method
from landbridge.errors import NothingToServe


@pytest.fixture
def load(monkeypatch):
    """Give a function that makes a module of source text."""

    def load(source: str, name: str = "served_here") -> ModuleType:
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(textwrap.dedent(source), vars(module))
        return module

    return load


def shares(exposed: Exposure) -> dict[str, tuple[str, ...]]:
    return {name: found.share for name, found in exposed.methods.items()}


PUBLIC = """
import functools
import landbridge as lb

@lb.method(share=["*/*"])
def public():
    return "public"
"""


def test_a_function_that_wraps_an_exposed_one_is_not_exposed_and_this_is_said(load):
    exposed = exposure(load(PUBLIC + "\n@functools.wraps(public)\ndef admin():\n    return 'admin'\n"))
    assert shares(exposed) == {"public": ("*/*",)}
    assert len(exposed.notices) == 1
    assert exposed.notices[0].startswith("admin is not exposed: it only wraps public")


def test_a_function_that_wraps_an_exposed_one_can_be_named_itself_and_gets_nothing_of_its_share(load):
    admin = "\n@functools.wraps(public)\ndef admin():\n    return 'admin'\n"
    exposed = exposure(load(PUBLIC + admin + "\n__all__ = ['admin']\n"))
    assert shares(exposed) == {"public": ("*/*",), "admin": ()}
    assert exposed.notices == ()
    exposed = exposure(load(PUBLIC + admin.replace("\n@", "\n@lb.method(share=['awi/*'])\n@")))
    assert shares(exposed) == {"public": ("*/*",), "admin": ("awi/*",)}
    assert exposed.notices == ()


@pytest.mark.parametrize("named", ["", "\n__all__ = ['double']\n"])
def test_what_a_decorator_above_makes_of_it_is_exposed(load, named):
    module = load(
        """
        import functools
        import landbridge as lb

        @functools.lru_cache
        @lb.method(share=["awi/*"], pure=True)
        def double(x: int) -> int:
            return 2 * x
        """
    )
    exec(named, vars(module))
    exposed = exposure(module)
    assert shares(exposed) == {"double": ("awi/*",)}
    assert exposed.methods["double"].function is module.double
    assert exposed.methods["double"].pure
    assert exposed.notices == ()


def test_what_stands_above_a_cached_function_is_exposed(load):
    exposed = exposure(load("import functools, landbridge as lb\n@lb.method\n@functools.cache\ndef one(): return 1\n"))
    assert exposed.methods["one"].function() == 1


def test_a_function_named_in_another_module_or_kept_at_home_is_not_exposed_and_this_is_said(load):
    load(PUBLIC, "elsewhere")
    exposed = exposure(
        load("import landbridge as lb\nfrom elsewhere import public\n@lb.method\ndef own(): ...\n_kept = own\n")
    )
    assert shares(exposed) == {"own": ()}
    assert any("public is not exposed: lb.method stands in elsewhere" in notice for notice in exposed.notices)
    assert any("_kept is not exposed" in notice for notice in exposed.notices)


def test_something_that_wraps_itself_is_not_exposed(load):
    loop = "def loop(): ...\nloop = functools.wraps(public)(loop)\nloop.__wrapped__ = loop\nloop.__name__ = 'x'\n"
    exposed = exposure(load(PUBLIC + loop + "public, loop = loop, public\n"))
    assert "public" not in exposed.methods


def test_what_is_exposed_by_lb_method_and_in_all_causes_no_notice(load):
    exposed = exposure(load("import math, landbridge as lb\n__all__ = ['root']\nroot = lb.method(math.sqrt)\n"))
    assert list(exposed.methods) == ["root"]
    assert exposed.notices == ()


def test_objects_that_make_up_attributes_are_not_exposed(load):
    module = load(PUBLIC + "\nclass Any:\n    def __getattr__(self, name): return public\nanything = Any()\n")
    assert list(exposure(module).methods) == ["public"]


def test_a_module_that_names_only_a_wrapper_says_why_nothing_is_served(load):
    with pytest.raises(NothingToServe, match="it only wraps public"):
        exposure(load(PUBLIC + "\n@functools.wraps(public)\ndef admin(): ...\ndel public\n"))


async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


async def count(n: int):
    try:
        for i in range(n):
            yield i
    finally:
        closed.append("count")


def letters(word: str):
    try:
        yield from word
    finally:
        closed.append("letters")


class Adder:
    async def __call__(self, a: int, b: int) -> int:
        return await add(a, b)


closed: list[str] = []


@pytest.fixture
def elsewhere(monkeypatch):
    """The functions above, as though another module had defined them."""
    for function in (add, count, letters):
        monkeypatch.setattr(function, "__module__", "elsewhere")
    closed.clear()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("function", [add, functools.partial(add), Adder()], ids=["function", "partial", "object"])
def test_a_coroutine_function_from_elsewhere_stays_one(function):
    wrapped = method(function)
    assert wrapped is not function
    assert inspect.iscoroutinefunction(wrapped)
    assert inspect.signature(wrapped) == inspect.signature(function)
    assert asyncio.run(wrapped(1, b=2)) == 3


@pytest.mark.usefixtures("elsewhere")
def test_a_generator_from_elsewhere_stays_one_and_is_closed_early():
    wrapped = method(letters)
    assert wrapped is not letters
    assert inspect.isgeneratorfunction(wrapped)
    assert list(wrapped("ab")) == ["a", "b"]
    closed.clear()
    items = wrapped("ab")
    assert next(items) == "a"
    items.close()
    assert closed == ["letters"]


@pytest.mark.usefixtures("elsewhere")
def test_an_async_generator_from_elsewhere_stays_one_and_is_closed_early():
    wrapped = method(count)
    assert wrapped is not count
    assert inspect.isasyncgenfunction(wrapped)

    async def first() -> int:
        items = wrapped(3)
        async for item in items:
            await items.aclose()
            return item
        raise AssertionError("no item came")

    assert asyncio.run(first()) == 0
    assert closed == ["count"]


def test_how_a_method_runs_is_said_beside_it(load):
    module = load(
        """
        import landbridge as lb

        @lb.method(process=True, memory_limit="4 GB", concurrency=2, queue=100, idempotent=True)
        def heavy(): ...

        @lb.method(pure=True)
        def light(): ...
        """
    )
    module.__spec__ = importlib.util.spec_from_file_location("served_here", __file__)
    exposed = exposure(module)
    heavy, light = exposed.methods["heavy"], exposed.methods["light"]
    assert (heavy.process, heavy.memory_limit, heavy.concurrency, heavy.queue, heavy.idempotent) == (
        True, 4 * 10**9, 2, 100, True,
    )  # fmt: skip
    assert (light.process, light.memory_limit, light.concurrency, light.queue, light.idempotent) == (
        False, None, None, None, True,
    )  # fmt: skip
    assert exposed.source == __file__


@pytest.mark.parametrize(
    ("given", "size"), [(2**30, 2**30), ("512 MiB", 2**29), ("1.5GB", 1_500_000_000), ("2097152", 2**21)]
)
def test_a_memory_limit_may_be_bytes_or_text(given, size):
    marked = method(process=True, memory_limit=given)(len)
    assert vars(marked)["__landbridge_method__"].rules.memory_limit == size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory_limit": "4 GB"}, "needs process=True"),
        ({"process": True, "memory_limit": "4 GX"}, r'bytes or text such as "4 GB" or "512 MiB", not \'4 GX\''),
        ({"process": True, "memory_limit": "much"}, "not 'much'"),
        ({"process": True, "memory_limit": -1}, "at least 1 MiB, not -1"),
        ({"process": True, "memory_limit": 1e9}, "at least 1 MiB, not 1000000000.0"),
        ({"process": True, "memory_limit": True}, "not True"),
        ({"concurrency": 0}, "concurrency must be a whole number of at least 1, not 0"),
        ({"concurrency": True}, "not True"),
        ({"queue": -1}, "queue must be a whole number of at least 0, not -1"),
        ({"queue": "many"}, "not 'many'"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(options, said):
    with pytest.raises(ValueError, match=said):
        method(**options)


def test_a_module_that_came_from_no_file_has_no_workers(load):
    with pytest.raises(NothingToServe, match=r"other processes cannot load 'served_here'"):
        exposure(load("import landbridge as lb\n@lb.method(process=True)\ndef f(): ...\n"))
