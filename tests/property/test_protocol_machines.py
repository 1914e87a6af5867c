"""Each machine of a call alone: whatever comes in whatever order, it ends once, and never breaks."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landbridge.errors import CallLost, LandbridgeError, Malformed
from landbridge.protocol import (
    BEAT_S,
    CALLER_SILENCE_S,
    PART_BYTES,
    SILENCE_S,
    VALUE_LIMIT,
    Caller,
    Ended,
    Forget,
    Interrupt,
    Item,
    Kind,
    Message,
    More,
    Phase,
    Progress,
    Responder,
    Run,
    Send,
    Started,
    State,
    pack,
    raised_to_meta,
    unpack,
)

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

INSTANCE = "0123456789abcdef" * 2
TARGET = "geomar/ocean.climatology"
ANSWERS = {Kind.END, Kind.ERROR, Kind.CANCELLED}

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
FIELDS = ["granted", "total", "instance", "state", "done", "label", "timeout_s", "code", "text", "problems", "builtin"]
metas = st.fixed_dictionaries(
    {},
    optional={
        "granted": st.integers(0, 1 << 60) | st.integers(0, 1 << 22),
        "total": st.integers(0, 4000) | st.integers(VALUE_LIMIT - 1, 1 << 50) | st.floats(0, 1e6),
        "instance": st.just(INSTANCE) | st.just("f" * 32),
        "state": st.sampled_from(["stopped", "stopping", "running", "odd"]),
        "done": st.floats(0, 1e9),
        "label": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "timeout_s": st.floats(0, 100),
        "code": st.sampled_from(["remote_error", "timeout", "too_large", "invalid_arguments", "what", "lost"])
        | anything,
        "text": anything,
        "type": anything,
        "problems": anything | st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3),
        "builtin": st.sampled_from(["KeyError", "SystemExit", "OSError"]) | anything,
        "state_of_things": anything,
    },
)
sizes = st.integers(0, 300) | st.sampled_from([PART_BYTES, PART_BYTES + 1])
kinds = st.sampled_from(list(Kind))
# A sequence of None means: the number that is due.
messages = st.tuples(kinds, st.none() | st.none() | st.integers(0, 5), metas, sizes)
raw = st.tuples(kinds, st.none(), st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4), sizes)
pauses = st.sampled_from([0.0, 0.01, 0.06, 0.2, 1.1, 3.1, 4.1, 15.1, 61.0])


class Numbered:
    """Builds the messages of one direction, by default with the number that is due."""

    def __init__(self) -> None:
        self.due = 0

    def message(self, kind: Kind, sequence: int | None, meta: dict, size: int) -> Message | None:
        number = self.due if sequence is None else sequence
        try:
            message = unpack(pack(kind, number, meta) + bytes(size))
        except LandbridgeError:
            return None
        except (ValueError, OverflowError):
            return None  # not even msgpack can say it
        if number == self.due and kind not in (Kind.BEAT, Kind.CANCEL, Kind.PROGRESS):
            self.due += 1
        return message


caller_events = st.one_of(
    messages.map(lambda parts: ("message", parts)),
    raw.map(lambda parts: ("message", parts)),
    pauses.map(lambda pause: ("tick", pause)),
    st.just(("cancel", None)),
    pauses.map(lambda age: ("nobody", age)),
    st.just(("reconnected", None)),
    st.sampled_from([("closed", None), ("broken", None)]),
    st.integers(0, PART_BYTES).map(lambda cost: ("took", cost)),
)


def drive_caller(caller: Caller, numbered: Numbered, event: tuple, now: float) -> list:
    name, value = event
    if name == "message":
        message = numbered.message(*value)
        return [] if message is None else caller.received(message, now)
    if name == "tick":
        return caller.tick(now)
    if name == "cancel":
        return caller.cancel(now)
    if name == "nobody":
        return caller.nobody_received(now, now - value)
    if name == "reconnected":
        return caller.reconnected(now)
    if name == "closed":
        return caller.closed("the program ends")
    if name == "broken":
        return caller.broken(Malformed("noise"), now)
    return caller.took(value, now)


@settings(PATIENT)
@given(
    st.lists(caller_events, max_size=25),
    st.sampled_from([0, 10, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES]),
    st.none() | st.floats(0, 100) | st.just(float("inf")),
)
def test_every_order_of_events_ends_a_call_exactly_once(events, size, timeout_s):
    caller, numbered, now = Caller(TARGET, [bytes(size)], size, timeout_s=timeout_s), Numbered(), 1000.0
    actions = caller.start(now)
    for event in events:
        now += event[1] if event[0] == "tick" else 0.001
        new = drive_caller(caller, numbered, event, now)
        forgotten = any(isinstance(action, Forget) for action in actions)
        assert not forgotten or not new, "a forgotten machine speaks"
        actions += new
        assert (caller.state is State.DONE) == any(isinstance(action, Forget) for action in actions)
    for _ in range(40):
        now += SILENCE_S / 10
        actions += caller.tick(now)

    ends = [place for place, action in enumerate(actions) if isinstance(action, Ended)]
    assert len(ends) == 1
    assert sum(isinstance(action, Forget) for action in actions) == 1
    assert isinstance(actions[-1], Forget)
    for action in actions[ends[0] + 1 :]:
        assert isinstance(action, (Send, Forget, Started)), "something reached the user after the end"
    for action in actions:
        if isinstance(action, Send):
            unpack(b"".join(action.parts))
        assert isinstance(action, (Send, Started, Progress, Item, Ended, Forget))
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
            actions += [*caller.received(beat, now), *caller.took(1 << 20, now), *caller.tick(now)]
        assert sum(isinstance(action, Ended) for action in actions) == 1


responder_events = st.one_of(
    messages.map(lambda parts: ("message", parts)),
    raw.map(lambda parts: ("message", parts)),
    pauses.map(lambda pause: ("tick", pause)),
    st.sampled_from(
        [
            ("result", 0),
            ("result", PART_BYTES * 5),
            ("result", VALUE_LIMIT + 1),
            ("finished", 0),
            ("failed", 0),
            ("stopped", 0),
        ]
    ),
    sizes.map(lambda size: ("item", size)),
    st.floats().map(lambda done: ("progress", done)),
    st.sampled_from([("reconnected", 0), ("shut_down", 0), ("refuse", 0)]),
)


class Code:
    """The method's code at the backend: begins with Run, ends once, and says so as the driver of a machine must."""

    def __init__(self) -> None:
        self.running = False

    def drive(self, responder: Responder, name: str, value: float, now: float) -> list:
        if name == "reconnected":
            responder.reconnected(now)
            return []
        if name == "shut_down":
            return responder.shut_down(now)
        if name == "refuse":
            return responder.refuse(CallLost("elsewhere"), now)
        if not self.running:
            return []
        if name == "item":
            return responder.item([bytes(int(value))], int(value), now)
        if name == "progress":
            return responder.progress(value, value, "label " * 100, now)
        self.running = False
        if name == "result":
            return responder.result([bytes(int(value))], int(value), now)
        if name == "failed":
            return responder.failed(raised_to_meta("KeyError", "'sst'", "KeyError", "a1b2"), now)
        return responder.finished(now) if name == "finished" else responder.stopped(now)


@settings(PATIENT)
@given(
    st.lists(responder_events, max_size=25),
    st.sampled_from([(0, None), (10, None), (PART_BYTES, PART_BYTES + 1)]),
    st.integers(16 * 1024, 1 << 22),
    st.booleans(),
    st.none() | st.floats(0, 50),
)
def test_every_order_of_events_answers_at_most_once_and_is_forgotten_when_the_code_has_ended(
    events, arguments, granted, interruptible, limit_s
):
    responder = Responder(TARGET, INSTANCE, interruptible=interruptible, limit_s=limit_s)
    numbered, code, now = Numbered(), Code(), 1000.0
    actions: list = []
    answers: list[Kind] = []
    open_result = 0
    due = 0

    def account(new: list) -> None:
        nonlocal open_result, due
        for action in new:
            assert not any(isinstance(earlier, Forget) for earlier in actions), "a forgotten machine speaks"
            actions.append(action)
            assert isinstance(action, (Send, Run, Interrupt, More, Forget))
            if isinstance(action, Run):
                code.running = True
            if not isinstance(action, Send):
                continue
            message = unpack(b"".join(action.parts))
            assert not answers, f"{message.kind.name} after the answer"
            assert message.sequence == due, "a number that shows a loss where there was none"
            due += message.kind not in (Kind.BEAT, Kind.CANCEL, Kind.PROGRESS)
            if message.kind is Kind.RESULT:
                open_result = message.meta.get("total", message.body.nbytes) - message.body.nbytes
                if not open_result:
                    answers.append(message.kind)
            elif message.kind is Kind.PART and open_result:
                open_result -= message.body.nbytes
                if not open_result:
                    answers.append(message.kind)
            elif message.kind in ANSWERS:
                answers.append(message.kind)
        assert (responder.phase is Phase.DONE) == any(isinstance(action, Forget) for action in actions)

    size, total = arguments
    meta = {"granted": granted} | ({"total": total} if total else {})
    request = numbered.message(Kind.CALL, None, meta, size)
    account(responder.opened(request, now))
    for name, value in events:
        now += value if name == "tick" else 0.001
        if name == "message":
            message = numbered.message(*value)
            account([] if message is None else responder.received(message, now))
        elif name == "tick":
            account(responder.tick(now))
        else:
            account(code.drive(responder, name, value, now))
        assert not (code.running and responder.phase is Phase.DONE), "forgotten while its code runs"
    for _ in range(30):
        now += CALLER_SILENCE_S / 10
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
