"""What a module says of itself in the catalogue: a small JSON text under ``lb.cat.<I>.<M>``, renewed while served.

It is public within the network: name, one line of text, version. What a caller may see beyond that, it asks the
module itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace

from ..errors import Malformed, printable
from .messages import VERSION, version_text

__all__ = ["PRESENCE_S", "PRESENCE_SILENCE_S", "Presence", "pack_presence", "unpack_presence"]

PRESENCE_S = 5.0
"""How often a backend announces its module."""

PRESENCE_SILENCE_S = 15.0
"""A backend counts as gone when it has not announced itself for this long."""

_LIMIT = 4096
_SUMMARY_LIMIT = 200
_VERSION_LIMIT = 40
_PROTOCOL_LIMIT = 10
_RUN_LIMIT = 32
_INSTANCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Presence:
    """One announcement.

    Attributes
    ----------
    instance : str
        Id of the backend, 32 hexadecimal digits.
    serving : bool
        False in the last one, when the backend stops.
    summary : str
        First line of the module's docstring.
    version : str
        The module's own version, if it has one.
    protocol : str
        Protocol version of the backend.
    run : str
        Of this start of the backend: another one with the same instance shows that it was started anew.
    """

    instance: str
    serving: bool
    summary: str = ""
    version: str = ""
    protocol: str = version_text(VERSION)
    run: str = ""


def pack_presence(presence: Presence) -> bytes:
    """Return the announcement as JSON, long texts cut: a docstring must not make its module invisible."""
    short = replace(
        presence,
        summary=printable(presence.summary, _SUMMARY_LIMIT),
        version=printable(presence.version, _VERSION_LIMIT),
    )
    return json.dumps(asdict(short)).encode()


def unpack_presence(payload: bytes) -> Presence:
    """Return an announcement, every field checked and made printable; raises `Malformed`."""
    if len(payload) > _LIMIT:
        raise Malformed(f"a catalogue entry of {len(payload)} bytes is larger than {_LIMIT}")
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        raise Malformed("a catalogue entry is not JSON") from None
    if not isinstance(fields, dict):
        raise Malformed("a catalogue entry is not a JSON object")
    instance, serving = fields.get("instance"), fields.get("serving")
    if not isinstance(instance, str) or not _INSTANCE.fullmatch(instance) or not isinstance(serving, bool):
        raise Malformed("a catalogue entry names no instance")
    texts = [fields.get(name, "") for name in ("summary", "version", "protocol", "run")]
    if not all(isinstance(text, str) for text in texts):
        raise Malformed("a catalogue entry holds a field of the wrong type")
    summary, version, protocol, run = texts
    return Presence(
        instance,
        serving,
        printable(summary, _SUMMARY_LIMIT),
        printable(version, _VERSION_LIMIT),
        printable(protocol, _PROTOCOL_LIMIT),
        printable(run, _RUN_LIMIT),
    )
