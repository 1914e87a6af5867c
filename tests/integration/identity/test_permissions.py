"""What a credential can and cannot do at a real server, tried with a client that keeps no rules of its own."""

from __future__ import annotations

import pytest

INBOX = "_INBOX.gfz.eve.c0ffee.1a2b3c.0"


@pytest.fixture(scope="module")
def eve(network):
    """A person of gfz who may only call."""
    return network.client("gfz", "eve")


@pytest.fixture(scope="module")
def backend(network):
    """A person of gfz who serves gfz/ocean and gfz/waves."""
    return network.client("gfz", "carl", "ocean", "waves")


@pytest.mark.parametrize(
    "subject",
    [
        "lb.call.gfz.eve.awi.stats.mean",
        "lb.ctl.gfz.eve.awi.stats.inst.call.id.cancel",
        "lb.job.gfz.eve.awi.stats.mean.r.c.submit",
    ],
)
def test_person_publishes_under_own_name(eve, subject):
    assert not eve.refuses_publish(subject, reply=INBOX)


@pytest.mark.parametrize(
    "subject",
    [
        "lb.call.gfz.anna.awi.stats.mean",
        "lb.call.awi.bob.awi.stats.mean",
        "lb.call.awi.eve.awi.stats.mean",
        "lb.call.local.eve.awi.stats.mean",
        "lb.call.lb._M.awi.stats.mean",
        "lb.call.*.eve.awi.stats.mean",
        "lb.call.gfz.*.awi.stats.mean",
        "lb.call.>",
        "lb.ctl.awi.bob.awi.stats.inst.call.id.cancel",
        "lb.job.awi.bob.awi.stats.mean.r.c.submit",
        "lb.out.gfz.ocean.awi.bob.mean.r.c.done",
        "lb.cat.awi.stats",
        "lb.cat.gfz.eve",
        "lb.pull.JOBS_gfz.ocean",
        "_INBOX.awi.bob.c.i.0",
        "_INBOX.gfz.anna.c.i.0",
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.X",
        "$JS.API.CONSUMER.MSG.NEXT.JOBS_gfz.ocean",
        "$JS.ACK.JOBS_gfz.ocean.1.1.1.1.0",
        "$SYS.REQ.USER.INFO",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.SERVER.PING",
        "$SRV.PING",
        "_R_.x",
        "anything",
    ],
)
def test_person_cannot_publish(eve, subject):
    assert eve.refuses_publish(subject, b"x", reply=INBOX)


@pytest.mark.parametrize(
    "subject", ["_INBOX.gfz.eve.c0ffee.*.*", "_INBOX.gfz.eve.*.*.*", "lb.cat.*.*", "lb.cat.awi.stats"]
)
def test_person_subscribes_own_inbox_and_the_catalogue(eve, subject):
    assert not eve.refuses_subscribe(subject)


EVERYTHING_OF_OTHERS = [
    ">",
    "*",
    "*.>",
    "lb.>",
    "lb.*.>",
    "lb.call.>",
    "lb.call.*.*.*.*.*",
    "lb.call.*.*.awi.>",
    "lb.call.*.*.awi.stats.>",
    "lb.call.gfz.eve.>",
    "lb.ctl.>",
    "lb.job.>",
    "lb.out.>",
    "_INBOX.>",
    "_INBOX.*.*.*.*.*",
    "_INBOX.awi.>",
    "_INBOX.awi.bob.*.*.*",
    "_INBOX.gfz.>",
    "_INBOX.gfz.*.*.*.*",
    "_INBOX.gfz.anna.*.*.*",
    "$SYS.>",
    "$JS.>",
    "$JS.API.>",
    "_R_.>",
]


@pytest.mark.parametrize("queue", ["", "awi/stats"])
@pytest.mark.parametrize("subject", [*EVERYTHING_OF_OTHERS, "lb.call.*.*.gfz.ocean.>", "$SRV.PING", "$SRV.>"])
def test_person_cannot_subscribe(eve, subject, queue):
    assert eve.refuses_subscribe(subject, queue)


@pytest.mark.parametrize("queue", ["", "awi/stats"])
@pytest.mark.parametrize(
    "subject",
    [
        *EVERYTHING_OF_OTHERS,
        "lb.call.*.*.gfz.>",
        "lb.call.*.*.gfz.*.*",
        "lb.call.*.*.gfz.seismic.>",
        "lb.call.*.*.*.ocean.>",
        "lb.ctl.*.*.gfz.>",
        "lb.ctl.*.*.awi.stats.>",
        "$SRV.>",
    ],
)
def test_backend_cannot_take_calls_of_a_module_not_its_own(backend, subject, queue):
    assert backend.refuses_subscribe(subject, queue)


@pytest.mark.parametrize(
    "subject",
    [
        "lb.call.*.*.gfz.ocean.*",
        "lb.call.*.*.gfz.waves.>",
        "lb.ctl.*.*.gfz.ocean.inst.call.*.*",
        "lb.cat.*.*",
        "$SRV.PING",
        "$SRV.INFO.ocean",
        "$SRV.STATS.ocean.1",
    ],
)
def test_backend_subscribes_what_its_modules_need(backend, subject):
    assert not backend.refuses_subscribe(subject, "gfz/ocean")


@pytest.mark.parametrize(
    "subject",
    [
        "_INBOX.awi.bob.c.i.0",
        "lb.cat.gfz.ocean",
        "lb.cat.gfz.waves",
        "lb.out.gfz.ocean.awi.bob.mean.r.c.done",
        "lb.call.gfz.carl.awi.stats.mean",
    ],
)
def test_backend_publishes_answers_entries_and_calls_of_its_own(backend, subject):
    assert not backend.refuses_publish(subject)


@pytest.mark.parametrize(
    "subject",
    [
        "lb.cat.awi.stats",
        "lb.cat.gfz.seismic",
        "lb.cat.gfz.ocean.deeper",
        "lb.out.awi.stats.gfz.eve.mean.r.c.done",
        "lb.out.gfz.seismic.awi.bob.mean.r.c.done",
        "lb.call.gfz.eve.awi.stats.mean",
        "lb.call.gfz._M.awi.stats.mean",
        "lb.call.awi.bob.awi.stats.delete",
        "lb.pull.JOBS_gfz.seismic",
        "lb.pull.JOBS_awi.ocean",
        "$JS.ACK.JOBS_awi.ocean.1.1.1.1.0",
        "$JS.API.INFO",
        "$SYS.REQ.USER.INFO",
        "_INBOX.awi.bob.c.i",
        "_INBOX.awi.bob.c.i.0.more",
        "_INBOX.awi.>",
    ],
)
def test_backend_cannot_publish(backend, subject):
    assert backend.refuses_publish(subject)


def test_receiving_a_call_gives_no_right_to_publish_where_its_reply_points(network):
    # With `allow_responses` the answer would arrive at awi as a call of bob.
    victim = network.client("awi", "bob", "stats")
    victim.subscribe("lb.call.*.*.awi.stats.>")
    victim.flush()
    accomplice = network.client("gfz", "carl", "ocean")
    accomplice.subscribe("lb.call.*.*.gfz.ocean.>")
    accomplice.flush()
    caller = network.client("gfz", "eve")
    target = "lb.call.awi.bob.awi.stats.delete"
    caller.publish("lb.call.gfz.eve.gfz.ocean.mean", b"x", reply=target)
    caller.flush()
    assert accomplice.wait_for_message().reply == target
    assert accomplice.refuses_publish(target, b"as bob")
    victim.flush()
    assert victim.messages == []


def test_call_arrives_under_the_callers_name_and_its_answer_in_the_callers_inbox(network):
    backend = network.client("awi", "bob", "stats")
    backend.subscribe("lb.call.*.*.awi.stats.*", "awi/stats")
    backend.flush()
    caller = network.client("gfz", "anna-lena")
    caller.subscribe("_INBOX.gfz.anna-lena.c1.*.*")
    caller.publish("lb.call.gfz.anna-lena.awi.stats.mean", b"question", reply="_INBOX.gfz.anna-lena.c1.k1.0")
    request = backend.wait_for_message()
    backend.publish(request.reply, b"answer")
    answer = caller.wait_for_message()
    assert request.subject == "lb.call.gfz.anna-lena.awi.stats.mean"
    assert (answer.subject, answer.payload) == ("_INBOX.gfz.anna-lena.c1.k1.0", b"answer")


def test_same_person_name_at_two_institutes_reads_only_its_own_inbox(network):
    ours, theirs = network.client("awi", "kim"), network.client("gfz", "kim")
    assert theirs.refuses_subscribe("_INBOX.awi.kim.*.*.*")
    assert not ours.refuses_subscribe("_INBOX.awi.kim.*.*.*")


def test_service_of_the_network_serves_the_catalogue_and_watches_all_entries(network):
    service = network.client("lb", "_M", "catalogue")
    assert not service.refuses_subscribe("lb.call.*.*.lb.catalogue.*", "lb/catalogue")
    assert not service.refuses_subscribe("lb.cat.*.*")
    assert not service.refuses_publish("lb.cat.lb.catalogue")
    assert service.refuses_publish("lb.cat.awi.stats")
    assert service.refuses_subscribe("lb.call.>")


def test_owner_of_the_network_is_a_person_like_others_to_the_broker(network):
    owner = network.client("local", "owner")
    assert not owner.refuses_publish("lb.call.local.owner.awi.stats.mean")
    assert owner.refuses_publish("lb.call.awi.bob.awi.stats.mean")
    assert owner.refuses_subscribe("lb.call.>")


@pytest.mark.parametrize("subject", ["$SRV.PING", "$SRV.INFO.awi-stats", "$SRV.STATS.awi-stats.1"])
def test_whoever_runs_the_network_may_ask_all_backends_with_tools(network, subject):
    for institute in ("local", "lb"):
        assert not network.client(institute, "owner").refuses_publish(subject)
    assert network.client("gfz", "eve").refuses_publish(subject)
    assert network.client("gfz", "carl", "ocean").refuses_publish(subject)
    assert network.client("lb", "_M", "catalogue").refuses_publish(subject)


def test_whoever_runs_the_network_cannot_answer_as_a_backend(network):
    owner = network.client("local", "owner")
    assert owner.refuses_subscribe("$SRV.PING")
    assert owner.refuses_publish("$SRV.ANYTHING")
    assert owner.refuses_publish("_INBOX.awi.bob.c.i.0")


def test_user_of_the_system_account_can_only_tell_of_accounts(network):
    system = network.client_of(network.keys.system_user_credentials())
    assert system.refuses_subscribe("$SYS.>")
    assert system.refuses_subscribe(">")
    assert system.refuses_publish("$SYS.REQ.SERVER.PING")
    assert system.refuses_publish("$SYS.REQ.CLAIMS.DELETE")


def test_message_beyond_a_credentials_limit_closes_the_connection(network):
    client = network.client("gfz", "eve")
    with pytest.raises(ConnectionError):
        client.refuses_publish("lb.call.gfz.eve.awi.stats.mean", bytes(640 * 1024 + 1))


def test_message_up_to_a_credentials_limit_is_taken(network):
    client = network.client("gfz", "eve")
    assert not client.refuses_publish("lb.call.gfz.eve.awi.stats.mean", bytes(640 * 1024))
