"""Runs one method from encoded arguments to its encoded outcome; the same in the backend and in its workers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from .. import wire
from ..errors import (
    RAISED_BUILTINS,
    CallCancelled,
    InternalError,
    InvalidArguments,
    LandbridgeError,
    Malformed,
    PermissionDenied,
    Problem,
    TooLarge,
    printable,
)
from ..protocol import error_to_meta, raised_to_meta
from ..security import Rule
from .asking import Asking
from .context import CurrentCall, current
from .interruption import Interrupted
from .lasting import lasting
from .output import CallOutput
from .preview import arguments_shown
from .running import Parts, Running, Style
from .usage import held_bytes_each

__all__ = [
    "MOST_REFERENCES",
    "Execution",
    "Fetch",
    "Fetched",
    "HandsOver",
    "cancelled_meta",
    "error_meta",
    "own_errors",
]

_log = logging.getLogger(__name__)

_LARGE_BYTES = 256 * 1024
_LARGE_AT_ONCE = 8
"""How many large values may be on their way from their threads to the loop that sends them."""


class Fetched(NamedTuple):
    """The value of a reference, and how many bytes it has on the wire."""

    value: object
    size: int


Fetch = Callable[[wire.ReferenceData, CurrentCall, bool], Fetched]
"""Gets the value of a reference that was given to a call, or a lazy data set if that is wanted."""

MOST_REFERENCES = 100
"""How many kept values the arguments of a call may refer to."""


class HandsOver(Protocol):
    """Calls functions where the outcome is wanted, in order."""

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have `function` called there."""

    def post_from(self, sender: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> None:
        """Do as `post`, in a loop: what it posts in one turn may be handed over together."""


class Execution:
    """Runs methods in the thread or loop that calls it, and hands over what comes of it.

    Parameters
    ----------
    outbox : HandsOver
        Calls the sinks.
    lent : callable
        Gives a context for a thread that only waits.
    copies : bool
        Whether what is handed over may still be waiting while the method goes on, so that it must be copied.
    fetch : callable, optional
        Gets the values of references among the arguments; without it, they are refused.
    """

    def __init__(
        self,
        outbox: HandsOver,
        lent: Callable[[], AbstractContextManager[None]],
        *,
        copies: bool = True,
        fetch: Fetch | None = None,
    ) -> None:
        self._outbox = outbox
        self._fetch = fetch
        self._lent = lent
        self._copies = copies
        self._large = threading.Semaphore(_LARGE_AT_ONCE)

    def run_plain(self, running: Running, frame: memoryview | bytearray) -> None:
        """Run a plain function or a generator in this thread."""
        if not running.begin():
            return  # cancelled while it waited for a thread, and its caller has been told so
        running.waits = None  # it holds this very call, which holds `running`: so all can go at once
        self._enter(running)
        try:
            try:
                outcome = self._plain_outcome(running, frame)
            except BaseException as error:  # sys.exit in a method must end the call, not the backend
                outcome = partial(running.sink.failed, error_meta(running, error))
            if running.call._output is not None or running.asking is not None:
                self._leave(running)
            self._outbox.post(outcome)
        finally:
            current.set(None)

    def _plain_outcome(self, running: Running, frame: memoryview | bytearray) -> Callable[[], None]:
        if running.style is Style.GENERATOR:
            self._run_generator(running, self._called(running, frame))
            return running.sink.finished
        # In a list, so that nothing holds the value any more once it has been encoded.
        box = [running.method.lower(self._called(running, frame))]
        if running.keep is not None and (keep := running.take_keep()) is not None:
            box = [keep(box.pop())]
        parts, size = self._encoded(box, running)
        if size < _LARGE_BYTES or not self._copies:
            return partial(running.sink.result, parts, size)
        # Threads that make large values faster than they can be looked at would fill the memory.
        self._large.acquire()
        return partial(self._deliver_large, running, parts, size)

    def _called(self, running: Running, frame: memoryview | bytearray) -> Any:
        args, kwargs = self._arguments(running, frame)
        running.has_run = True
        try:
            return running.function(*args, **kwargs)
        except BaseException as error:
            raise _Raised(error) from None

    def _deliver_large(self, running: Running, parts: Parts, size: int) -> None:
        try:
            running.sink.result(parts, size)
        finally:
            self._large.release()

    def _run_generator(self, running: Running, items: Any) -> None:
        proceed = threading.Event()
        try:
            for item in _guarded(items):
                box = [running.method.lower_item(item)]
                del item
                parts, size = self._encoded(box, running)
                self._outbox.post(running.sink.item, parts, size)
                del parts
                proceed.clear()
                if running.must_wait(size, proceed.set):
                    with self._lent():
                        proceed.wait()
                if running.call.cancelled:
                    raise Interrupted
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()  # so that its own `finally` runs now, in this thread

    async def run_coroutine(self, running: Running, frame: memoryview | bytearray) -> None:
        """Run a coroutine in this loop."""
        self._enter(running)
        try:
            try:
                box = [running.method.lower(await self._awaited(running, frame))]
                if running.keep is not None and (keep := running.take_keep()) is not None:
                    box = [await asyncio.to_thread(keep, box.pop())]
                outcome = partial(running.sink.result, *await self._encoded_in_loop(box, running))
            except BaseException as error:
                outcome = partial(running.sink.failed, error_meta(running, error))
            if running.call._output is not None or running.asking is not None:
                self._leave(running)
            # What ends in the same turn is handed over together.
            self._outbox.post_from(asyncio.get_running_loop(), outcome)
        finally:
            running.task = None  # it holds this coroutine, which holds `running`: so all can go at once

    async def _awaited(self, running: Running, frame: memoryview | bytearray) -> Any:
        args, kwargs = self._arguments(running, frame)
        try:
            return await running.function(*args, **kwargs)
        except BaseException as error:
            raise _Raised(error) from None

    async def run_async_generator(self, running: Running, frame: memoryview | bytearray) -> None:
        """Run an async generator in this loop."""
        self._enter(running)
        outcome: Callable[[], None] = running.sink.finished
        try:
            try:
                await self._run_async_items(running, frame)
            except BaseException as error:
                outcome = partial(running.sink.failed, error_meta(running, error))
            if running.call._output is not None or running.asking is not None:
                self._leave(running)
            self._outbox.post(outcome)
        finally:
            running.task = None

    async def _run_async_items(self, running: Running, frame: memoryview | bytearray) -> None:
        loop = asyncio.get_running_loop()
        args, kwargs = self._arguments(running, frame)
        items = running.function(*args, **kwargs)
        try:
            async for item in _guarded_async(items):
                box = [running.method.lower_item(item)]
                del item
                parts, size = await self._encoded_in_loop(box, running)
                self._outbox.post(running.sink.item, parts, size)
                del parts
                proceed = loop.create_future()
                if running.must_wait(size, partial(_set_from_elsewhere, loop, proceed)):
                    await proceed
        finally:
            await items.aclose()

    def _encoded(self, box: list[Any], running: Running) -> tuple[Parts, int]:
        itemsizes: list[int] = []
        parts: Parts = wire.encode(box.pop(), itemsizes=itemsizes)
        if running.squeezing is not None and itemsizes and wire.size_bytes(parts) >= wire.COMPRESSED_FROM:
            parts = running.squeezing.applied(parts, itemsizes, partial(_go_on, running))
        return self._lasting(parts)

    async def _encoded_in_loop(self, box: list[Any], running: Running) -> tuple[Parts, int]:
        itemsizes: list[int] = []
        parts: Parts = wire.encode(box.pop(), itemsizes=itemsizes)
        # Copied first, as others in this loop may change an array as soon as they run.
        parts, size = self._lasting(parts)
        if running.squeezing is None or not itemsizes or size < wire.COMPRESSED_FROM:
            return parts, size
        # The loop is everybody's, and compressing takes its time.
        squeezed = await asyncio.to_thread(running.squeezing.applied, parts, itemsizes, partial(_go_on, running))
        return squeezed, wire.size_bytes(squeezed)

    def _lasting(self, parts: Parts) -> tuple[Parts, int]:
        if self._copies and len(parts) > 1:  # the first is the header, which is nobody else's
            parts = lasting(parts)
        return parts, wire.size_bytes(parts)

    def _arguments(self, running: Running, frame: memoryview | bytearray) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = self._checked(running, frame)
        if running.rules:
            check_conditions(running, args, kwargs)
        if running.held and running.asking is not None:
            owner = running.call.target.partition("/")[0]
            raise PermissionDenied(
                f"{running.call.target} was given a function of {running.call.caller}, which it could tell anything "
                f"before {owner} has approved it. Call it without, or ask {owner} to share it without approval"
            )
        return args, kwargs

    def _checked(self, running: Running, frame: memoryview | bytearray) -> tuple[tuple[Any, ...], dict[str, Any]]:
        function_of = partial(self._function_of, running)
        if running.fetched is None:
            arguments, running.fetched = self._with_fetched(running, frame, function_of)
            if not running.fetched:
                return running.method.check(arguments)
        # Decoded once more, in the same order, with the values in their places, however deep.
        values, running.fetched = iter(running.fetched), []
        return running.method.check(_decoded(frame, function_of, lambda reference: next(values)))

    def check(self, running: Running, frame: memoryview | bytearray) -> None:
        """Refuse arguments that do not fit, or that its owner does not allow to this caller."""
        self._arguments(running, frame)
        # What was made of them here is not what the method gets, elsewhere; its questions are answered there, too.
        running.fetched = running.asking = None

    def fetch(self, running: Running, frame: memoryview | bytearray) -> None:
        """Get the values of references among encoded arguments; in a thread that may wait for them."""
        _, running.fetched = self._with_fetched(running, frame, wire.Function)

    def with_values(self, running: Running, frame: memoryview | bytearray) -> memoryview:
        """Return encoded arguments with the values of references in their places."""
        _, fetched = self._with_fetched(running, frame, wire.Function)
        values = iter(fetched)
        return wire.joined(wire.encode(_decoded(frame, wire.Function, lambda reference: next(values))))

    def _with_fetched(
        self, running: Running, frame: memoryview | bytearray, function_of: Callable[[int], object]
    ) -> tuple[dict[str, Any], list[object]]:
        """Return the arguments, with references in them as they are, and the values of these in their order."""
        references: list[wire.ReferenceData] = []

        def note(reference: wire.ReferenceData) -> wire.ReferenceData:
            references.append(reference)
            return reference

        arguments = _decoded(frame, function_of, note)
        if running.shows:
            running.shown = arguments_shown(arguments)
        return arguments, self._fetched(running, arguments, references) if references else []

    def _fetched(
        self, running: Running, arguments: dict[str, Any], references: list[wire.ReferenceData]
    ) -> list[object]:
        """Return the values of references; each is fetched once, and all of them are as bounded as other arguments."""
        target, fetch = running.call.target, self._fetch
        if fetch is None:
            raise InternalError(f"{target} cannot fetch the value of a reference: its backend keeps none.")
        lazy_names = {parameter.name for parameter in running.method.spec.parameters if "x-lazy" in parameter.schema}
        lazy = {id(value) for name, value in arguments.items() if name in lazy_names}
        keys = [(each.module, each.instance, each.value_id, id(each) in lazy) for each in references]
        if len(set(keys)) > MOST_REFERENCES:
            problem = Problem("arguments", f"refer to {len(set(keys))} kept values; at most {MOST_REFERENCES} can be")
            raise InvalidArguments(target, [problem])
        found: dict[tuple[str, str, str, bool], object] = {}
        size, limit = 0, held_bytes_each()
        with self._lent():
            for key, reference in zip(keys, references, strict=True):
                if key not in found:
                    fetched = fetch(reference, running.call, key[-1])
                    found[key], size = fetched.value, size + fetched.size
                    if size > limit:
                        raise TooLarge("What the references stand for", size, limit, "Give fewer at a time")
        return [found[key] for key in keys]

    def _function_of(self, running: Running, index: int) -> Callable[..., Any]:
        asking = running.asking
        if asking is None:
            asking = running.asking = Asking(running.call.target, partial(self._outbox.post, running.sink.invoke))
            if running.call.cancelled:  # by somebody who has not seen it yet, and will not end it
                asking.end(cancelled=True)
        if running.style in (Style.FUNCTION, Style.GENERATOR):
            return asking.blocking(index, self._lent)
        return asking.awaited(index)

    def _enter(self, running: Running) -> None:
        call = running.call
        if call.wants_log:
            call._output = CallOutput(partial(self._outbox.post, running.sink.log))
        current.set(call)

    @staticmethod
    def _leave(running: Running) -> None:
        if running.asking is not None:
            running.asking.end()
        output, running.call._output = running.call._output, None
        if output is not None:
            output.close()


def check_conditions(running: Running, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse arguments, those that are not given included, that fulfil the conditions of none of the rules.

    Of those that they fulfil, one that has room is enough; one that wants no approval comes first. The call is counted
    under it. Raises `Busy` when none has room.
    """
    signature = inspect.signature(running.function)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            bound.arguments |= bound.arguments.pop(parameter.name)
    why: list[str] = []
    kept: list[Rule] = []
    for rule in running.rules:
        reasons = [reason for each in rule.conditions if (reason := each.why_not(bound.arguments))]
        if reasons:
            why.append(" and ".join(reasons))
        else:
            kept.append(rule)
    if kept:
        running.keeps(kept)
        return
    raise PermissionDenied(
        f"{running.call.target} is shared with {running.call.caller} for some arguments only: {'; or '.join(why)}. Ask "
        f"{running.call.target.partition('/')[0]} to share it for others"
    )


def _go_on(running: Running) -> None:
    """End work for a call that nobody waits for any more."""
    if running.call.cancelled:
        raise Interrupted


def cancelled_meta() -> dict[str, Any]:
    """Return the error of a call that ended because it was cancelled; whoever cancelled it knows better words."""
    return error_to_meta(InternalError("The method ended because it was cancelled at the backend."))


def error_meta(running: Running, error: BaseException) -> dict[str, Any]:
    """Return what the caller is told of an error; what the method raised is logged as an incident."""
    if isinstance(error, LandbridgeError):
        return error_to_meta(error)
    if isinstance(error, _Raised):
        error = error.error
        if isinstance(error, OwnError):
            return error_to_meta(error.error)
    expected = isinstance(error, asyncio.CancelledError | CallCancelled | Interrupted)
    if running.call.cancelled and expected:
        return cancelled_meta()
    incident = secrets.token_hex(4)
    call = running.call
    _log.error(
        "incident %s: %s raised for %s (call %s)", incident, call.target, call.caller, call.call_id, exc_info=error
    )
    builtin = next((cls.__name__ for cls in type(error).__mro__ if RAISED_BUILTINS.get(cls.__name__) is cls), None)
    try:
        # A KeyError shows the repr of its key, as it does in a traceback at home.
        text = str(error)
    except Exception:
        text = ""
    return raised_to_meta(printable(type(error).__name__, 100), text, builtin, incident)


def _decoded(
    frame: memoryview | bytearray,
    function_of: Callable[[int], object],
    reference_of: Callable[[wire.ReferenceData], object],
) -> dict[str, Any]:
    arguments = wire.decode(frame, function_of=function_of, reference_of=reference_of)
    if not isinstance(arguments, dict) or not all(type(name) is str for name in arguments):
        raise Malformed("the arguments of a call are not a dict with names for keys")
    return arguments


@contextmanager
def own_errors() -> Iterator[None]:
    """Have errors of our own told as they are, when we are what is called, and not a method of the module's owner."""
    try:
        yield
    except LandbridgeError as error:
        raise OwnError(error) from None


class OwnError(Exception):
    """Carries an error of our own past what wraps those that methods raise."""

    def __init__(self, error: LandbridgeError) -> None:
        super().__init__(str(error))
        self.error = error


class _Raised(BaseException):
    """Carries what the method itself raised, so that it is not taken for an error with its arguments or result."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _guarded(items: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from items
    except GeneratorExit:
        raise
    except BaseException as error:
        raise _Raised(error) from None


async def _guarded_async(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    try:
        async for item in items:
            yield item
    except GeneratorExit:
        raise
    except BaseException as error:
        raise _Raised(error) from None


def _set_from_elsewhere(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop has been closed
        loop.call_soon_threadsafe(_set, future)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
