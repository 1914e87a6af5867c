"""What a notebook shows when a network, institute, module or method stands at the end of a cell.

Nothing here raises, and nothing waits longer than a second for news from elsewhere.
"""

from __future__ import annotations

import os
from typing import TypeVar

from ..contract import ModuleSpec
from ..errors import LandbridgeError
from .html import ModuleLine, method_html, module_html, module_lines, network_html, without_fail
from .lookup import CATALOGUE, describe, descriptions, items
from .loop import wait_for
from .method import Method
from .network import Institute, Module, Network, _fill, _Untouched
from .types import types_of

__all__ = ["institute_glance", "method_glance", "module_glance", "network_glance"]

_NEWS_S = 1.0
_ASKED = 50

T = TypeVar("T")


def network_glance(network: Network) -> str:
    """Return a tree of the institutes and modules."""
    who = f"Network as {network._access.institute}/{network._access.person}"
    title = f"{who} (closed)" if network._closed else who
    return without_fail(lambda: network_html(title, _lines(network)), title)


def institute_glance(institute: Institute) -> str:
    """Return the modules of one institute."""

    def make() -> str:
        modules = [module for module in list(vars(institute).values()) if isinstance(module, Module)]
        lines = _lines(modules[0]._network)
        return network_html("", [line for line in lines if line.name.startswith(f"{institute._name}/")])

    return without_fail(make, institute._name)


def module_glance(module: Module) -> str:
    """Return a module and its methods; one that was not touched yet is asked for them."""

    def make() -> str:
        trouble = _touch(module) if isinstance(module, _Untouched) else ""
        spec = module._spec
        return module_html(str(module), spec, types_of(spec) if spec else {}, trouble)

    return without_fail(make, str(module))


def method_glance(method: Method) -> str:
    """Return a method with its parameters."""
    address = str(method._address)
    return without_fail(lambda: method_html(address, method._spec, method._types), address)


def _lines(network: Network) -> list[ModuleLine]:
    """Return what the catalogue says of all modules; their names alone when it does not answer at once."""
    pages: list[object] = []
    if _can_ask(network):
        try:
            pages = wait_for(items(network._link_now, CATALOGUE, {}, timeout_s=_NEWS_S), _NEWS_S)
        except (LandbridgeError, TimeoutError, RuntimeError):
            pass
    lines = module_lines(list(network._link_now.modules), pages)
    quiet = [line.name for line in lines if line.is_online and not line.summary]
    try:
        said = wait_for(descriptions(network._link_now, quiet[:_ASKED]), _NEWS_S) if pages else {}
    except (LandbridgeError, TimeoutError, RuntimeError):
        said = {}
    return [
        line if (spec := said.get(line.name)) is None else line._replace(summary=spec.summary, version=spec.version)
        for line in lines
    ]


def _touch(module: Module) -> str:
    """Ask a module for its members; return why that did not work, or nothing."""
    network = module._network
    if not _can_ask(network):
        return "It cannot be asked what it offers: this network is closed, or the parent process's."
    try:
        spec: ModuleSpec = wait_for(describe(network._link_now, module._where), _NEWS_S)
    except TimeoutError:
        return f"It did not say within {_NEWS_S:g} s what it offers. Wait longer for it: dir(...)"
    except (LandbridgeError, RuntimeError) as error:
        return str(error)
    _fill(module, spec)
    return ""


def _can_ask(network: Network) -> bool:
    # A forked child would first have to connect, which may take long.
    return not network._closed and network._pid == os.getpid()
