"""How busy a backend is: whoever may call a module may ask all its backends, and hears of what they may call.

::

    lb.ctl.<i>.<p>.<I>.<M>.<ANYONE>.load.<id>.ask       the question, without a payload; every backend of I/M hears it
    _INBOX.<i>.<p>.<conn>.<id>.<n>                      the answers: one JSON text from each backend

Only backends of the module may subscribe to the question, and only they learn its id: so nobody else can answer, and
nobody can have an answer sent to somebody else.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ..errors import InvalidName, Malformed
from ..names import check_institute, check_module, check_person
from .subjects import ANYONE

__all__ = [
    "LATENCY_BOUNDS_S",
    "Load",
    "LoadSubject",
    "load_subject",
    "load_subscription",
    "pack_load",
    "parse_load",
    "quantile_s",
    "unpack_load",
]

LATENCY_BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
    1000.0, 3600.0,
)  # fmt: skip
"""Bounds between which calls are counted by how long they took, in seconds; a last count holds what took longer."""

_ID = re.compile(r"[0-9a-f]{32}")
_LIMIT = 4096
_MOST = 1 << 63


class Load(NamedTuple):
    """Sums over the methods that whoever asked may call, since the backend began to serve.

    Attributes
    ----------
    ended : int
        Calls that have ended.
    errors : int
        Those among them that ended with an error; cancelled ones did not.
    running, waiting : int
        Calls whose code runs now; that wait for their turn, or for the rest of their arguments.
    bytes_in, bytes_out : int
        Size of the arguments that came and of the values that went out.
    latency : tuple of int
        How many calls took up to each of `LATENCY_BOUNDS_S`, and how many took longer; not cumulative.
    """

    ended: int
    errors: int
    running: int
    waiting: int
    bytes_in: int
    bytes_out: int
    latency: tuple[int, ...]


class LoadSubject(NamedTuple):
    """Who asks the backends of which module."""

    institute: str
    person: str
    owner: str
    module: str
    question_id: str


def load_subject(institute: str, person: str, owner: str, module: str, question_id: str) -> str:
    """Return the subject of a question."""
    return f"lb.ctl.{institute}.{person}.{owner}.{module}.{ANYONE}.load.{question_id}.ask"


def load_subscription(owner: str, module: str) -> str:
    """Return what every backend of a module subscribes to for such questions."""
    return f"lb.ctl.*.*.{owner}.{module}.{ANYONE}.load.*.ask"


def parse_load(subject: str) -> LoadSubject:
    """Return who asks whom, every token checked; raises `Malformed` as `parse_call` does."""
    tokens = subject.split(".", 11)
    if len(tokens) != 10 or tokens[:2] != ["lb", "ctl"] or (*tokens[6:8], tokens[9]) != (ANYONE, "load", "ask"):
        raise Malformed("not the subject of a question about load")
    try:
        check_institute(tokens[2], reserved=True)
        check_person(tokens[3])
        check_institute(tokens[4], reserved=True)
        check_module(tokens[5])
    except InvalidName as error:
        raise Malformed(f"the subject holds {error.name}, which may not name {error.what}") from None
    if not _ID.fullmatch(tokens[8]):
        raise Malformed("the subject holds an id that is not 32 hexadecimal digits")
    return LoadSubject(tokens[2], tokens[3], tokens[4], tokens[5], tokens[8])


def pack_load(instance: str, load: Load | None) -> bytes:
    """Return the answer of one backend; without a load when nothing is shared with whoever asked."""
    return json.dumps({"instance": instance, "load": None if load is None else load._asdict()}).encode()


def unpack_load(payload: bytes) -> tuple[str, Load | None]:
    """Return instance and load of an answer, every field checked; raises `Malformed`."""
    if len(payload) > _LIMIT:
        raise Malformed(f"an answer about load of {len(payload)} bytes is larger than {_LIMIT}")
    try:
        answer = json.loads(payload)
    except (ValueError, RecursionError):
        raise Malformed("an answer about load is not JSON") from None
    if not isinstance(answer, dict) or "load" not in answer:
        raise Malformed("an answer about load has another form")
    instance, fields = answer.get("instance"), answer["load"]
    if not isinstance(instance, str) or not _ID.fullmatch(instance):
        raise Malformed("an answer about load names no instance")
    return instance, None if fields is None else _load(fields)


def _load(fields: Any) -> Load:
    if not isinstance(fields, dict) or not isinstance(latency := fields.get("latency"), list):
        raise Malformed("an answer about load has another form")
    counts: dict[str, Any] = {name: fields.get(name) for name in Load._fields if name != "latency"}
    if len(latency) != len(LATENCY_BOUNDS_S) + 1 or not all(
        type(count) is int and 0 <= count < _MOST for count in (*counts.values(), *latency)
    ):
        raise Malformed("an answer about load holds what is no count")
    return Load(**counts, latency=tuple(latency))


def quantile_s(latency: tuple[int, ...], share: float) -> float | None:
    """Return the time within which `share` of the calls ended, in seconds; None when there were none.

    Between two bounds calls are taken to be spread evenly; what took longer than the last bound counts as that.

    Examples
    --------
    >>> quantile_s((0, 10, *(0,) * 19), 0.5)
    0.00175
    """
    total = sum(latency)
    if not total:
        return None
    wanted, reached, low = share * total, 0, 0.0
    for bound, count in zip(LATENCY_BOUNDS_S, latency, strict=False):
        if count and reached + count >= wanted:
            return low + (bound - low) * (wanted - reached) / count
        reached, low = reached + count, bound
    return low
