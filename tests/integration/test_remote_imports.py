"""``from landbridge.remote.<institute>.<module> import …``: the changed lines of a script."""

from __future__ import annotations

import pytest

SEA = '''
"""The sea."""
from enum import Enum

__all__ = ["depth", "open", "Sea"]


class Sea(Enum):
    BALTIC = 52
    NORTH = 95


def depth(sea: Sea) -> int:
    return sea.value


def open(name: str) -> str:
    return "remote " + name
'''


@pytest.fixture(scope="module")
def sea(network):
    return network.serve(SEA, "iow/sea")


def test_methods_and_types_can_be_imported(network, sea):
    run = network.python("""
        from landbridge.remote.iow.sea import depth, Sea
        print(depth(Sea.BALTIC), depth.__name__, Sea.__name__)
    """)
    assert run.stdout == "52 depth Sea\n", run.stderr


def test_star_import_does_not_replace_builtins(network, sea):
    run = network.python("""
        from landbridge.remote.iow.sea import *
        import builtins
        print(open is builtins.open, depth(Sea.NORTH))
        from landbridge.remote.iow import sea
        print(sea.open("x"), sea.__doc__)
    """)
    assert run.stdout == "True 95\nremote x The sea.\n", run.stderr


def test_star_import_does_not_replace_modules_or_what_scripts_call_them(network):
    names = ["os", "json", "np", "pd", "lb", "landbridge", "get_ipython", "mine", "depth"]
    source = f"__all__ = {names!r}\n" + "".join(f"def {name}(): return 'remote'\n" for name in names)
    network.serve(source, "iow/greedy")
    run = network.python(f"""
        import os, sys, types
        import landbridge as lb
        mine = sys.modules["mine"] = types.ModuleType("mine")
        from landbridge.remote.iow.greedy import *
        print(sorted(name for name in globals() if name in {names}))
        print(os.sep, mine.__name__, lb.__name__, depth())
        from landbridge.remote.iow.greedy import np
        print(np())
    """)
    assert run.stdout == "['depth', 'lb', 'mine', 'os']\n/ mine landbridge remote\nremote\n", run.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from landbridge.remote.iow.sea import dept", "iow/sea has no 'dept'. Did you mean 'depth'?"),
        ("from landbridge.remote.iow.see import depth", "Did you mean 'iow/sea'?"),
        ("import landbridge.remote.iow.Sea", "'Sea' may not name a module"),
        ("import landbridge.remote.nobody.nothing", "No module 'nobody/nothing' is known"),
    ],
)
def test_what_cannot_be_imported_is_an_import_error_that_says_why(network, sea, line, said):
    run = network.python(f"""
        try:
            {line}
        except ImportError as error:
            print(error)
    """)
    assert said in run.stdout, run.stderr


def test_without_a_network_the_import_error_says_what_to_start(network, tmp_path):
    run = network.python(
        "try: import landbridge.remote.iow.sea\nexcept ImportError as error: print(error)",
        XDG_STATE_HOME=str(tmp_path),
    )
    assert "landbridge up" in run.stdout, run.stderr


def test_tools_that_look_for_private_names_get_an_attribute_error(network, sea):
    run = network.python("""
        import landbridge.remote.iow.sea as sea
        print(hasattr(sea, "_ipython_display_"), hasattr(sea, "__wrapped__"))
    """)
    assert run.stdout == "False False\n", run.stderr


def test_asking_whether_a_name_is_there_raises_no_import_error(network, sea):
    run = network.python("""
        import landbridge.remote.iow.sea as sea
        print(hasattr(sea, "dept"), getattr(sea, "dept", None), hasattr(sea, "depth"))
        try:
            sea.dept
        except AttributeError as error:
            print(error)
    """)
    assert run.stdout == "False None True\niow/sea has no 'dept'. Did you mean 'depth'?\n", run.stderr


def test_an_import_of_several_names_says_which_is_missing_wherever_it_stands(network, sea):
    names = ", ".join(f"x{number}" for number in range(300))
    run = network.python(f"""
        def late():
            {names} = range(300)
            def imports():
                from landbridge.remote.iow.sea import depth, Sea, dept
            return imports

        for statement in (late(), lambda: exec("from landbridge.remote.iow.sea import depth, nothing")):
            try:
                statement()
            except ImportError as error:
                print(error)
        # Behind so many names that the instruction needs an extended argument.
        many = "; ".join(f"x{{number}} = 0" for number in range(300))
        try:
            exec(many + "\\nfrom landbridge.remote.iow.sea import dept")
        except ImportError as error:
            print(error)
    """)
    lines = run.stdout.splitlines()
    assert lines[0] == lines[2] == "iow/sea has no 'dept'. Did you mean 'depth'?", run.stderr
    assert lines[1] == "iow/sea has no 'nothing'; it has Sea, depth, open"
