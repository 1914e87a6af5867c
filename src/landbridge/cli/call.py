"""``landbridge call``: one call, and its value on stdout or in a file.

Its words are read here rather than by the command line's library: what stands behind the address belongs to a method
that only the network knows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from .. import wire
from ..client.call import Call
from ..client.link import Link
from ..client.loop import io_loop
from ..contract import MethodSpec, ModuleSpec, rebuild_types
from ..errors import InvalidName
from ..names import Address, parse_address
from .console import say, show, show_json
from .ending import UsageError
from .input import read_arguments
from .methodhelp import call_help, method_help
from .network import connected, described, method_of
from .output import check_output, show_value, write_value

__all__ = ["call"]


def call(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Call a method and print its value, or write it to a file.

    Parameters
    ----------
    words
        The address, the arguments of the method and the options of this command.
    """
    # What follows -- counts for this command, too, so it is read from the words as the shell gave them.
    asked = _Asked.read(_after_own_name(sys.argv[1:], words))
    if asked.address is None:
        if not asked.help:
            raise UsageError("which method? landbridge call institute/module.method …\nSee: landbridge call --help")
        show(call_help())
        return
    address = parse_address(asked.address)
    if address.member is None:
        raise InvalidName(asked.address, "method", "it names a module; write institute/module.method")
    if asked.output is not None:
        check_output(asked.output)
    with connected(asked.profile) as link:
        spec = described(link, address)
        method = method_of(spec, address.member)
        if asked.help:
            show(method_help(spec, method))
            return
        _call(link, address, spec, method, asked)
