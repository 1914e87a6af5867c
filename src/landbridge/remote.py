"""Imports from other institutes: ``from landbridge.remote.geomar.ocean import climatology, Region``.

The changed lines of a script that used to import a local module. Names resolve in the default network (see
`landbridge.connect`) within 5 s or raise an `ImportError` that says why.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import opcode
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import Any

import landbridge

from .client.datasets import RemoteDataset
from .client.network import Method, Module
from .client.objects import RemoteClass
from .errors import InvalidName, LandbridgeError
from .names import check_institute, check_module, nearest

__path__: list[str] = []
__all__: list[str] = []

# What `import *` must not put in the place of: what scripts are full of, and what notebooks keep for themselves.
_KEPT_NAMES = sys.stdlib_module_names | {"In", "Out", "get_ipython", "landbridge", "lb", "np", "pd", "plt", "xr"}
_IMPORT_FROM = opcode.opmap.get("IMPORT_FROM")


class _RemoteFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``landbridge.remote.<institute>`` and ``landbridge.remote.<institute>.<module>``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parts = fullname.split(".")
        if parts[:2] != ["landbridge", "remote"] or len(parts) not in (3, 4):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=len(parts) == 3)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        parts = module.__name__.split(".")
        try:
            check_institute(parts[2], reserved=True)
            if len(parts) == 4:
                check_module(parts[3])
                _fill(module, landbridge._default_network()[f"{parts[2]}/{parts[3]}"])
            else:
                module.__path__ = []
        except InvalidName as error:
            raise ModuleNotFoundError(str(error), name=module.__name__) from None
        except LandbridgeError as error:
            raise ImportError(str(error), name=module.__name__) from error


def _fill(module: ModuleType, remote: Module) -> None:
    members = vars(remote)
    module.__doc__ = type(remote).__doc__
    vars(module).update(members)
    # `import *` must not put a remote `open`, `os` or `np` in the place of the script's own; by name, all can be had.
    vars(module)["__all__"] = [
        name
        for name, value in members.items()
        if isinstance(value, Method | RemoteClass | RemoteDataset | type)
        and not hasattr(builtins, name)
        and name not in _KEPT_NAMES
        and name not in sys.modules
    ]

    def missing(name: str) -> Any:
        if name.startswith("_"):  # asked for by tools that try whether it is there, not by a person
            raise AttributeError(name)
        suggestion = nearest(name, members)
        hint = f". Did you mean {suggestion!r}?" if suggestion else f"; it has {', '.join(sorted(members))}"
        text = f"{remote} has no {name!r}{hint}"
        if _is_from_import(sys._getframe(1)):
            # `from … import` would replace an AttributeError by a text without the hint.
            raise ImportError(text, name=module.__name__)
        raise AttributeError(text)

    vars(module)["__getattr__"] = missing


def _is_from_import(frame: FrameType) -> bool:
    """Whether what the frame does at this moment is ``from … import name``, and not ``hasattr`` or ``module.name``."""
    code = frame.f_code.co_code
    return 0 <= frame.f_lasti < len(code) and code[frame.f_lasti] == _IMPORT_FROM


sys.meta_path.append(_RemoteFinder())
