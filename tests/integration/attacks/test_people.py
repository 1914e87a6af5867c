"""Attacks on persons: acting for somebody else, reading what is theirs, staying after the end."""

from __future__ import annotations

import secrets
import time
from threading import Event

import pytest

import landbridge as lb
from integration.attacks.stage import MARK, request, stays_out
from integration.identity.attacker import RawClient, Refused
from landbridge.hub.rotation import replace_keys, shut_out
from landbridge.protocol import Kind, pack
from landbridge.security import Credentials

ID = "0" * 32


def shut(admin, person):
    """Have an institute shut a person out."""
    with admin.acting():
        assert shut_out(admin.ours, person, now=int(time.time())) is None


def test_everybody_calls_under_their_own_name_what_is_shared_with_them(stage, mallory, colin):
    said = mallory.answer(mallory.call("awi.stats.hello"))
    assert said.kind is Kind.RESULT
    assert b"gfz/mallory" in bytes(said.body)
    assert b"awi/colin" in bytes(colin.answer(colin.call("awi.stats.hello")).body)
    assert stage.ran[-2:] == ["hello for gfz/mallory", "hello for awi/colin"]


FORGED = {
    "a call of bob's": "lb.call.awi.bob.awi.stats.secret",
    "a call of a bob of the own institute": "lb.call.gfz.bob.awi.stats.secret",
    "a call of a mallory of awi": "lb.call.awi.mallory.awi.stats.secret",
    "a call of a backend of awi": "lb.call.awi._M.awi.stats.secret",
    "a call of a backend of the own institute": "lb.call.gfz._M.awi.stats.secret",
    "a call of the operator": "lb.call.local.owner.awi.stats.secret",
    "a call of the network itself": "lb.call.lb._M.awi.stats.secret",
    "a call of anybody of awi": "lb.call.awi.*.awi.stats.secret",
    "a call of anybody": "lb.call.*.*.awi.stats.secret",
    "a call of everybody": "lb.call.>",
    "a call by a name in capitals": "lb.call.AWI.BOB.awi.stats.secret",
    "a call by a name that looks the same": "lb.call.аwi.bob.awi.stats.secret",
    "a word to bob's running call": f"lb.ctl.awi.bob.awi.stats.{ID}.call.{ID}.message",
    "a word to bob's object": f"lb.ctl.awi.bob.awi.stats.{ID}.object.{ID}.read",
    "a word to bob's kept value": f"lb.ctl.awi.bob.awi.stats.{ID}.ref.{ID}.get",
    "a job of bob's": "lb.job.awi.bob.awi.stats.secret.r.c.submit",
    "the outcome of a job of bob's": "lb.out.awi.stats.awi.bob.secret.r.c.done",
    "the invitation of somebody": f"lb.call.awi._I{ID}.awi.id.join",
}


@pytest.mark.parametrize("who", ["mallory", "colin", "eve"])
@pytest.mark.parametrize("what", FORGED)
def test_nobody_sends_in_the_name_of_another(stage, unharmed, bob, who, what):
    tap = getattr(stage, who).tap()
    subject = FORGED[what]
    if who == "colin" and what == "a call of a mallory of awi":
        subject = "lb.call.awi.carol.awi.stats.secret"
    assert tap.refuses_publish(subject, request(), tap.inbox(secrets.token_hex(16)))
    tap.flush()
    assert (tap.messages, MARK.encode() in tap.heard) == ([], False)
    bob.flush()
    assert bob.messages == []
    tap.close()


OTHERS = {
    "bob's inbox": "_INBOX.awi.bob.*.*.*",
    "all inboxes of awi": "_INBOX.awi.>",
    "all inboxes": "_INBOX.>",
    "inboxes by their shape": "_INBOX.*.*.*.*.*",
    "requests to awi/stats": "lb.call.*.*.awi.stats.*",
    "requests of bob": "lb.call.awi.bob.>",
    "what is said to running calls": "lb.ctl.*.*.awi.stats.>",
    "jobs of awi": "lb.job.awi.>",
    "jobs for awi": "lb.job.*.*.awi.>",
    "outcomes of awi's jobs": "lb.out.awi.>",
    "pulled jobs": "lb.pull.JOBS_awi.stats",
    "acknowledged jobs": "$JS.ACK.>",
    "stored streams": "$JS.API.>",
    "events of the server": "$SYS.>",
    "everything": ">",
}


@pytest.mark.parametrize("queue", ["", "lb"], ids=["alone", "in the queue group of backends"])
@pytest.mark.parametrize("what", OTHERS)
def test_nobody_hears_what_is_for_others(stage, mallory, colin, what, queue):
    for tap in (mallory, colin):
        assert tap.refuses_subscribe(OTHERS[what], queue)
    assert stage.net["awi/stats"].secret() == MARK  # bob has what is his
    assert list(stage.net["awi/stats"].numbers(2)) == [MARK, MARK]
    for tap in (mallory, colin):
        tap.flush()
        assert (tap.messages, MARK.encode() in tap.heard) == ([], False)


NAMES = ["*", ">", "a.b", "*.*", "bob", "_M", f"_I{ID}", "mallory\n", "mallory\r\n", " mallory", "mаllory", "Mallory",
         "mallory\u202e", "{{name()}}", "{{tag(module)}}", "awi.bob", ""]  # fmt: skip


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_of_eves_making_is_nobodys_at_awi(stage, bob, name):
    """Eve signs whatever name she likes, with all rights that she can give."""
    tap = stage.eve.tap_of(stage.eve.forge(name, "module:stats", "module:*", f"module:{name}"), listens=False)
    for subject in ("lb.call.awi.bob.awi.stats.secret", "lb.call.*.*.awi.stats.secret", "lb.cat.awi.stats"):
        assert tap.refuses_publish(subject, request(), "_INBOX.gfz.x.c.i.0")
    for subject in ("_INBOX.awi.bob.*.*.*", "lb.call.*.*.awi.stats.*", "lb.call.*.*.*.stats.*", "_INBOX.>"):
        assert tap.refuses_subscribe(subject, "lb")
    if name and name == name.strip() and name.isascii() and not set(name) & {">", "{"}:
        # What she can do is to be refused by awi/stats, or not heard, since mallory is another.
        call_id = secrets.token_hex(16)
        tap.subscribe(f"_INBOX.gfz.{name}.*.*.*")
        tap.publish(f"lb.call.gfz.{name}.awi.stats.secret", request(), f"_INBOX.gfz.{name}.{ID}.{call_id}.0")
        tap.flush()
    tap.flush()
    bob.flush()
    assert bob.messages == []
    assert stage.ran  # what was sent before has been heard by awi/stats
    tap.flush()
    assert MARK.encode() not in tap.heard
    tap.close()


# What is under way


@pytest.mark.parametrize("who", ["mallory", "colin"])
def test_nobody_takes_part_in_a_call_of_anothers_even_knowing_its_ids(stage, who):
    asked, go_on = Event(), Event()

    def answers(value):
        asked.set()
        assert go_on.wait(30)
        return "bob's own answer"

    call = stage.net["awi/stats"].ask.start(answers)
    assert asked.wait(30)
    entry = next(iter(stage.net._link()._calls.values()))
    instance, call_id = entry.caller.instance, entry.call_id
    tap = getattr(stage, who).tap()
    more = pack(Kind.BEAT, 0, {"granted": 1 << 40, "next": 0, "resend": True})
    for payload in (more, pack(Kind.CANCEL, 1), pack(Kind.RETURN, 1, {"ask": 0}) + request()[8:]):
        subject = f"lb.ctl.{tap.institute}.{tap.person}.awi.stats.{instance}.call.{call_id}.message"
        tap.publish(subject, payload, tap.inbox(call_id, 1))
    assert tap.code("awi.stats.nothing") == "unknown_member"  # what was sent before has been heard
    go_on.set()
    assert call.result(30) == "bob's own answer"
    tap.flush()
    assert MARK.encode() not in tap.heard
    tap.close()


@pytest.mark.parametrize("who", ["mallory", "colin"])
def test_nobody_has_what_came_of_a_call_of_anothers_even_knowing_its_ids(stage, bob, who):
    tap = getattr(stage, who).tap()
    call_id = bob.call("awi.stats.secret")
    said = bob.answer(call_id)
    assert said.kind is Kind.RESULT
    beat = pack(Kind.BEAT, 0, {"granted": 1 << 40, "next": 0, "resend": True})
    instance = said.meta.get("instance") or instance_of(stage)
    tap.publish(f"lb.ctl.{tap.institute}.{tap.person}.awi.stats.{instance}.call.{call_id}.message", beat,
                tap.inbox(call_id, 1))  # fmt: skip
    tap.publish(f"lb.ctl.{tap.institute}.{tap.person}.awi.stats.{ID}.call.{call_id}.message", beat,
                tap.inbox(call_id, 1))  # fmt: skip
    tap.flush()
    assert stage.net["awi/stats"].same(1) == 1  # what was sent before has been heard
    tap.flush()
    assert MARK.encode() not in tap.heard
    # Bob, who asks for the same, is given it again.
    bob.publish(f"lb.ctl.awi.bob.awi.stats.{instance}.call.{call_id}.message", beat, bob.inbox(call_id, 1))
    assert MARK.encode() in bytes(bob.answer(call_id).body)
    tap.close()


def instance_of(stage):
    return stage.net["awi/stats"].secret.keep()._data.instance


def test_what_is_thrown_into_an_inbox_without_its_ids_is_not_taken_for_an_answer(stage):
    tap = stage.mallory.tap()
    forged = pack(Kind.RESULT, 0) + request()[8:]
    for _ in range(200):
        tap.publish(f"_INBOX.awi.bob.{secrets.token_hex(16)}.{secrets.token_hex(16)}.0", forged)
    tap.flush()
    assert tap.refusals == []  # whoever serves may answer anybody
    assert stage.net["awi/stats"].secret() == MARK
    tap.close()


# After the end


@pytest.mark.parametrize("way", ["revoked", "expired"])
def test_who_is_over_is_cut_off_while_connected_and_hears_and_serves_no_more(stage, way):
    name = f"gone_{way}"
    gone = stage.person(stage.eve, name, lasts_s=4 if way == "expired" else 600)
    live = gone.tap()
    live.subscribe(f"lb.call.*.*.gfz.{name}.*", "lb")
    live.flush()
    asked = stage.mallory.tap()
    asked.call(f"gfz.{name}.f")
    assert live.wait_for_message().subject == f"lb.call.gfz.mallory.gfz.{name}.f"  # until then it is served
    if way == "revoked":
        shut(stage.eve, name)
    assert f"User Authentication {way.capitalize()}" in live.wait_until_cut()
    heard = len(live.heard)
    asked.call(f"gfz.{name}.f")
    asked.flush()
    assert len(live.heard) == heard
    for credentials in (gone.credentials, gone.enrolled):
        stays_out(gone, credentials)
    with pytest.raises(lb.LandbridgeError), gone.connected() as net:
        net["awi/stats"]
    asked.close()


def test_keys_that_were_made_void_sign_nobody_in_and_cut_off_whom_they_had_signed(stage):
    ipg = stage.institute("ipg")
    old = ipg.ours
    live = ipg.tap_of(ipg.forge("insider"))
    with ipg.acting():
        replace_keys(ipg.ours, keep_s=0, now=int(time.time()))
    live.wait_until_cut()  # without a word from the broker
    now, forged = int(time.time()), ipg.forge("insider")
    for role in ("serve", "person", "enrol"):
        token = old.credential(ipg.key.public, "insider", (), until=now + 60, now=now, role=role)
        with pytest.raises(Refused):
            ipg.tap_of(Credentials(token, ipg.key.seed))
    ipg.tap_of(forged).flush()  # the new keys are good


@pytest.mark.parametrize("stolen", ["token", "token of the enrolment"])
def test_a_stolen_token_is_of_no_use_without_its_key(stage, stolen):
    theirs = stage.bob.enrolled if stolen == "token of the enrolment" else stage.bob.credentials
    with pytest.raises(Refused):
        RawClient(stage.url, theirs.jwt, stage.mallory.key.seed)
    stage.bob.tap_of(theirs).flush()
