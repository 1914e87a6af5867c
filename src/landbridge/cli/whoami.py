"""``landbridge whoami``: who one is in a network, until when, and what one may serve there."""

from __future__ import annotations

from typing import Any

from ..errors import NotConfigured
from ..hub.access import chosen_profile, institute_here
from ..hub.institutes import Institute, institute_of
from ..hub.keys import KEYS_FILE
from ..hub.owner import owner_person
from ..hub.renewal import read_credentials
from ..names import OWNER_INSTITUTE
from ..security import fingerprint, until_text
from ..settings import local_dir, profiles, read_profile, running_broker
from .console import show, show_json, table

__all__ = ["whoami"]


def whoami(*, members: bool = False, profile: str | None = None, json: bool = False) -> None:
    """Show who you are, in which network, and until when.

    Parameters
    ----------
    members
        Show who belongs to your institute, where its keys are on this computer.
    profile
        Which network, and as whom; by default the network of this computer, or the only one you have joined.
    json
        Print a JSON object.
    """
    chosen = chosen_profile(profile)
    if members:
        _members(institute_here(profile), json=json)
        return
    facts = _here(chosen) if chosen is None or "/" in chosen else _joined(chosen)
    if json:
        show_json(facts)
        return
    width = max(map(len, facts))
    show("\n".join(f"{key.replace('_', ' '):<{width}}  {_shown(value)}" for key, value in facts.items()))


def _here(chosen: str | None) -> dict[str, Any]:
    broker = running_broker()
    if not (local_dir() / KEYS_FILE).exists():
        raise NotConfigured(
            "You are nobody yet: this computer has no network of its own (landbridge up), and no profile is chosen of "
            f"the networks that you have joined ({', '.join(profiles()) or 'none yet: landbridge join'})."
        )
    return {
        "who": chosen or f"{OWNER_INSTITUTE}/{owner_person()}",
        "network": f"that of this computer, kept in {local_dir()}",
        "brokers": [broker.url] if broker is not None else [],
        "serves": "any module: whoever runs the network of this computer owns it",
    }


def _joined(chosen: str) -> dict[str, Any]:
    profile = read_profile(chosen)
    held = read_credentials(profile)
    ours = institute_of(chosen)
    facts = {
        "who": str(held.caller),
        "profile": chosen,
        "network": held.network,
        "brokers": list(profile.urls),
        "serves": "any module of the institute" if ours is not None else list(held.modules),
        "valid_until": until_text(held.expires) if held.expires else "",
        "credential": str(profile.creds_file),
    }
    return facts | ({} if ours is None else {"fingerprint": fingerprint(ours.root.public), "keys": str(ours.folder)})


def _members(ours: Institute, *, json: bool) -> None:
    register = ours.members()
    rows = [
        {
            "person": each.person,
            "serves": list(each.modules),
            "state": "revoked" if each.revoked else "member",
            "until": until_text(each.until),
            "renewed": until_text(each.renewed),
        }
        for each in register.members.values()
    ]
    rows += [
        {
            "person": each.person, "serves": list(each.modules), "state": "invited",
            "until": until_text(each.until), "renewed": "",
        }
        for each in register.invited.values()
        if not each.used_by
    ]  # fmt: skip
    if json:
        show_json(rows)
    else:
        head = ("person", "state", "until", "renewed", "serves")
        show(table(head, [[_shown(row[key]) for key in head] for row in rows]))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
