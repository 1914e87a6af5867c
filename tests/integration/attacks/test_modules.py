"""Attacks on modules: serving for another's, poisoning the catalogue, and calling what was not shared."""

from __future__ import annotations

import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from integration.attacks.stage import MARK, request
from integration.eve import spec
from landbridge import wire
from landbridge.errors import IdentityChanged, LandbridgeError, ObjectGone, PermissionDenied
from landbridge.protocol import Kind, Presence, pack, pack_presence, unpack
from landbridge.security import Grant, attest_module, description_proof, new_key, sign_grant

ID = "0" * 32


# Serving for another's module


TAKEN = {
    "requests of the module": "subscribe lb.call.*.*.awi.stats.*",
    "requests of one method": "subscribe lb.call.*.*.awi.stats.secret",
    "requests of modules that begin alike": "subscribe lb.call.*.*.awi.*.*",
    "requests of the institute": "subscribe lb.call.*.*.awi.>",
    "requests at the institute of its issuer": "subscribe lb.call.*.*.awi.id.*",
    "what is said to running calls": "subscribe lb.ctl.*.*.awi.stats.>",
    "questions of tools, wherever": "subscribe $SRV.>",
    "its entry in the catalogue": "publish lb.cat.awi.stats",
    "the entry of the issuer": "publish lb.cat.awi.id",
    "an entry below its own": "publish lb.cat.awi.stats.more",
    "outcomes of its jobs": "publish lb.out.awi.stats.gfz.mallory.secret.r.c.done",
    "its jobs": "publish lb.pull.JOBS_awi.stats",
    "the word of the registrar": "subscribe lb.call.*.*.lb.id.*",
    "the entry of the catalogue itself": "publish lb.cat.lb.catalogue",
}


@pytest.mark.parametrize("who", ["mallory", "colin", "eve who names it in her tags"])
@pytest.mark.parametrize("what", TAKEN)
def test_nobody_takes(stage, unharmed, what, who):
    if who.startswith("eve"):
        tags = ("module:stats", "module:id", "module:awi.stats", "module:*", "institute:awi")
        tap = stage.eve.tap_of(stage.eve.forge("eve", *tags), who=("gfz", "eve"))
    else:
        tap = getattr(stage, who).tap()
    verb, subject = TAKEN[what].split(" ")
    if verb == "publish":
        assert tap.refuses_publish(subject, pack_presence(Presence(ID, True, MARK)))
    else:
        assert tap.refuses_subscribe(subject, "lb")
        assert tap.refuses_subscribe(subject)
    assert stage.net["awi/stats"].secret() == MARK
    unharmed.append("secret for awi/bob")
    tap.flush()
    assert tap.messages == []
    assert b"awi.bob" not in tap.heard.replace(subject.encode(), b"")
    tap.close()


def listed(stage):
    return {entry["module"]: entry for entry in stage.bob.computer.json("ls")}


def test_the_entry_of_a_module_is_its_own_whatever_others_announce(stage, mallory, colin):
    before = listed(stage)["awi/stats"]
    eve = stage.eve.tap_of(stage.eve.forge("eve", "module:stats", "module:fake"), who=("gfz", "eve"))
    poison = [pack_presence(Presence(secrets.token_hex(16), True, "poisoned", "6.6.6")) for _ in range(3)]
    for tap, own in ((eve, "lb.cat.gfz.fake"), (mallory, "lb.cat.gfz.mallory"), (colin, "lb.cat.awi.colin")):
        for payload in poison:
            assert tap.refuses_publish("lb.cat.awi.stats", payload)
            tap.publish(own, payload)
        gone = Presence(stage.net["awi/stats"].same.keep(1)._data.instance, False, "poisoned")
        tap.publish(own, pack_presence(gone))  # says that the backend of awi/stats is gone
        tap.flush()
    after = listed(stage)
    assert {**after["awi/stats"], "seen": ""} == {**before, "seen": ""}
    assert after["gfz/fake"]["summary"] == "poisoned"  # of one's own, anybody says what they like
    assert stage.net["awi/stats"].secret() == MARK


# Proofs that a module is of its institute


def serve_once(stage, answers):
    """Have colin's own module describe itself to bob as `answers` says; return what bob makes of it."""
    tap = stage.colin.tap()
    tap.subscribe("lb.call.*.*.awi.colin.*", "lb")
    tap.publish("lb.cat.awi.colin", pack_presence(Presence(secrets.token_hex(16), True)))
    tap.flush()

    def asks():
        with stage.bob.connected() as net:
            return dir(net["awi/colin"])

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asks)
        while True:
            delivered = tap.wait_for_message()
            if delivered.subject.endswith("._describe"):
                break
        nonce = wire.decode(unpack(delivered.payload).body)["nonce"]
        said = json.dumps(spec("awi/colin", f={}))
        payload = pack(Kind.RESULT, 0) + b"".join(wire.encode({"said": said, "identity": answers(tap, said, nonce)}))
        tap.publish(delivered.reply, payload)
        try:
            return asked.result(30)
        finally:
            tap.close()


def own_word(stage, module="colin"):
    """Return colin's key, and awi's word for it."""
    key = new_key("user", secrets.token_bytes(32))
    return key, stage.ask(stage.colin.credentials, "awi.attest", module=module, key=key.public)


def honest(stage, tap, said, nonce, **changes):
    key, word = own_word(stage)
    given = {"to": "awi/bob", "nonce": nonce, "word": word, "key": key, **changes}
    return description_proof(said, **given)


def proof_of_stats(stage, tap, nonce):
    """Return what awi/stats proves to colin, who asks it with bob's number."""
    described = wire.decode(tap.answer(tap.call("awi.stats._describe", {"nonce": nonce})).body)
    return described["identity"]


def with_own_root(stage, module="colin"):
    root, key = new_key("account", secrets.token_bytes(32)), new_key("user", secrets.token_bytes(32))
    until = int(time.time()) + 600
    return {"key": key, "word": attest_module(stage.keys.net.public, "awi", module, key.public, root, until=until)}


def ended_word(stage):
    key, ours = new_key("user", secrets.token_bytes(32)), stage.awi.ours
    return {"key": key, "word": attest_module(ours.network, "awi", "colin", key.public, ours.root, until=1)}


def word_of_gfz(stage):
    key, ours = new_key("user", secrets.token_bytes(32)), stage.eve.ours
    until = int(time.time()) + 600
    return {"key": key, "word": attest_module(ours.network, "awi", "colin", key.public, ours.root, until=until)}


PROOFS = {
    "none": lambda s, tap, said, nonce: None,
    "that of another module, given to him for bob's number": lambda s, tap, said, nonce: proof_of_stats(s, tap, nonce),
    "an old one, for another number": lambda s, tap, said, nonce: honest(s, tap, said, ID),
    "one for another caller": lambda s, tap, said, nonce: honest(s, tap, said, nonce, to="awi/carla"),
    "one for something else that it said": lambda s, tap, said, nonce: honest(s, tap, said + " ", nonce),
    "a word that he has signed himself": lambda s, tap, said, nonce: honest(s, tap, said, nonce, **with_own_root(s)),
    "a word of gfz": lambda s, tap, said, nonce: honest(s, tap, said, nonce, **word_of_gfz(s)),
    "a word that has ended": lambda s, tap, said, nonce: honest(s, tap, said, nonce, **ended_word(s)),
    "the word for a key that he has not": lambda s, tap, said, nonce: honest(
        s, tap, said, nonce, key=new_key("user", secrets.token_bytes(32))
    ),
    "nonsense": lambda s, tap, said, nonce: {"word": "x" * 9000, "proof": ["y"]},
}


@pytest.mark.parametrize("what", PROOFS)
def test_a_module_is_not_taken_for_one_of_awi_by(stage, what):
    with pytest.raises(IdentityChanged, match=r"does not prove|is one of"):
        serve_once(stage, lambda tap, said, nonce: PROOFS[what](stage, tap, said, nonce))


def test_a_module_is_taken_for_one_of_awi_by_its_word_and_a_proof_for_who_asks(stage):
    assert serve_once(stage, lambda tap, said, nonce: honest(stage, tap, said, nonce)) == ["f"]


# What is not shared


MEMBERS = {
    "a method": ("secret", {}),
    "an asynchronous method": ("soon", {}),
    "a method in a process of its own": ("apart", {}),
    "a generator": ("numbers", {"n": 1}),
    "a method that calls back": ("ask", {"function": wire.Function(0)}),
    "a class": ("Vault", {}),
    "a method of a class that needs no object": ("Vault:combination", {}),
    "a method of a class without an object": ("Vault:read", {}),
    "a data set": ("readings:open", {}),
    "a selection of a data set": ("readings:select", {"version": "1", "wanted": []}),
    "a key of a data set": ("readings:get", {"version": "1", "key": "t/0"}),
    "a data set as a method": ("readings", {}),
    "what has run": ("ran", {}),
    "the audit log": ("audit", {}),
    "the audit log, as an own method": ("_audit", {}),
    "what a class has by itself": ("__class__", {}),
    "a member of a method": ("secret:__globals__", {}),
    "a module that it uses": ("lb", {}),
    "a method in capitals": ("SECRET", {}),
    "a method by a name that looks the same": ("sеcret", {}),
}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("kept", [False, True], ids=["", "to be kept"])
@pytest.mark.parametrize("what", MEMBERS)
def test_what_is_not_shared_is_not_called(stage, mallory, what, kept):
    member, arguments = MEMBERS[what]
    call_id = mallory.call(f"awi.stats.{member}", arguments, **({"keep": True} if kept else {}))
    fence = mallory.call("awi.stats.nothing")
    codes = []
    while True:  # the second is answered after the first, if the first is answered at all
        delivered = mallory.wait_for_message()
        said = unpack(delivered.payload)
        assert said.kind is Kind.ERROR
        if fence in delivered.subject:
            break
        assert call_id in delivered.subject
        codes.append(said.meta["code"])
    assert set(codes) <= {"denied", "unknown_member"}
    assert bool(codes) == (member.isascii() and "_" not in member)


def test_what_is_described_to_somebody_is_what_they_may_call(stage, mallory):
    described = wire.decode(mallory.answer(mallory.call("awi.stats._describe", {"nonce": ID})).body)
    assert {each["name"] for each in json.loads(described["said"])["methods"]} == {"hello", "same"}
    assert not [name for name in ("secret", "Vault", "readings", "combination") if f"'{name}'" in str(described)]
    assert mallory.code("awi.stats._describe", {"member": "secret"}) == "denied"


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("who", ["anna", "eve"])
def test_what_is_shared_with_one_is_not_shared_with_others_of_the_institute(stage, who):
    tap = getattr(stage, who).tap()
    for member in ("hello", "same", "_describe"):
        assert tap.code(f"awi.stats.{member}") == "denied"
    tap.close()


# What belongs to bob


def held(tap, instance, kind, held_id, method, arguments=None, **meta):
    """Ask something of an object or of a kept value."""
    call_id = secrets.token_hex(16)
    subject = f"lb.ctl.{tap.institute}.{tap.person}.awi.stats.{instance}.{kind}.{held_id}.{method}"
    tap.send(subject, request(arguments, **meta), tap.inbox(call_id))
    return call_id


@pytest.mark.parametrize("who", ["mallory", "colin", "a backend of gfz", "a backend of awi"])
@pytest.mark.parametrize("method", ["read", "combination", "_renew", "_release", "nothing"])
def test_an_object_of_bobs_is_nobody_elses(stage, who, method):
    vault = stage.net["awi/stats"].Vault()
    handle = vault._handle
    tap = someone(stage, who)
    before = stage.ran
    call_id = held(tap, handle.instance, "object", handle.object_id, method)
    assert stage.ran == before  # and what was sent before has been heard
    tap.flush()
    answers = {unpack(each.payload).meta.get("code") for each in tap.messages if call_id in each.subject}
    assert answers == (set() if method == "_release" else {"gone"})
    assert vault.read() == MARK
    tap.flush()
    assert MARK.encode() not in tap.heard
    tap.close()


def someone(stage, who):
    """Return the bare connection of whoever it is."""
    if who.startswith("a backend"):
        admin = stage.eve if who.endswith("gfz") else stage.awi
        return admin.tap_of(admin.forge("_M", "module:other"), who=(admin.profile, "_M"))
    return getattr(stage, who).tap()


@pytest.mark.parametrize("who", ["mallory", "colin", "a backend of gfz", "a backend of awi"])
@pytest.mark.parametrize("verb", ["get", "info", "pin", "grant", "open", "_release", "_renew", "value"])
def test_a_kept_value_of_bobs_is_nobody_elses(stage, who, verb):
    kept = stage.net["awi/stats"].secret.keep()
    tap = someone(stage, who)
    arguments = {"pin": {"days": 1}, "grant": {"institute": "gfz"}}.get(verb, {})
    call_id = held(tap, kept._data.instance, "ref", kept._data.value_id, verb, arguments)
    assert kept.get() == MARK  # and what was sent before has been heard
    tap.flush()
    answers = {unpack(each.payload).meta.get("code") for each in tap.messages if call_id in each.subject}
    # Letting go of what one has not, and prolonging what one has, is not answered at all.
    assert answers == (set() if verb.startswith("_") else {"unknown_member"} if verb == "value" else {"gone"})
    assert MARK.encode() not in tap.heard
    tap.close()


GRANTS = {
    "no grant": lambda stage, kept: None,
    "what is no grant": lambda stage, kept: "e30.AAAA",
    "a grant that eve has signed": lambda stage, kept: sign_grant(
        Grant("awi/stats", kept._data.value_id, "awi", int(time.time()) + 60, "awi/bob"), stage.eve.key
    ),
    "a grant of another value": lambda stage, kept: stage.net["awi/stats"].same.keep(1)._for("awi").grant,
    "the grant that bob was given for backends of awi": lambda stage, kept: kept._for("awi").grant,
}


@pytest.mark.parametrize("what", GRANTS)
def test_a_method_that_is_shared_does_not_fetch_what_is_not(stage, mallory, what):
    """Mallory gives bob's kept value to a method that gives back what it is given."""
    kept = stage.net["awi/stats"].secret.keep()
    data = replace(kept._data, summary={}, grant=GRANTS[what](stage, kept))
    assert mallory.code("awi.stats.same", {"value": data}) == "gone"
    assert stage.net["awi/stats"].same(kept) == MARK  # who may have it may give it


def test_another_backend_of_the_module_does_not_fetch_it_either(stage, mallory):
    kept = stage.net["awi/stats"].secret.keep()
    data = kept._for("awi")
    second = stage.awi.computer.start(
        "serve", str(stage.awi.computer.files / "stats.py"), "--as", "awi/stats", "--json"
    )
    try:
        # Both share the calls: of twenty, each has some.
        for _ in range(20):
            assert mallory.code("awi.stats.same", {"value": data}) == "gone"
            assert stage.net["awi/stats"].same(kept) == MARK
    finally:
        second.stop()


def test_whoever_keeps_a_value_has_it(stage, mallory):
    mine = wire.decode(mallory.answer(mallory.call("awi.stats.hello", keep=True)).body)
    got = mallory.answer(held(mallory, mine.instance, "ref", mine.value_id, "get"))
    assert wire.decode(got.body) == "gfz/mallory"
    again = mallory.answer(mallory.call("awi.stats.same", {"value": mine}))
    assert wire.decode(again.body) == "gfz/mallory"


# Headers


@pytest.mark.parametrize(
    "header",
    [
        "Landbridge-Caller: awi/bob",
        "landbridge-caller: awi/bob",
        "LANDBRIDGE-CALLER: awi/bob",
        "Nats-Request-Info: {\"acc\":\"A\",\"user\":\"bob\",\"name\":\"bob\"}",
        "nats-request-info: {\"user\":\"bob\"}",
        "NATS-REQUEST-INFO: {\"user\":\"bob\"}",
        "Nats-Subject: lb.call.awi.bob.awi.stats.hello",
        "nats-msg-id: 1",
        "Status: 503",
        "Authorization: Bearer awi/bob",
        "X: " + "x" * 60_000,
        "X:\tawi/bob\r\nX: gfz/anna",
        "\x1b[2J: \u202e",
    ],
    ids=lambda header: ascii(header[:30]),
)  # fmt: skip
def test_headers_say_nothing_of_who_calls(stage, mallory, header):
    assert mallory.code("awi.stats.secret", headers=header) == "denied"
    said = mallory.answer(mallory.call("awi.stats.hello", headers=header))
    assert wire.decode(said.body) == "gfz/mallory"
    assert stage.ran[-1] == "hello for gfz/mallory"


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("case", ["Nats-Trace-Dest", "nats-trace-dest", "NATS-TRACE-DEST"])
@pytest.mark.parametrize("where", ["lb.call.awi.bob.awi.stats.secret", "lb.cat.awi.stats", "$JS.API.INFO"])
def test_a_trace_of_a_message_goes_nowhere_that_its_sender_may_not_send(stage, mallory, bob, case, where):
    mallory.call("awi.stats.nothing", headers=f"{case}: {where}")
    mallory.flush()
    bob.flush()
    assert bob.messages == []


# The audit log


def test_the_audit_log_is_at_its_owners_only_and_says_who_has_tried(stage):
    tap = stage.person(stage.eve, "snooper").tap()  # of whoever is refused often, not each time is written down
    assert tap.code("awi.stats.secret") == "denied"
    for actor in (stage.mallory, stage.colin, stage.eve):
        told = actor.computer.run("audit", "awi/stats", code=5)
        assert "There is no audit log of awi/stats" in told.stderr
        assert told.stdout == ""

    deadline = time.monotonic() + 30
    while True:
        lines = stage.awi.computer.run("audit", "awi/stats", "--json", "--caller", "gfz/snooper").stdout
        if '"denied"' in lines:
            break
        assert time.monotonic() < deadline
    assert MARK not in lines


def test_the_real_client_is_refused_as_the_bare_one_is(stage):
    with stage.mallory.connected() as net:
        assert set(dir(net["awi/stats"])) == {"hello", "same"}
        assert net["awi/stats"].hello() == "gfz/mallory"
        for member in ("secret", "numbers", "Vault", "readings"):
            with pytest.raises((PermissionDenied, LandbridgeError)) as caught:
                net._member(f"awi/stats.{member}")
            assert MARK not in str(caught.value)
        kept = stage.net["awi/stats"].secret.keep()
        with pytest.raises(ObjectGone):
            net._refer(kept._data).get()
