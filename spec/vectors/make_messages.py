"""Write the golden messages of protocol version 1 into ``messages/`` beside this file.

Run it only to add cases: what is written once is promised, and decodes for ever. Bytes stand as hexadecimal text.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from landbridge.errors import LandbridgeError
from landbridge.protocol import Kind, pack, unpack

INSTANCE = "0123456789abcdef0123456789abcdef"

# name, kind, sequence number, meta, body
WRITTEN: list[tuple[str, Kind, int, dict[str, Any], bytes]] = [
    ("call", Kind.CALL, 0, {"granted": 2097152}, b"arguments"),
    ("call with a time limit", Kind.CALL, 0, {"granted": 16384, "timeout_s": 2.5}, b""),
    ("call whose arguments follow", Kind.CALL, 0, {"granted": 2097152, "total": 1048586}, b""),
    (
        "call that is traced and wants what is written",
        Kind.CALL,
        0,
        {
            "granted": 2097152,
            "logs": True,
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": "rojo=00f067aa0ba902b7",
        },
        b"",
    ),
    (
        "call of somebody who reads compressed values",
        Kind.CALL,
        0,
        {"granted": 2097152, "codecs": "lz4 zstd"},
        b"arguments",
    ),
    ("part", Kind.PART, 0, {"at": 0}, bytes(range(10))),
    ("part that ends a value", Kind.PART, 0, {"at": 10, "crc": zlib.crc32(bytes(range(20)))}, bytes(range(10, 20))),
    ("beat of a backend accepts the call", Kind.BEAT, 0, {"instance": INSTANCE, "granted": 2097152, "next": 1}, b""),
    (
        "beat of a backend tells the place in its queue",
        Kind.BEAT,
        0,
        {"instance": INSTANCE, "granted": 2097152, "next": 1, "place": 3},
        b"",
    ),
    (
        "beat of a backend tells that its owner is asked",
        Kind.BEAT,
        0,
        {"instance": INSTANCE, "granted": 2097152, "next": 1, "approval": True},
        b"",
    ),
    (
        "beat of a backend grants long arguments",
        Kind.BEAT,
        0,
        {"instance": INSTANCE, "granted": 2097152, "next": 1, "bulk_granted": 2097152, "bulk_next": 0},
        b"",
    ),
    ("beat of a caller", Kind.BEAT, 2, {"granted": 4194304, "next": 7}, b""),
    (
        "beat of a caller asks again",
        Kind.BEAT,
        1,
        {"granted": 4194304, "next": 7, "bulk_granted": 3145728, "bulk_next": 1048576, "resend": True},
        b"",
    ),
    ("cancel", Kind.CANCEL, 2, {}, b""),
    ("progress", Kind.PROGRESS, 0, {"done": 3, "total": 12, "label": "years"}, b""),
    ("progress without an end", Kind.PROGRESS, 5, {"done": 0.25}, b""),
    ("progress with a label that is not ASCII", Kind.PROGRESS, 5, {"done": 1, "label": "Jahre übrig: 海"}, b""),
    ("result", Kind.RESULT, 0, {}, b"value"),
    ("empty result", Kind.RESULT, 0, {}, b""),
    ("result that follows", Kind.RESULT, 3, {"total": 8388608}, b""),
    ("item", Kind.ITEM, 70000, {}, b"item"),
    ("item that follows", Kind.ITEM, 4294967295, {"total": 65536}, b""),
    ("item behind one that follows", Kind.ITEM, 0, {"after": 65536}, b"item"),
    ("end", Kind.END, 4, {}, b""),
    ("end behind an item that follows", Kind.END, 4, {"after": 65536}, b""),
    ("log", Kind.LOG, 2, {"stream": "stderr", "text": "RuntimeWarning: 0/0"}, b""),
    ("invoke", Kind.INVOKE, 0, {"function": 0, "ask": 1}, b"arguments"),
    ("return", Kind.RETURN, 1, {"ask": 1}, b"value"),
    ("return that follows", Kind.RETURN, 2, {"ask": 2, "total": 600000}, b""),
    (
        "raised",
        Kind.RAISED,
        3,
        {
            "code": "remote_error",
            "text": "stop",
            "type": "ValueError",
            "incident": "a1b2",
            "builtin": "ValueError",
            "ask": 3,
            "after": 600000,
        },
        b"",
    ),
    (
        "error raised by the method",
        Kind.ERROR,
        0,
        {"code": "remote_error", "text": "'sst'", "type": "MissingVariable", "incident": "a1b2", "builtin": "KeyError"},
        b"",
    ),
    (
        "error in the arguments",
        Kind.ERROR,
        0,
        {
            "code": "invalid_arguments",
            "text": "not run",
            "problems": [["first", "must be an integer, not 'x'"], ["region.west", "is missing"]],
        },
        b"",
    ),
    ("error with fields", Kind.ERROR, 1, {"code": "too_large", "text": "t", "size_bytes": 9, "limit_bytes": 8}, b""),
    ("cancelled", Kind.CANCELLED, 1, {"state": "stopped"}, b""),
    ("cancelled but running", Kind.CANCELLED, 1, {"state": "running"}, b""),
]

# Only read: what another or a newer sender may write.
READ: list[tuple[str, bytes]] = [
    ("minor version 1.1", b"\x11\x08\x00\x00\x04\x00\x00\x00"),
    ("field that is not known yet", pack(Kind.BEAT, 0, {"granted": 1, "colour": ["blue", {"deep": None}]})),
    ("body that means nothing", pack(Kind.BEAT, 0) + b"ignored"),
    ("numbers written longer than needed", b"\x10\x03\x12\x00\x00\x00\x00\x00\x81\xa7granted\xcf" + bytes(7) + b"\x01"),
    ("item with 512 bytes of meta", b"\x10\x07\x00\x02" + bytes(4) + b"\x81\xa1x\xda\x01\xfa" + b"x" * 506),
    ("empty map", b"\x10\x08\x01\x00\x00\x00\x00\x00\x80"),
]


def _meta(packed: bytes, kind: int = 3) -> bytes:
    return b"\x10" + bytes([kind]) + len(packed).to_bytes(2, "little") + bytes(4) + packed


REFUSED: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("seven bytes", b"\x10\x08\x00\x00\x00\x00\x00"),
    ("version 0.15", b"\x0f\x08\x00\x00\x00\x00\x00\x00"),
    ("version 1.2", b"\x12\x08\x00\x00\x00\x00\x00\x00"),
    ("version 2.0", b"\x20\x08\x00\x00\x00\x00\x00\x00"),
    ("kind 0", b"\x10\x00\x00\x00\x00\x00\x00\x00"),
    ("kind 15", b"\x10\x0f\x00\x00\x00\x00\x00\x00"),
    ("meta longer than the message", b"\x10\x03\x02\x00\x00\x00\x00\x00\x80"),
    ("meta is a list", _meta(b"\x90")),
    ("meta is cut", _meta(b"\x81\xa7granted")),
    ("meta is followed by more", _meta(b"\x80\x80")),
    ("meta has a key that is a number", _meta(b"\x81\x01\x01")),
    ("meta has a key that is bytes", _meta(b"\x81\xc4\x01a\x01")),
    ("meta has an extension", _meta(b"\x81\xa1a\xd4\x01x")),
    ("meta has text that is not UTF-8", _meta(b"\x81\xa1a\xa1\xff")),
    ("meta declares four billion entries", _meta(b"\x81\xa1a\xdd\xff\xff\xff\xff")),
    ("meta has a list of 257 entries", _meta(b"\x81\xa1a\xdc\x01\x01" + b"\xc0" * 257)),
    ("granted below zero", _meta(b"\x81\xa7granted\xff")),
    ("granted is true", _meta(b"\x81\xa7granted\xc3")),
    ("granted is a fraction", _meta(b"\x81\xa7granted\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00")),
    ("granted beyond 2**60", _meta(b"\x81\xa7granted\xcf\x10\x00\x00\x00\x00\x00\x00\x01")),
    ("done is not a number", _meta(b"\x81\xa4done\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", 5)),
    ("instance is a wildcard", _meta(b"\x81\xa8instance\xa1*")),
    ("instance has upper case", _meta(b"\x81\xa8instance\xd9\x20" + INSTANCE.upper().encode())),
    ("instance ends with a newline", _meta(b"\x81\xa8instance\xd9\x21" + INSTANCE.encode() + b"\n")),
    ("resend is a number", _meta(b"\x81\xa6resend\x01")),
    ("next below zero", _meta(b"\x81\xa4next\xff")),
    ("at beyond 2**60", _meta(b"\x81\xa2at\xcf\x10\x00\x00\x00\x00\x00\x00\x01", 2)),
    ("crc of 33 bits", _meta(b"\x81\xa3crc\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 2)),
    ("function beyond the last", _meta(b"\x81\xa8function\x40", 12)),
    ("item with more than 512 bytes of meta", _meta(b"\x81\xa1x\xda\x01\xfc" + b"x" * 508, 7)),
    ("codecs of 65 characters", _meta(b"\x81\xa6codecs\xd9\x41" + b"x" * 65, 1)),
    ("codecs that are no text", _meta(b"\x81\xa6codecs\x91\xa3lz4", 1)),
    ("label of 201 characters", _meta(b"\x81\xa5label\xd9\xc9" + b"x" * 201, 5)),
]


def _case(name: str, payload: bytes) -> dict[str, Any]:
    message = unpack(payload)
    return {
        "name": name,
        "kind": message.kind.name,
        "sequence": message.sequence,
        "meta": message.meta,
        "body": message.body.hex(),
        "bytes": payload.hex(),
    }


def _refusal(name: str, payload: bytes) -> dict[str, str]:
    try:
        unpack(payload)
    except LandbridgeError as error:
        return {"name": name, "error": error.code, "bytes": payload.hex()}
    raise ValueError(f"{name} was not refused")


def make() -> dict[str, list[dict[str, Any]]]:
    """Return the vectors by the name of their file."""
    return {
        "written.json": [_case(name, pack(kind, number, meta) + body) for name, kind, number, meta, body in WRITTEN],
        "read.json": [_case(name, payload) for name, payload in READ],
        "refused.json": [_refusal(name, payload) for name, payload in REFUSED],
    }


if __name__ == "__main__":
    folder = Path(__file__).parent / "messages"
    folder.mkdir(exist_ok=True)
    for file, cases in make().items():
        (folder / file).write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
