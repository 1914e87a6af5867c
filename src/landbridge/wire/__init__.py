"""Values on the wire: Python, NumPy, xarray, table and geographic objects ↔ one frame of header and raw buffers.

The format is described in ``spec/wire.md``. Both directions are exact: what arrives equals what was sent, type by
type; what could not is refused before sending with its place in the structure.

Examples
--------
>>> parts = encode({"first": 2006, "region": (-5.0, 5.0)})
>>> decode(b"".join(parts))
{'first': 2006, 'region': (-5.0, 5.0)}
"""

from .codec import decode, encode
from .compression import COMPRESSED_FROM, compressed, readable
from .frame import DEFAULT, Limits, joined, saved_bytes, size_bytes
from .functions import Function
from .references import ReferenceData, may_hold_references
from .registry import UnknownType, register
from .room import Room, room

__all__ = [
    "COMPRESSED_FROM",
    "DEFAULT",
    "Function",
    "Limits",
    "ReferenceData",
    "Room",
    "UnknownType",
    "compressed",
    "decode",
    "encode",
    "joined",
    "may_hold_references",
    "readable",
    "register",
    "room",
    "saved_bytes",
    "size_bytes",
]
