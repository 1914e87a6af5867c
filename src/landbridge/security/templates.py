"""What each role of an institute may publish and subscribe to: the only place where permissions are written.

The operator writes one scope per institute and role into the account `net`; the institute signs its people with the
scope's key and cannot escape the template. In the tables ``i`` is the institute, a literal; ``N`` the name of the
credential; ``M`` each module that its tags name. A placeholder is always a whole token and never stands where the
institute or the first token does, so that a bad name or tag stays inside its institute.

Calls live in the account `net`. JetStream lives in the account `jobs`, which no institute has a key for: the server
sends its own answers (acknowledgements, pulled messages) to any reply subject unchecked, and with streams in `net`
that would store one person's words under another's name. `net` reaches `jobs` through four services only.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from ..names import OWNER_INSTITUTE, check_institute

__all__ = ["ROLES", "SERVICE_INSTITUTE", "Role", "jobs_exports", "net_imports", "scope", "template"]

Role = Literal["person", "serve", "enrol", "leaf"]
ROLES: tuple[Role, ...] = get_args(Role)

SERVICE_INSTITUTE = "lb"
"""Institute of the operator's own services, such as the module ``lb/catalogue``; nobody else can be issued it."""

_INBOX = "_INBOX.i.N.*.*.*"
_CALLS = ("lb.call.i.N.>", "lb.ctl.i.N.>", "lb.job.i.N.>")
# Answers go to any inbox: its ids cannot be guessed. Never by `allow_responses`, which follows whatever reply subject
# a caller named, to another institute's subjects too.
_ANSWERS = "_INBOX.*.*.*.*.*"
# Who runs the network may ask all backends with the tools of NATS. Nobody else may: the subject of such a question does
# not say who asks, and its answer tells of methods that are not shared with everybody.
_MAY_ASK_ALL = (SERVICE_INSTITUTE, OWNER_INSTITUTE)
_SERVICE_PROTOCOL = tuple(f"$SRV.{verb}{rest}" for verb in ("PING", "INFO", "STATS") for rest in ("", ".>"))

_PUBLISH: dict[Role, tuple[str, ...]] = {
    "person": _CALLS,
    "serve": (*_CALLS, _ANSWERS, "lb.cat.i.M", "lb.out.i.M.>", "lb.pull.JOBS_i.M", "$JS.ACK.JOBS_i.M.>"),
    # Whoever was invited, or whose credential has expired, can ask the institute's issuer, and nobody else.
    "enrol": ("lb.call.i.N.i.id.>", "lb.ctl.i.N.i.id.>"),
    "leaf": (
        *("lb.call.i.>", "lb.ctl.i.>", "lb.job.i.>", "lb.out.i.>", "lb.cat.i.>"),
        *("lb.pull.JOBS_i.*", "$JS.ACK.JOBS_i.>", _ANSWERS),
    ),
}
_SUBSCRIBE: dict[Role, tuple[str, ...]] = {
    "person": (_INBOX, "lb.cat.*.*"),
    "serve": (_INBOX, "lb.cat.*.*", "lb.call.*.*.i.M.>", "lb.ctl.*.*.i.M.>", *_SERVICE_PROTOCOL),
    "enrol": (_INBOX,),
    "leaf": ("_INBOX.i.>", "lb.call.*.*.i.>", "lb.ctl.*.*.i.>"),
}
_CLIENTS = ("STANDARD", "WEBSOCKET")
_CONNECTIONS: dict[Role, tuple[str, ...]] = {
    "person": _CLIENTS,
    "serve": _CLIENTS,
    "enrol": _CLIENTS,
    "leaf": ("LEAFNODE", "LEAFNODE_WS"),
}
# The wire sends parts of half this size; a single message beyond it closes the connection.
# A part of 512 KiB and its head; more would only serve whoever wants to flood.
_PAYLOAD_BYTES = 640 * 1024
_SUBSCRIPTIONS = 1000

_NEXT = "$JS.API.CONSUMER.MSG.NEXT.*.*"


def template(role: Role, institute: str) -> dict[str, Any]:
    """Return the permissions and limits of whoever the institute's key for `role` signs.

    Raises
    ------
    InvalidName
        When `institute` may not name one.

    Examples
    --------
    >>> template("enrol", "awi")["pub"]
    {'allow': ['lb.call.awi.{{name()}}.awi.id.>', 'lb.ctl.awi.{{name()}}.awi.id.>']}
    """
    tokens = {"i": check_institute(institute, reserved=True), "N": "{{name()}}", "M": "{{tag(module)}}"}
    tokens["JOBS_i"] = f"JOBS_{institute}"

    def fill(subjects: tuple[str, ...]) -> dict[str, list[str]]:
        return {"allow": [".".join(tokens.get(token, token) for token in subject.split(".")) for subject in subjects]}

    asks_all = _SERVICE_PROTOCOL if role == "person" and institute in _MAY_ASK_ALL else ()
    return {
        "pub": fill((*_PUBLISH[role], *asks_all)),
        "sub": fill(_SUBSCRIBE[role]),
        "subs": _SUBSCRIPTIONS,
        "data": -1,
        "payload": _PAYLOAD_BYTES,
        "allowed_connection_types": list(_CONNECTIONS[role]),
    }


def scope(role: Role, institute: str, signing_key: str) -> dict[str, Any]:
    """Return the entry that makes `signing_key` (public) the institute's key for `role`, to go into `account_jwt`."""
    return {
        "kind": "user_scope",
        "key": signing_key,
        "role": f"{institute}-{role}",
        "template": template(role, institute),
    }


def jobs_exports() -> list[dict[str, Any]]:
    """Return what the account `jobs` lets `net` use: storing jobs and outcomes, pulling and acknowledging them."""
    return [
        {"name": "submit", "subject": "lb.job.>", "type": "service"},
        {"name": "outcome", "subject": "lb.out.>", "type": "service"},
        {"name": "ack", "subject": "$JS.ACK.>", "type": "service"},
        # A pull is answered more than once; the default would deliver only the first answer.
        {"name": "pull", "subject": _NEXT, "type": "service", "response_type": "Stream"},
    ]


def net_imports(jobs_account: str) -> list[dict[str, Any]]:
    """Return the entries by which the account `net` uses the services of `jobs_account` (public key).

    The pull is renamed to ``lb.pull.<stream>.<consumer>``: under its own name a leaf node's server would answer it
    itself.
    """
    imports: list[dict[str, Any]] = [
        {"name": export["name"], "subject": export["subject"], "account": jobs_account, "type": "service"}
        for export in jobs_exports()
    ]
    imports[-1]["local_subject"] = "lb.pull.$1.$2"
    return imports
