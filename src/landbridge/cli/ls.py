"""``landbridge ls``: the modules of the network."""

from __future__ import annotations

from typing import Any

from ..client.lookup import descriptions
from ..client.loop import wait_for
from ..names import ISSUER_MODULE, Address, parse_address
from ..security import SERVICE_INSTITUTE
from .console import say, show, show_json, table
from .network import connected, listed_modules

__all__ = ["ls"]


def ls(*, profile: str | None = None, json: bool = False) -> None:
    """List the modules of the network, those that are offline, too.

    Parameters
    ----------
    profile
        Which network, and as whom; by default the network of this computer.
    json
        Print a JSON list.
    """
    with connected(profile) as link:
        modules = [entry for entry in listed_modules(link) if not _is_own(parse_address(entry["module"]))]
        quiet = [entry["module"] for entry in modules if entry["backends"] and not entry["summary"]]
        said = wait_for(descriptions(link, quiet))
    for entry in modules:
        if (spec := said.get(entry["module"])) is not None:
            entry["summary"], entry["version"] = spec.summary, spec.version
    if json:
        show_json([{**entry, "online": entry["backends"] > 0} for entry in modules])
    elif modules:
        show(table(("module", "state", "about"), [(each["module"], _state(each), each["summary"]) for each in modules]))
    else:
        say("No modules yet. Serve one: landbridge serve FILE.py --as INSTITUTE/MODULE")


def _is_own(address: Address) -> bool:
    """Whether a module is one of those by which the network and its institutes are run."""
    return address.institute == SERVICE_INSTITUTE or address.module == ISSUER_MODULE


def _state(entry: dict[str, Any]) -> str:
    backends = entry["backends"]
    if not backends:
        return f"offline since {entry['seen'][:16].replace('T', ' ')} UTC"
    return "online" if backends == 1 else f"online, {backends} backends"
