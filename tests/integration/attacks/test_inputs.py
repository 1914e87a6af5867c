"""Attacks by what is sent: nothing of a stranger's is decoded, and nothing of anybody's does harm."""

from __future__ import annotations

import json
import secrets
import struct
import zlib

import msgpack
import pytest

import landbridge as lb
from integration.attacks.stage import MARK, request
from integration.eve import memory_mb
from landbridge import wire
from landbridge.protocol import Kind, pack, unpack
from landbridge.security import sign_statement

ID = "0" * 32
_CALL = pack(Kind.CALL, 0, {"granted": 1 << 20})
_WHOLE = b"".join(wire.encode({"value": 1}))


def frame(header: bytes, *buffers: int) -> bytes:
    """Return a frame that announces these buffers."""
    sizes = struct.pack(f"<II{len(buffers)}Q", len(header), len(buffers), *buffers)
    return b"LB" + _WHOLE[2:4] + sizes + header


def deep(levels: int, opening: bytes, inner: bytes) -> bytes:
    return opening * levels + inner


def extension(tag: str, payload: object) -> bytes:
    packed = msgpack.packb([tag, payload])
    return msgpack.packb({"value": msgpack.ExtType(1, packed)})


HARMFUL = {
    "nothing": b"",
    "no frame": b"\x00" * 64,
    "a frame cut off": _WHOLE[:-1],
    "another version of frames": _WHOLE[:2] + b"\xff\xff" + _WHOLE[4:],
    "lists in lists, ten thousand deep": frame(b"\x81\xa5value" + deep(10_000, b"\x91", b"\x01")),
    "maps in maps, ten thousand deep": frame(b"\x81\xa5value" + deep(10_000, b"\x81\xa1a", b"\x01")),
    "a list of four thousand million": frame(b"\x81\xa5value\xdd\xff\xff\xff\xff"),
    "a map of four thousand million": frame(b"\x81\xa5value\xdf\xff\xff\xff\xff"),
    "a text of four gigabytes": frame(b"\x81\xa5value\xdb\xff\xff\xff\xff"),
    "bytes of four gigabytes": frame(b"\x81\xa5value\xc6\xff\xff\xff\xff"),
    "a header of four gigabytes": b"LB" + _WHOLE[2:4] + struct.pack("<II", 2**32 - 1, 0),
    "four thousand million buffers": b"LB" + _WHOLE[2:4] + struct.pack("<II", 1, 2**32 - 1),
    "a buffer of an exabyte": frame(b"\x81\xa5value\x01", 2**60),
    "a million small things, of which half are there": frame(b"\x81\xa5value\xdd\x00\x0f\x42\x40" + b"\xc0" * 500_000),
    "an unknown tag": frame(extension("os.system", ["true"])),
    "a tag of pickle": frame(extension("pickle", b"cos\nsystem\n(S'true'\ntR.")),
    "an extension of another kind": frame(msgpack.packb({"value": msgpack.ExtType(99, b"x" * 100)})),
    "a compressed bomb": frame(extension("compressed", zlib.compress(bytes(10_000_000)))),
    "an array of objects": frame(extension("array", ["|O", [10**9], 0])),
    "an array of negative size": frame(extension("array", ["<f8", [-1, -1], 0])),
    "an array of more than there is": frame(extension("array", ["<f8", [2**40, 2**40], 0]), 8) + bytes(8),
    "a name given twice": frame(b"\x82\xa5value\x01\xa5value\x02"),
    "arguments that are no map": frame(b"\x93\x01\x02\x03"),
    "arguments by numbers": frame(b"\x81\x01\x02"),
    "an argument that is none": frame(msgpack.packb({"__class__": 1})),
    "random bytes": bytes(range(256)) * 200,
}  # fmt: skip


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("what", HARMFUL)
def test_nothing_of_a_strangers_is_decoded(stage, mallory, what):
    """Whether it is well made or not: who may not call is told so, and of the rest nobody speaks."""
    before = memory_mb(stage.stats.pid)
    said = mallory.answer(mallory.call("awi.stats.secret", payload=_CALL + HARMFUL[what]))
    assert (said.kind, said.meta["code"]) == (Kind.ERROR, "denied")
    assert memory_mb(stage.stats.pid) - before < 50
    assert stage.stats.running


@pytest.mark.parametrize("what", HARMFUL)
def test_nothing_harmful_runs_for_who_may_call(stage, mallory, what):
    before, memory = stage.ran, memory_mb(stage.stats.pid)
    said = mallory.answer(mallory.call("awi.stats.same", payload=_CALL + HARMFUL[what]))
    assert said.kind is Kind.ERROR
    assert said.meta["code"] in ("malformed", "too_large", "invalid_arguments", "protocol_mismatch", "cannot_travel")
    assert stage.ran == before
    assert memory_mb(stage.stats.pid) - memory < 100
    assert wire.decode(mallory.answer(mallory.call("awi.stats.same", {"value": 1})).body) == 1


METAS = {
    "a total of a terabyte": {"total": 1 << 40},
    "a negative total": {"total": -1},
    "credit without end": {"granted": 1 << 63},
    "no credit": {"granted": -5},
    "to be kept": {"keep": True},
    "a grant of nobody's": {"grant": "a.b"},
    "a trace with escapes": {"traceparent": "\x1b[2J" * 10, "tracestate": "\u202e" * 10},
    "a caller of its own": {"caller": "awi/bob", "who": "awi/bob", "person": "bob"},
    "names without end": {str(number): number for number in range(60)},
    "a list for everything": {"granted": [[[]]], "keep": [], "codecs": {"x": 1}},
}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("what", METAS)
def test_nothing_that_a_request_says_of_itself_opens_what_is_not_shared(stage, mallory, what):
    said = mallory.answer(mallory.call("awi.stats.secret", payload=pack(Kind.CALL, 0, METAS[what]) + _WHOLE))
    assert said.kind is Kind.ERROR
    assert said.meta["code"] in ("denied", "malformed", "too_large", "protocol_mismatch")


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CALL], ids=lambda kind: kind.name)
def test_no_other_message_begins_a_call(stage, mallory, kind):
    call_id = secrets.token_hex(16)
    mallory.publish("lb.call.gfz.mallory.awi.stats.secret", pack(kind, 0) + _WHOLE, mallory.inbox(call_id))
    assert mallory.code("awi.stats.nothing") == "unknown_member"
    mallory.flush()


@pytest.fixture(scope="module")
def instance(stage):
    """The id of the backend of awi/stats."""
    return stage.net["awi/stats"].same.keep(1)._data.instance


@pytest.mark.parametrize("what", ["parts of a long value", "an answer to a question", "a beat", "a cancellation"])
def test_what_follows_a_refused_request_is_not_listened_to(stage, instance, mallory, unharmed, what):
    call_id = mallory.call("awi.stats.secret", payload=pack(Kind.CALL, 0, {"granted": 1 << 20, "total": 1 << 20}))
    assert mallory.answer(call_id).meta["code"] == "denied"
    control = f"lb.ctl.gfz.mallory.awi.stats.{instance}.call.{call_id}"
    sent = {
        "parts of a long value": ("part", pack(Kind.PART, 0, {"at": 0}) + bytes(500_000)),
        "an answer to a question": ("message", pack(Kind.RETURN, 1, {"ask": 0}) + _WHOLE),
        "a beat": ("message", pack(Kind.BEAT, 1, {"granted": 1 << 40, "next": 0, "resend": True})),
        "a cancellation": ("message", pack(Kind.CANCEL, 1)),
    }[what]
    before = memory_mb(stage.stats.pid)
    for _ in range(100):
        mallory.publish(f"{control}.{sent[0]}", sent[1], mallory.inbox(call_id, 1))
    assert mallory.code("awi.stats.nothing") == "unknown_member"
    assert memory_mb(stage.stats.pid) - before < 50


SUBJECTS = [
    "*", ">", "secret.more", "secret.", ".secret", "_secret", "__class__", "__init__", "secret:", ":secret", "a:b:c",
    "Vault.read", "_describe.secret", "sеcret", "secret\u200b", "secret\u202e", "\x1b[2J", "\x9b31m", "secret\u2028x",
    "secret\x00", "x" * 129, "1secret", "se-cret", "se/cret", "../secret", "%73ecret", "se*cret", "{{name()}}",
]  # fmt: skip


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("token", SUBJECTS, ids=ascii)
def test_a_method_by_a_name_that_is_none_is_not_there(stage, mallory, token):
    call_id = secrets.token_hex(16)
    mallory.publish(f"lb.call.gfz.mallory.awi.stats.{token}", request(), mallory.inbox(call_id))
    assert mallory.code("awi.stats.nothing") == "unknown_member"
    mallory.flush()
    answers = [unpack(each.payload) for each in mallory.messages if each.payload]  # empty: nobody is there to be asked
    assert all(said.kind is Kind.ERROR for said in answers)
    assert not set("\x1b\x9b\x00\u202e\u2028") & set(stage.stats.stderr)


# What issuers and the registrar are given


STATEMENTS = {
    "a megabyte of letters": "A" * 400_000,
    "brackets, eight thousand deep": "W" * 8000,
    "signed brackets": None,
    "two signatures": "e30.AAAA.AAAA",
    "escapes": "\x1b]0;owned\x07\u202e",
    "lines": "x\n2026-11-26 WARNING all is well\r\n",
    "nothing": "",
}


@pytest.mark.parametrize("target", ["lb.join", "lb.rotate", "lb.revoke", "gfz.join", "gfz.renew", "awi.renew"])
@pytest.mark.parametrize("what", STATEMENTS)
def test_no_statement_does_harm_to_who_has_to_read_it(stage, target, what):
    issuer, method = target.split(".")
    name = {"lb.join": "charter", "lb.rotate": "charter", "lb.revoke": "revocation"}.get(target, "proof")
    text = STATEMENTS[what]
    if text is None:
        said = {"keys": json.loads("[" * 90 + "]" * 90), "institute": {"a": [None]}}
        text = sign_statement(name, said, stage.eve.ours.root)
    credentials = stage.eve.credentials
    if method == "join":
        invited = stage.invite_institute("ufz") if issuer == "lb" else stage.invite_person(stage.eve, "guest")
        credentials = invited.credentials
    with pytest.raises(lb.LandbridgeError) as caught:
        stage.ask(credentials, target, **{name: text})
    assert caught.value.code in ("denied", "invalid_arguments")
    shown = str(caught.value)
    assert len(shown) < 4000
    assert not set("\x1b\x07\u202e") & set(shown)
    assert MARK not in shown
    for process in (*stage.issuers, stage.site.up):
        assert process.running
        assert "Traceback" not in process.stderr
        assert "all is well" not in process.stderr
