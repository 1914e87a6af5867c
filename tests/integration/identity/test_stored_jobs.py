"""The account of stored jobs as seen from the account of calls: what gets in, and under whose name."""

from __future__ import annotations

import json
import secrets
import time

import pytest

from landbridge.security import Credentials, direct_user_jwt, new_key

SUBMIT = "lb.job.awi.bob.gfz.ocean.mean.run1.call1.submit"


class Keeper:
    """The operator's own user in the account of jobs."""

    def __init__(self, network):
        user = new_key("user", secrets.token_bytes(32))
        token = direct_user_jwt(
            user.public,
            network.keys.jobs,
            name="keeper",
            publish=["$JS.API.>"],
            subscribe=["_INBOX.>"],
            now=int(time.time()),
        )
        self._client = network.client_of(Credentials(token, user.seed))
        self._client.subscribe("_INBOX.keeper")

    def ask(self, verb, **request):
        self._client.publish(f"$JS.API.{verb}", json.dumps(request).encode(), reply="_INBOX.keeper")
        return json.loads(self._client.wait_for_message().payload)

    def stored(self):
        return self.ask("STREAM.INFO.JOBS_gfz", subjects_filter=">")["state"].get("subjects", {})


@pytest.fixture
def keeper(network):
    keeper = Keeper(network)
    answer = keeper.ask(
        "STREAM.CREATE.JOBS_gfz",
        name="JOBS_gfz",
        subjects=["lb.job.*.*.gfz.>", "lb.out.gfz.>"],
        storage="memory",
        max_msgs_per_subject=1,
        discard="new",
        discard_new_per_subject=True,
        allow_direct=False,
        max_bytes=1 << 20,
    )
    assert "error" not in answer
    config = {"durable_name": "ocean", "ack_policy": "explicit", "filter_subject": "lb.job.*.*.gfz.ocean.>"}
    assert "error" not in keeper.ask("CONSUMER.DURABLE.CREATE.JOBS_gfz.ocean", stream_name="JOBS_gfz", config=config)
    yield keeper
    keeper.ask("STREAM.DELETE.JOBS_gfz")


def submit(client, subject, payload, reply):
    client.subscribe(reply)
    client.publish(subject, payload, reply=reply)
    return json.loads(client.wait_for_message().payload)


def test_submitted_job_is_stored_pulled_and_acknowledged_through_the_services(network, keeper):
    bob, backend = network.client("awi", "bob"), network.client("gfz", "carl", "ocean")
    assert submit(bob, SUBMIT, b"job", "_INBOX.awi.bob.c.i.0")["stream"] == "JOBS_gfz"
    backend.subscribe("_INBOX.gfz.carl.c.*.*")
    backend.publish("lb.pull.JOBS_gfz.ocean", b'{"batch":1,"expires":5000000000}', reply="_INBOX.gfz.carl.c.p.0")
    job = backend.wait_for_message()
    assert (job.subject, job.payload) == (SUBMIT, b"job")
    backend.publish(job.reply, b"+ACK", reply="_INBOX.gfz.carl.c.a.0")
    backend.wait_for_message()
    assert backend.refusals == []
    assert keeper.ask("CONSUMER.INFO.JOBS_gfz.ocean")["num_ack_pending"] == 0


def test_second_submit_of_the_same_job_is_refused(network, keeper):
    bob = network.client("awi", "bob")
    submit(bob, SUBMIT, b"first", "_INBOX.awi.bob.c.i.0")
    again = submit(bob, SUBMIT, b"second", "_INBOX.awi.bob.c.i.1")
    assert again["error"]["err_code"] == 10077


def test_acknowledgement_sent_elsewhere_is_not_stored_as_somebody_elses_job(network, keeper):
    eve = network.client("gfz", "eve")
    mine = "lb.job.gfz.eve.gfz.ocean.mean.run1.call1.submit"
    eve.publish(mine, b"mine", reply="lb.job.awi.bob.gfz.ocean.mean.run9.call9.submit")
    eve.flush()
    # A second one, answered in the own inbox, so that the first is known to be done.
    submit(eve, mine.replace("call1", "call2"), b"mine", "_INBOX.gfz.eve.c.i.0")
    assert sorted(keeper.stored()) == [mine, mine.replace("call1", "call2")]
