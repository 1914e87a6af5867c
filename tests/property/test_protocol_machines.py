"""Each machine of a call alone: whatever comes in whatever order, it ends once, and never breaks."""

from __future__ import annotations

import zlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import CallLost, LandbridgeError, Malformed
from landbridge.protocol import (
    BEAT_S,
    CALLER_SILENCE_S,
    KEPT_S,
    LARGEST_WINDOW,
    PART_BYTES,
    SILENCE_S,
    Caller,
    Ended,
    Forget,
    Interrupt,
    Invoke,
    Item,
    Kind,
    Log,
    Message,
    More,
    OpenLane,
    Phase,
    Progress,
    Responder,
    Returned,
    Run,
    Send,
    Started,
    State,
    Waits,
    error_to_meta,
    pack,
    raised_to_meta,
    unpack,
)
from landbridge.protocol.messages import UNCOUNTED

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

INSTANCE = "0123456789abcdef" * 2
TARGET = "geomar/ocean.climatology"
ANSWERS = {Kind.RESULT, Kind.END, Kind.ERROR, Kind.CANCELLED}
LIMIT = 2_000_000

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
positions = st.integers(0, 4000) | st.sampled_from([PART_BYTES, 600_000, LIMIT, LIMIT + 1]) | st.integers(0, 1 << 60)
known = {
    "granted": positions,
    "next": st.integers(0, 4) | positions,
    "bulk_granted": positions,
    "bulk_next": positions,
    "resend": st.booleans(),
    "total": st.integers(1, 4000) | positions | st.floats(0, 1e6),
    "after": positions,
    "at": positions,
    "crc": st.integers(0, 0xFFFFFFFF),
    "place": st.integers(0, 1 << 32),
    "approval": st.booleans(),
    "function": st.integers(0, 63),
    "ask": st.integers(0, 5),
    "stream": st.sampled_from(["stdout", "\x1b[31m"]),
    "logs": st.booleans(),
    "instance": st.just(INSTANCE) | st.just("f" * 32),
    "state": st.sampled_from(["stopped", "stopping", "running", "odd"]),
    "done": st.floats(0, 1e9),
    "label": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "timeout_s": st.floats(0, 100),
    "code": st.sampled_from(["remote_error", "timeout", "too_large", "invalid_arguments", "what", "lost"]) | anything,
    "text": anything,
    "type": anything,
    "problems": anything | st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3),
    "builtin": st.sampled_from(["KeyError", "SystemExit", "OSError"]) | anything,
    "state_of_things": anything,
}
metas = st.lists(st.sampled_from(sorted(known)), max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: known[name] for name in names})
)
sizes = st.integers(0, 300) | st.sampled_from([PART_BYTES, PART_BYTES + 1])
kinds = st.sampled_from(list(Kind))
# A sequence of None means: the number that is due.
messages = st.tuples(kinds, st.none() | st.none() | st.integers(0, 5), metas, sizes)
raw = st.tuples(kinds, st.none(), st.dictionaries(st.sampled_from(sorted(known)), anything, max_size=4), sizes)
# An announcement that is nearly honest, and parts that are: how far behind, how long, whether the checksum is right.
announcements = st.tuples(
    st.sampled_from([Kind.RESULT, Kind.ITEM, Kind.INVOKE, Kind.RETURN]),
    st.none(),
    st.fixed_dictionaries({"total": st.sampled_from([1, 3000, 600_000])}),
    st.just(0),
)
parts = st.tuples(st.sampled_from([0, 0, 0, 0, 1, -1]), st.sampled_from([1, 3000, PART_BYTES]), st.booleans())
pauses = st.sampled_from([0.0, 0.01, 0.06, 0.2, 1.1, 3.1, 4.1, 15.1, 61.0])


class Rooms:
    """Makes the room that values are received into, and watches that nobody asks for too much or too early."""

    def __init__(self) -> None:
        self.parts = 0
        self.made = 0

    def __call__(self, size: int) -> bytearray:
        self.made += 1
        assert size <= LIMIT
        assert self.made <= self.parts, "room was made before a byte had come"
        return bytearray(size)


class Peer:
    """Builds the messages of one direction, by default with the number that is due, and parts where they are due."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.due = self.at = self.crc = 0
        self.totals: list[int] = []

    def message(self, kind: Kind, sequence: int | None, meta: dict, size: int) -> Message | None:
        number = self.due if sequence is None else sequence
        try:
            message = unpack(pack(kind, number, meta) + bytes(size))
        except LandbridgeError:
            return None
        except (ValueError, OverflowError):
            return None  # not even msgpack can say it
        if number == self.due and kind not in UNCOUNTED:
            self.due += 1
            if isinstance(message.meta.get("total"), int):
                self.totals.append(message.meta["total"])
        self.rooms.parts += kind is Kind.PART
        return message

    def part(self, offset: int, size: int, honest: bool) -> Message:
        self.rooms.parts += 1
        left = self.totals[0] if self.totals else size
        body = bytes(min(size, left))
        meta = {"at": max(self.at + offset, 0)}
        if not offset:
            self.crc = zlib.crc32(body, self.crc)
            self.at += len(body)
            if self.totals:
                self.totals[0] -= len(body)
                if not self.totals[0]:
                    meta["crc"] = self.crc if honest else 1
                    self.crc = 0
                    del self.totals[0]
        return unpack(pack(Kind.PART, 0, meta) + body)


def incoming(name: str, value: tuple, peer: Peer) -> Message | None:
    return peer.part(*value) if name == "part" else peer.message(*value)


beats = st.builds(
    lambda told, resend: (Kind.BEAT, None, {"instance": INSTANCE, **told, **({"resend": True} if resend else {})}, 0),
    st.sampled_from(
        [
            {"granted": 1 << 22, "bulk_granted": 1 << 22},
            {"granted": 1 << 22, "next": 1, "bulk_granted": 1 << 24, "bulk_next": 0},
            {"granted": 1 << 22, "next": 2, "bulk_granted": 1 << 24, "bulk_next": PART_BYTES},
        ]
    ),
    st.booleans(),
)
# Whoever breaks a rule ends the call; so most of what comes keeps them, and the rest finds the call in every state.
plausible = st.one_of(
    announcements.map(lambda parts: ("message", parts)),
    parts.map(lambda part: ("part", part)),
    parts.map(lambda part: ("part", part)),
    beats.map(lambda parts: ("message", parts)),
    st.just(("lane", None)),
)
arriving = st.one_of(
    plausible,
    plausible,
    plausible,
    messages.map(lambda parts: ("message", parts)),
    raw.map(lambda parts: ("message", parts)),
)


def lives(events: st.SearchStrategy[tuple], *, first: list[tuple]) -> st.SearchStrategy[list[tuple]]:
    """Lists of events, half of them after a beginning in which all went well."""
    parts = [("part", (0, PART_BYTES, True))] * 2
    beginnings = [[], [], first, [*first, *parts]]
    return st.builds(
        lambda beginning, rest: [*beginning, *rest], st.sampled_from(beginnings), st.lists(events, max_size=25)
    )


ACCEPTED = ("message", (Kind.BEAT, None, {"instance": INSTANCE, "granted": 1 << 22, "bulk_granted": 1 << 22}, 0))
LANE = ("lane", None)
LONG_ITEM = ("message", (Kind.ITEM, None, {"total": 600_000}, 0))
caller_events = st.one_of(
    arriving,
    arriving,
    pauses.map(lambda pause: ("tick", pause)),
    st.just(("cancel", None)),
    pauses.map(lambda age: ("nobody", age)),
    st.sampled_from([("disconnected", None), ("reconnected", None), ("restarted", None), ("lane", None)]),
    st.sampled_from([("closed", None), ("broken", None)]),
    st.sampled_from([("took", None), ("returned", 0), ("returned", PART_BYTES + 1), ("raised", None)]),
)


def drive_caller(caller: Caller, peer: Peer, event: tuple, now: float, unread: list) -> list:
    name, value = event
    if name in ("message", "part"):
        message = incoming(name, value, peer)
        return [] if message is None else caller.received(message, now)
    if name == "tick":
        return caller.tick(now)
    if name == "nobody":
        return caller.nobody_received(now, value)
    if name == "took":
        return caller.took(*unread.pop(0), now) if unread else []
    if name == "disconnected":
        caller.disconnected()
        return []
    return {
        "cancel": lambda: caller.cancel(now),
        "reconnected": lambda: caller.reconnected(now),
        "restarted": lambda: caller.backend_restarted(now),
        "lane": lambda: caller.lane_opened(now, LARGEST_WINDOW),
        "closed": lambda: caller.closed("the program ends"),
        "broken": lambda: caller.broken(Malformed("noise"), now),
        "returned": lambda: caller.returned(1, [bytes(value or 0)], value or 0, now),
        "raised": lambda: caller.raised(1, error_to_meta(CallLost("x")), now),
    }[name]()


@settings(PATIENT)
@given(
    lives(caller_events, first=[ACCEPTED, LANE, LONG_ITEM, LANE]),
    st.sampled_from([0, 10, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES]),
    st.none() | st.floats(0, 100) | st.just(float("inf")),
)
def test_every_order_of_events_ends_a_call_exactly_once(events, size, timeout_s):
    rooms = Rooms()
    caller = Caller(TARGET, [bytes(size)], size, timeout_s=timeout_s, limit=LIMIT, make_room=rooms)
    peer, now = Peer(rooms), 1000.0
    unread: list[tuple[int, bool]] = []
    actions = caller.start(now)
    for event in events:
        now += event[1] if event[0] == "tick" else 0.001
        new = drive_caller(caller, peer, event, now, unread)
        forgotten = any(isinstance(action, Forget) for action in actions)
        assert not forgotten or not new, "a forgotten machine speaks"
        actions += new
        unread += [(action.cost, action.bulk) for action in new if isinstance(action, (Item, Invoke))]
        assert caller._in.held_bytes <= LIMIT + LARGEST_WINDOW
        assert (caller.state is State.DONE) == any(isinstance(action, Forget) for action in actions)
    for _ in range(60):
        now += SILENCE_S / 10
        actions += caller.tick(now)
    if not any(isinstance(action, Forget) for action in actions):
        actions += caller.reconnected(now)  # it waits for its own connection
        for _ in range(40):
            now += SILENCE_S / 10
            actions += caller.tick(now)

    ends = [place for place, action in enumerate(actions) if isinstance(action, Ended)]
    assert len(ends) == 1
    assert sum(isinstance(action, Forget) for action in actions) == 1
    assert isinstance(actions[-1], Forget)
    for action in actions[ends[0] + 1 :]:
        assert isinstance(action, (Send, OpenLane, Forget, Started)), "something reached the user after the end"
    for action in actions:
        if isinstance(action, Send):
            unpack(b"".join(action.parts))
        assert isinstance(action, (Send, OpenLane, Started, Progress, Waits, Log, Item, Invoke, Ended, Forget))
    ended = actions[ends[0]]
    assert ended.error is None or ended.frame is None


@settings(PATIENT)
@given(st.lists(pauses, max_size=20), st.booleans())
def test_a_backend_that_only_beats_is_waited_for_without_limit(waits, cancels):
    caller, now = Caller(TARGET, [], 0), 0.0
    caller.start(now)
    beat = unpack(pack(Kind.BEAT, 0, {"instance": INSTANCE, "granted": 1 << 21}))
    for wait in waits:
        now += min(wait, BEAT_S)
        assert not any(isinstance(action, Ended) for action in [*caller.received(beat, now), *caller.tick(now)])
    if cancels:
        # …but a cancelled call ends whether or not the backend obeys.
        caller.received(beat, now)
        caller.cancel(now)
        actions = []
        for _ in range(40):
            now += 0.1
            actions += [*caller.received(beat, now), *caller.tick(now)]
        assert sum(isinstance(action, Ended) for action in actions) == 1


responder_events = st.one_of(
    arriving,
    arriving,
    pauses.map(lambda pause: ("tick", pause)),
    st.sampled_from(
        [
            ("result", 0),
            ("result", PART_BYTES * 5),
            ("finished", 0),
            ("failed", 0),
            ("stopped", 0),
            ("log", 0),
            ("invoke", 0),
            ("invoke", PART_BYTES + 1),
        ]
    ),
    sizes.map(lambda size: ("item", size)),
    st.floats().map(lambda done: ("progress", done)),
    st.integers(0, 3).map(lambda place: ("waits", place)),
    st.sampled_from([("reconnected", 0), ("shut_down", 0), ("refuse", 0), ("lane", 0), ("awaits", 0)]),
)


class Code:
    """The method's code at the backend: begins with Run, ends once, and says so as the driver of a machine must."""

    def __init__(self) -> None:
        self.running = False

    def drive(self, responder: Responder, name: str, value: float, now: float) -> list:
        if name == "reconnected":
            return responder.reconnected(now)
        if name == "lane":
            return responder.lane_opened(now, LARGEST_WINDOW)
        if name == "waits":
            return responder.waits(int(value), now)
        if name == "shut_down":
            return responder.shut_down(now)
        if name == "refuse":
            return responder.refuse(CallLost("elsewhere"), now)
        if not self.running:
            return []
        if name == "awaits":
            return responder.awaits_approval(now)
        if name == "item":
            return responder.item([bytes(int(value))], int(value), now)
        if name == "progress":
            return responder.progress(value, value, "label " * 100, now)
        if name == "log":
            return responder.log("stdout", "text " * 3000, now)
        if name == "invoke":
            return responder.invoke(0, 1, [bytes(int(value))], int(value), now)
        self.running = False
        if name == "result":
            return responder.result([bytes(int(value))], int(value), now)
        if name == "failed":
            return responder.failed(raised_to_meta("KeyError", "'sst'", "KeyError", "a1b2"), now)
        return responder.finished(now) if name == "finished" else responder.stopped(now)


@settings(PATIENT)
@given(
    lives(responder_events, first=[LANE, ("item", 3 * PART_BYTES), ACCEPTED]),
    st.sampled_from([(0, None), (10, None), (0, 3000), (0, 600_000)]),
    st.integers(16 * 1024, 1 << 22),
    st.booleans(),
    st.none() | st.floats(0, 50),
)
def test_every_order_of_events_answers_at_most_once_and_is_forgotten_when_the_code_has_ended(
    events, arguments, granted, interruptible, limit_s
):
    rooms = Rooms()
    responder = Responder(
        TARGET, INSTANCE, interruptible=interruptible, limit_s=limit_s, arguments_limit=LIMIT, make_room=rooms
    )
    peer, code, now = Peer(rooms), Code(), 1000.0
    actions: list = []
    counted: list[Message] = []
    answered = False

    def account(new: list) -> None:
        nonlocal answered
        for action in new:
            assert not any(isinstance(earlier, Forget) for earlier in actions), "a forgotten machine speaks"
            actions.append(action)
            assert isinstance(action, (Send, OpenLane, Run, Returned, Interrupt, More, Forget))
            if isinstance(action, Run):
                code.running = True
            if not isinstance(action, Send) or action.to == "lane":
                continue
            message = unpack(b"".join(action.parts))
            if message.kind in UNCOUNTED:
                assert message.sequence == len(counted), "a number that shows a loss where there was none"
            elif message.sequence < len(counted):
                assert message == counted[message.sequence], "not what was sent before"
            else:
                assert message.sequence == len(counted)
                assert not answered, f"{message.kind.name} after the answer"
                counted.append(message)
                # One whose bytes are still to come, or that waits for such, can be given up for an error.
                complete = not {"total", "after"} & set(message.meta)
                answered = message.kind in ANSWERS and complete
        assert (responder.phase is Phase.DONE) == any(isinstance(action, Forget) for action in actions)
        assert responder._in.held_bytes <= LIMIT + LARGEST_WINDOW

    size, total = arguments
    meta = {"granted": granted} | ({"total": total} if total else {})
    request = peer.message(Kind.CALL, None, meta, size)
    account(responder.opened(request, now))
    for name, value in events:
        now += value if name == "tick" else 0.001
        if name in ("message", "part"):
            message = incoming(name, value, peer)
            account([] if message is None else responder.received(message, now))
        elif name == "tick":
            account(responder.tick(now))
        else:
            account(code.drive(responder, name, value, now))
        assert not (code.running and responder.phase is Phase.DONE), "forgotten while its code runs"
    for _ in range(30):
        now += max(CALLER_SILENCE_S, KEPT_S) / 10
        account(responder.tick(now))
    if code.running:
        # The caller has been silent for long: by now the code was told to stop, and at last it does.
        assert any(isinstance(action, Interrupt) for action in actions)
        account(code.drive(responder, "stopped", 0, now))
    assert sum(isinstance(action, Forget) for action in actions) == 1
    assert sum(isinstance(action, Run) for action in actions) <= 1


@settings(PATIENT)
@given(st.integers(0, 16 * 1024 - 1))
def test_a_request_without_a_window_is_dropped(granted):
    responder = Responder(TARGET, INSTANCE, interruptible=True)
    try:
        responder.opened(unpack(pack(Kind.CALL, 0, {"granted": granted})), 0.0)
    except Malformed:
        return
    raise AssertionError("accepted")
