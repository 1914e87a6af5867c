"""The service protocol of NATS: answers have the documented forms, and go to inboxes of whoever runs the network."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest

from landbridge.errors import Malformed
from landbridge.protocol import Endpoint, Service, check_tool_reply, service_answer, service_subscriptions

ID = "0123456789abcdef" * 2
NAME = re.compile(r"^[a-zA-Z0-9_-]+$")
SEMANTIC = re.compile(r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9a-zA-Z.-]+)?(?:\+[0-9a-zA-Z.-]+)?$")


MEAN = Endpoint("mean", 4, 1, "remote_error", 0.5, 1, 2)


def service(version="1.2.3", endpoints=(MEAN,)):
    return Service("awi", "sea_ice", ID, version, "Sea ice.\x1b[2J", "2026-01-01T00:00:00Z", tuple(endpoints))


def answer(verb, of=None):
    return json.loads(service_answer(verb, of or service()))


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
def test_every_answer_has_the_standard_fields(verb):
    found = answer(verb)
    assert found["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    assert NAME.match(found["name"])
    assert found["id"] == ID
    assert found["version"] == "1.2.3"
    assert found["metadata"] == {"module": "awi/sea_ice", "version": "1.2.3"}


def test_ping_has_nothing_else():
    assert set(answer("PING")) == {"type", "name", "id", "version", "metadata"}


def test_info_describes_service_and_endpoints():
    found = answer("INFO")
    assert "\x1b" not in found["description"]
    assert found["endpoints"] == [
        {"name": "mean", "subject": "lb.call.*.*.awi.sea_ice.mean", "queue_group": "lb", "metadata": {}}
    ]


def test_stats_tells_figures_in_the_documented_units():
    found = answer("STATS")
    assert datetime.fromisoformat(found["started"]).tzinfo is not None
    assert found["endpoints"] == [
        {
            "name": "mean",
            "subject": "lb.call.*.*.awi.sea_ice.mean",
            "queue_group": "lb",
            "num_requests": 4,
            "num_errors": 1,
            "last_error": "remote_error",
            "processing_time": 500_000_000,
            "average_processing_time": 125_000_000,
            "data": {"running": 1, "waiting": 2},
        }
    ]


def test_stats_of_a_method_that_was_never_called_divide_nothing():
    endpoint = Endpoint("mean", 0, 0, "", 0.0, 0, 0)
    assert answer("STATS", service(endpoints=[endpoint]))["endpoints"][0]["average_processing_time"] == 0


@pytest.mark.parametrize("version", ["1.2", "", "2026-11", "1.2.3\n", "\x1b[2J", "1.0.0" + "x" * 100, "١.٢.٣"])
def test_a_version_of_another_form_is_replaced_and_kept_in_the_metadata(version):
    found = answer("PING", service(version))
    assert found["version"] == "0.0.0"
    assert "\x1b" not in found["metadata"]["version"]
    assert len(found["metadata"]["version"]) <= 40


@pytest.mark.parametrize("version", ["1.0.0-rc.1+build.5", "0.0.1"])
def test_a_semantic_version_is_shown(version):
    assert answer("PING", service(version))["version"] == version
    assert SEMANTIC.match(version)


def test_an_answer_about_very_many_methods_fits_a_message():
    many = [Endpoint("m" * 124 + f"{n:04}", 2**53, 2**53, "invalid_arguments", 1e9, 1000, 1000) for n in range(5000)]
    assert len(service_answer("STATS", service(endpoints=many))) < 512 * 1024


def test_a_backend_listens_where_all_its_module_and_itself_are_asked():
    subjects = service_subscriptions("awi", "sea_ice", ID)
    assert len(subjects) == 9
    assert [subject for subject, verb in subjects.items() if verb == "STATS"] == [
        "$SRV.STATS",
        "$SRV.STATS.awi-sea_ice",
        f"$SRV.STATS.awi-sea_ice.{ID}",
    ]


@pytest.mark.parametrize("reply", ["_INBOX.lb.ops.tool.N8x.1", "_INBOX.local.owner.tool.cli.N8x-_"])
def test_inboxes_of_whoever_runs_the_network_are_answered(reply):
    assert check_tool_reply(reply) == reply


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "_INBOX.awi.bob.c.i.0",
        "_INBOX.local.owner.tool.N8x",
        "_INBOX.local.owner.tool.cli.N8x.more",
        "_INBOX.local.owner.*.*.*",
        "_INBOX.local.owner.tool.cli.>",
        "_INBOX.local.owner.tool.cli.N8x\n",
        "lb.call.awi.bob.awi.stats",
        "lb.cat.awi.stats",
        "$JS.API.INFO.a.b.c",
        "_INBOX.local.owner.tool.cli." + "x" * 65,
    ],
)
def test_nothing_is_sent_anywhere_else(reply):
    with pytest.raises(Malformed):
        check_tool_reply(reply)
