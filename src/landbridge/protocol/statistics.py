"""The service protocol of NATS (``$SRV``), which its tools speak: who is there, what it offers, how it has done.

::

    $SRV.<verb>                     all backends          verb = PING | INFO | STATS
    $SRV.<verb>.<name>              those of a module     name = institute-module: no name has a - of its own
    $SRV.<verb>.<name>.<id>         one backend

It is answered for whoever runs the network (`security/templates.py` lets nobody else ask) and never believed: any
backend may answer under any name. The forms are those of ADR-32 of NATS, ``io.nats.micro.v1``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import Malformed, printable
from ..names import OWNER_INSTITUTE
from .subjects import call_subscription

__all__ = ["Endpoint", "Service", "check_tool_reply", "service_answer", "service_subscriptions"]

_VERBS = ("PING", "INFO", "STATS")
_ENDPOINTS_LIMIT = 500  # some 400 bytes each: less than half of what one message may carry
_QUEUE_GROUP = "lb"
_TOKEN = r"[A-Za-z0-9_-]{1,64}"  # noqa: S105 - of a subject, no secret
_REPLY = re.compile(rf"_INBOX\.(lb|{OWNER_INSTITUTE})(\.{_TOKEN}){{4}}")
_SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one method has done.

    Attributes
    ----------
    name : str
        Name of the method.
    calls, errors : int
        Calls that were taken; that ended with an error.
    last_error : str
        Code of the last error; empty when there was none.
    seconds : float
        How long the calls that have ended took together.
    running, waiting : int
        Calls whose code runs now; that wait.
    """

    name: str
    calls: int
    errors: int
    last_error: str
    seconds: float
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Service:
    """One backend as it shows itself.

    Attributes
    ----------
    owner, module : str
        What it serves: ``owner/module``.
    instance : str
        Its id.
    version : str
        The module's own version; shown as 0.0.0 when it is not of the form that NATS asks for.
    summary : str
        One line about the module.
    started : str
        When it began to serve, ISO 8601 in UTC.
    endpoints : tuple of Endpoint
        Its methods; the first 500 are shown.
    """

    owner: str
    module: str
    instance: str
    version: str
    summary: str
    started: str
    endpoints: tuple[Endpoint, ...]


def service_subscriptions(owner: str, module: str, instance: str) -> dict[str, str]:
    """Return what a backend subscribes to, and which verb each subject asks."""
    name = f"{owner}-{module}"
    return {f"$SRV.{verb}{rest}": verb for verb in _VERBS for rest in ("", f".{name}", f".{name}.{instance}")}


def check_tool_reply(reply: str) -> str:
    """Return `reply` if it is an inbox of whoever runs the network; raises `Malformed`.

    The subject of a question does not say who asks. But nobody else may ask, and what lies anywhere else would make
    the backend a tool for writing into the inboxes of others.
    """
    if not _REPLY.fullmatch(reply):
        raise Malformed("the reply subject is no inbox of whoever runs the network")
    return reply


def service_answer(verb: str, service: Service) -> bytes:
    """Return what a backend answers to ``PING``, ``INFO`` or ``STATS``, as JSON.

    Examples
    --------
    >>> service = Service("awi", "stats", "0" * 32, "1.2.0", "Statistics.", "2026-01-01T00:00:00Z", ())
    >>> json.loads(service_answer("PING", service))["name"]
    'awi-stats'
    """
    answer: dict[str, Any] = {
        "type": f"io.nats.micro.v1.{verb.lower()}_response",
        "name": f"{service.owner}-{service.module}",
        "id": service.instance,
        "version": service.version if _SEMANTIC_VERSION.fullmatch(service.version[:80]) else "0.0.0",
        "metadata": {"module": f"{service.owner}/{service.module}", "version": printable(service.version, 40)},
    }
    shown = service.endpoints[:_ENDPOINTS_LIMIT]
    if verb == "INFO":
        answer["description"] = printable(service.summary, 200)
        answer["endpoints"] = [{**_where(service, each), "metadata": {}} for each in shown]
    elif verb == "STATS":
        answer["started"] = service.started
        answer["endpoints"] = [{**_where(service, each), **_done(each)} for each in shown]
    return json.dumps(answer).encode()


def _where(service: Service, endpoint: Endpoint) -> dict[str, Any]:
    subject = call_subscription(service.owner, service.module).removesuffix("*") + endpoint.name
    return {"name": endpoint.name, "subject": subject, "queue_group": _QUEUE_GROUP}


def _done(endpoint: Endpoint) -> dict[str, Any]:
    nanoseconds = int(endpoint.seconds * 1e9)
    return {
        "num_requests": endpoint.calls,
        "num_errors": endpoint.errors,
        "last_error": endpoint.last_error,
        "processing_time": nanoseconds,
        "average_processing_time": nanoseconds // endpoint.calls if endpoint.calls else 0,
        "data": {"running": endpoint.running, "waiting": endpoint.waiting},
    }
