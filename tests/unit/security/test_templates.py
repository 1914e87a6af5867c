from __future__ import annotations

import json

import pytest

from landbridge.errors import InvalidName
from landbridge.security import ROLES, jobs_exports, net_imports, template

INSTITUTE = "awi"
# Where a right may lead out of the institute, on purpose: answers to any inbox, calls from anybody to its own modules,
# the public catalogue, and questions of tools.
SHARED = {"_INBOX.*.*.*.*.*", "lb.cat.*.*"}


def allowed(role, side):
    return template(role, INSTITUTE)[side]["allow"]


@pytest.mark.parametrize("role", ROLES)
def test_every_right_to_publish_names_the_institute_as_a_literal(role):
    for subject in set(allowed(role, "pub")) - SHARED:
        tokens = subject.split(".")
        own = {"lb": tokens[2], "_INBOX": tokens[1], "$JS": tokens[2].removeprefix("JOBS_")}[tokens[0]]
        assert own.removeprefix("JOBS_") == INSTITUTE


def test_only_people_of_whoever_runs_the_network_may_ask_all_backends_with_tools():
    for institute in ("awi", "gfz", "lb", "local"):
        for role in ROLES:
            asks = [subject for subject in template(role, institute)["pub"]["allow"] if subject.startswith("$SRV")]
            assert bool(asks) == (role == "person" and institute in ("lb", "local"))


@pytest.mark.parametrize("role", ROLES)
def test_every_right_to_subscribe_names_the_institute_as_a_literal(role):
    for subject in set(allowed(role, "sub")) - SHARED:
        tokens = subject.split(".")
        if tokens[0] == "$SRV":
            assert tokens[1] in {"PING", "INFO", "STATS"}
        else:
            assert (tokens[1] if tokens[0] == "_INBOX" else tokens[4]) == INSTITUTE


@pytest.mark.parametrize("role", ROLES)
def test_placeholders_are_whole_tokens_and_never_the_first(role):
    for side in ("pub", "sub"):
        for subject in allowed(role, side):
            first, *rest = subject.split(".")
            assert "{" not in first
            assert all("{" not in token or token in {"{{name()}}", "{{tag(module)}}"} for token in rest)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_rights_at_the_servers_own_interfaces(role):
    text = json.dumps(template(role, INSTITUTE))
    assert "$JS.API" not in text
    assert "$SYS" not in text
    assert "resp" not in text
    assert "bearer" not in text


def test_roles_of_people_are_exactly_these():
    calls = ["lb.call.awi.{{name()}}.>", "lb.ctl.awi.{{name()}}.>", "lb.job.awi.{{name()}}.>"]
    assert allowed("person", "pub") == calls
    assert allowed("person", "sub") == ["_INBOX.awi.{{name()}}.*.*.*", "lb.cat.*.*"]
    assert allowed("enrol", "pub") == ["lb.call.awi.{{name()}}.awi.id.>", "lb.ctl.awi.{{name()}}.awi.id.>"]
    assert allowed("serve", "pub") == [
        *calls,
        "_INBOX.*.*.*.*.*",
        "lb.cat.awi.{{tag(module)}}",
        "lb.out.awi.{{tag(module)}}.>",
        "lb.pull.JOBS_awi.{{tag(module)}}",
        "$JS.ACK.JOBS_awi.{{tag(module)}}.>",
    ]


def test_only_leaf_credentials_connect_leaf_nodes_and_only_those():
    for role in ROLES:
        types = set(template(role, INSTITUTE)["allowed_connection_types"])
        assert types == ({"LEAFNODE", "LEAFNODE_WS"} if role == "leaf" else {"STANDARD", "WEBSOCKET"})


def test_template_of_one_institute_is_not_changed_by_changing_anothers():
    template("person", "gfz")["pub"]["allow"].append(">")
    assert ">" not in allowed("person", "pub")


@pytest.mark.parametrize("name", ["*", "a.b", ">", "", "{{name()}}", "AWI"])
def test_bad_name_of_an_institute_gets_no_template(name):
    with pytest.raises(InvalidName):
        template("person", name)


def test_every_import_has_its_export():
    exported = {export["subject"] for export in jobs_exports()}
    imports = net_imports("AJOBS")
    assert {entry["subject"] for entry in imports} == exported
    assert all(entry["account"] == "AJOBS" and entry["type"] == "service" for entry in imports)
    assert imports[-1]["local_subject"] == "lb.pull.$1.$2"
