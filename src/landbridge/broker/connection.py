"""A connection to a broker: messages in and out, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import time
from typing import TYPE_CHECKING, TypeVar

from ..errors import BrokerUnreachable, LandbridgeError, NotConfigured, TooLarge, printable
from .events import Closed, Disconnected, Event, Reconnected, expiry_of, refuses_credentials
from .messages import Message, Subscription, is_one_word
from .reasons import shown, unreadable, why_closed, why_not_open

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from .events import Denied
    from .natsclient import NatsClient

__all__ = ["Connection"]

_log = logging.getLogger(__name__)
_PING_INTERVAL_S = 5.0
_QUEUED_LIMIT_BYTES = 32 * 1024 * 1024
_FULL_BYTES = 8 * 1024 * 1024
_CLOSE_TIMEOUT_S = 2.0
_MAX_BACKOFF_S = 2.0
_REFUSALS_BELIEVED = 3
# One of our own: the numbers that a user's seed promises must not depend on when a connection broke.
_jitter = random.Random()  # noqa: S311 - it spreads reconnections, and keeps no secret
_T = TypeVar("_T")


class Connection:
    """A connection to one of several brokers of a network, kept up until it is closed or its credentials are refused.

    It belongs to the running event loop: all methods are called there, and callbacks run there.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        user_jwt: Callable[[], str],
        sign: Callable[[bytes], bytes],
        on_event: Callable[[Event], None],
        reconnect_wait_s: float,
    ) -> None:
        self._urls = tuple(urls)
        self._user_jwt, self._sign, self._on_event = user_jwt, sign, on_event
        self._reconnect_wait_s = reconnect_wait_s
        self._name = ""
        self._tls: ssl.SSLContext | None = None
        self._loop = asyncio.get_running_loop()
        self._client: NatsClient
        self._jwt_in_use = ""
        self._credential_error: LandbridgeError | None = None
        self._opening: asyncio.Timeout | None = None
        self._opening_failure: Exception | None = None
        self._opener: asyncio.Task[Any] | None = None
        self._refusals = 0
        self._connected_at = 0.0
        self._was_connected = False
        self._was_ever_connected = False
        self._ended = False
        self._urls_now: Callable[[], Sequence[str]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewal: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        urls: Sequence[str],
        *,
        user_jwt: Callable[[], str],
        sign: Callable[[bytes], bytes],
        name: str,
        on_event: Callable[[Event], None],
        reconnect_wait_s: float = 0.1,
        connect_timeout_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
        urls_now: Callable[[], Sequence[str]] | None = None,
    ) -> Connection:
        """Return a connection to the first of `urls` that answers.

        Parameters
        ----------
        urls : sequence of str
            Addresses of brokers of the same network, in the order in which they are tried.
        user_jwt : callable
            Returns the credentials of now; asked again at each reconnect and before they expire.
        sign : callable
            Returns the raw signature of the bytes it is given, by the key of these credentials.
        name : str
            What the broker shows of this connection to its operator.
        on_event : callable
            Is told of losses and refusals; a plain function.
        reconnect_wait_s : float
            About how long to wait before the first reconnect; later ones wait longer, up to 2 s.
        connect_timeout_s : float
            How long each address may take.
        tls : SSLContext, optional
            Certificates to trust, when not those of the system.
        urls_now : callable, optional
            Asked before each reconnect where the broker is now; nobody is dialled anywhere else. Without it, `urls`
            hold for good.

        Raises
        ------
        BrokerUnreachable
            When none answers, or one refuses the credentials; the text says which and why.
        """
        if not urls:
            raise NotConfigured("No address of a broker was given. Set LANDBRIDGE_URL, or run: landbridge up")
        connection = cls(urls, user_jwt=user_jwt, sign=sign, on_event=on_event, reconnect_wait_s=reconnect_wait_s)
        connection._urls_now, connection._name, connection._tls = urls_now, name, tls
        failures = []
        for url in urls:
            try:
                await connection._open_one(url, name, connect_timeout_s, tls)
            except _FirstAttempt as failure:
                failures.append(f"{shown(url)}: {why_not_open(failure.cause, url, connect_timeout_s)}")
            else:
                connection._renew_before_expiry()
                return connection
        raise BrokerUnreachable(
            f"Cannot connect to the broker. {'; '.join(failures)}. "
            "Check that it runs (on this computer: landbridge up) and what is configured: landbridge doctor"
        )

    async def sibling(self, on_event: Callable[[Event], None]) -> Connection:
        """Return a further connection to the same brokers, with the same credentials; raises as `open` does."""
        urls = self._urls_now() if self._urls_now is not None else self._urls
        return await Connection.open(
            urls or self._urls,
            user_jwt=self._user_jwt,
            sign=self._sign,
            name=self._name,
            on_event=on_event,
            reconnect_wait_s=self._reconnect_wait_s,
            tls=self._tls,
            urls_now=self._urls_now,
        )

    async def _open_one(self, url: str, name: str, timeout_s: float, tls: ssl.SSLContext | None) -> None:
        from .natsclient import NatsClient  # nats-py takes 0.13 s to import

        client = self._client = NatsClient(self, Message)
        self._credential_error = self._opening_failure = None
        self._opener = asyncio.current_task()
        try:
            async with asyncio.timeout(timeout_s) as self._opening:
                # nats-py annotates times as int, and takes fractions.
                times: dict[str, Any] = {
                    "connect_timeout": timeout_s,
                    "reconnect_time_wait": self._reconnect_wait_s,
                    "ping_interval": _PING_INTERVAL_S,
                }
                await client.connect(
                    [url],
                    name=name,
                    tls=tls,
                    error_cb=self._first_attempt_failed,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                    closed_cb=self._closed,
                    reconnect_to_server_handler=self._next_server,
                    user_jwt_cb=self._current_jwt,
                    signature_cb=self._signature,
                    max_reconnect_attempts=-1,
                    dont_randomize=True,
                    pending_size=_QUEUED_LIMIT_BYTES,
                    **times,
                )
                # `connect` may have returned without being connected; and only an answer proves that we are.
                if client.is_connected:
                    client.connected.set()
                await client.connected.wait()
                await client.round_trip()
        except BaseException as error:
            await self._shut(client)
            if self._credential_error is not None:
                raise self._credential_error from None
            if isinstance(error, _FirstAttempt) or not isinstance(error, Exception):
                raise
            raise _FirstAttempt(self._opening_failure or error) from error
        finally:
            self._opening = None
        client._error_cb = self._note_error
        client.set_server_pool([url, *(other for other in self._urls if other != url)])
        self._connected_at, self._was_connected, self._was_ever_connected = self._loop.time(), True, True

    # Messages

    def publish(self, subject: str, *parts: bytes | memoryview, reply: str = "") -> None:
        """Send one message, made of `parts`; while the broker is away it is kept, and sent when it is back.

        A plain function: it returns before the bytes have left. Who sends much awaits `writable` in between.

        Raises
        ------
        TooLarge
            When it is longer than the broker takes.
        BrokerUnreachable
            When the connection is closed, or away and too much is waiting.
        """
        size_bytes = 0
        for part in parts:
            size_bytes += len(part) if type(part) is bytes else memoryview(part).nbytes
        client = self._client
        if size_bytes > client._max_payload:
            raise TooLarge("The message", size_bytes, client._max_payload, "Send it in parts")
        if not (is_one_word(subject) and (not reply or is_one_word(reply))):
            raise ValueError(f"not a subject: {printable(repr(subject), 200)}, reply {printable(repr(reply), 200)}")
        if not client.connected.is_set():
            self._check_may_queue(size_bytes)
        client.send(subject, reply, parts, size_bytes)

    def _check_may_queue(self, size_bytes: int) -> None:
        if self._ended or self._client.is_closed:
            raise BrokerUnreachable("The connection to the broker is closed, so nothing can be sent. Connect again.")
        if self._client.pending_data_size + size_bytes > _QUEUED_LIMIT_BYTES:
            raise BrokerUnreachable(
                f"The broker is away, and {_QUEUED_LIMIT_BYTES:,} bytes are already waiting for it. Try again later."
            )

    async def writable(self) -> None:
        """Wait until what was published has gone to the operating system, so that memory stays bounded."""
        await self._client.write_all()

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that whoever can wait should; `writable` tells when to go on."""
        return self._client._pending_data_size > _FULL_BYTES

    async def subscribe(self, subject: str, callback: Callable[[Message], None], *, queue: str = "") -> Subscription:
        """Have `callback` called with each message to `subject`, one after the other.

        Parameters
        ----------
        subject : str
            May have wildcards: ``*`` for one token, ``>`` at the end for several.
        callback : callable
            A plain function that returns quickly. An exception in it is logged and ends nothing.
        queue : str
            Of all subscribers with the same queue name, one gets the message.

        Raises
        ------
        BrokerUnreachable
            When the connection is closed. That the broker refuses is told later, by a `Denied` event.
        """
        if not (is_one_word(subject) and (not queue or is_one_word(queue))):
            raise ValueError(f"not a subject: {printable(repr(subject), 200)}, queue {printable(repr(queue), 200)}")
        if self._ended:
            raise BrokerUnreachable("The connection to the broker is closed. Connect again.")
        self._client.write_queued()
        return Subscription(self._client, await self._client.listen(subject, queue, callback), subject)

    async def request(self, subject: str, payload: bytes, *, inbox: str, timeout_s: float) -> Message:
        """Publish with reply subject `inbox` and return the first message that comes there.

        Raises
        ------
        BrokerUnreachable
            When nothing comes in time.
        """
        answer: asyncio.Future[Message] = self._loop.create_future()

        def take(message: Message) -> None:
            if not answer.done():
                answer.set_result(message)

        subscription = await self.subscribe(inbox, take)
        try:
            self.publish(subject, payload, reply=inbox)
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise BrokerUnreachable(f"Nobody answered at {printable(subject, 200)} within {timeout_s:g} s.") from None
        finally:
            await subscription.unsubscribe()

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until the broker has taken everything sent so far, and everything it sent before that is delivered.

        Raises
        ------
        BrokerUnreachable
            When it has not after `timeout_s`, or the connection is lost meanwhile.
        """
        await self.rtt(timeout_s)

    async def rtt(self, timeout_s: float = 5.0) -> float:
        """Return the time to the broker and back, in seconds; raises as `flush` does."""
        if self._ended:
            raise BrokerUnreachable("The connection to the broker is closed. Connect again.")
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.connected.wait()
                return await self._client.round_trip()
        except TimeoutError as error:
            raise BrokerUnreachable(f"The broker did not answer within {timeout_s:g} s.") from error
        except ConnectionError as error:
            raise BrokerUnreachable(
                f"The connection to the broker was lost ({printable(error, 200)}), and perhaps what was sent last."
            ) from error

    async def close(self) -> None:
        """Close the connection; what was published is still sent if the broker is there. No event tells of it."""
        if not self._ended:
            self._client.write_queued()
            self._end()
            self._spawn(self._shut(self._client))
        if self._tasks:
            await asyncio.wait(self._tasks)

    # What becomes of it

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._client.connected.is_set()

    @property
    def has_ended(self) -> bool:
        """Whether it is closed for good."""
        return self._ended

    @property
    def connected_at(self) -> float:
        """When it was last connected, in the loop's time."""
        return self._connected_at

    @property
    def max_payload(self) -> int:
        """Longest message the broker takes, in bytes."""
        return int(self._client.max_payload)

    @property
    def server_id(self) -> str:
        """The server connected to, as it calls itself."""
        return str(self._client._server_info.get("server_id", ""))

    def denied(self, refusal: Denied) -> None:
        """Pass on that the broker refused a publish or subscription."""
        self._tell(refusal)

    def new_credentials(self) -> bool:
        """Return whether other credentials are there than those in use."""
        try:
            return self._user_jwt() != self._jwt_in_use
        except Exception:
            _log.exception("the credentials could not be read")
            return False

    def check_address(self, url: str) -> None:
        """Raise when the broker is not at `url` now; where it is, is what the next attempt tries."""
        if self._urls_now is None or not self._was_ever_connected:
            return
        now = [each.rstrip("/") for each in self._urls_now()]
        if url.rstrip("/") in now:
            return
        if now:
            self._client.set_server_pool(now)
        raise BrokerUnreachable("The broker is not there now.")

    def failed(self, reason: str) -> None:
        """End the connection for good, and tell why."""
        if self._opening is not None:
            self._give_up_opening(BrokerUnreachable(reason))
            return
        if self._ended:
            return
        self._end()
        self._tell(Closed(why_closed(reason, self._jwt_in_use)))
        self._spawn(self._shut(self._client))

    def _end(self) -> None:
        self._ended = True
        self._client.lose("the connection is closed")
        if self._renewal is not None:
            self._renewal.cancel()

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:
            _log.exception("what listens to the connection's events failed")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shut(self, client: NatsClient) -> None:
        client.lose("the connection is closed")
        if client._flush_queue is None:  # `connect` refused its arguments
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await client._close(client.CLOSED, do_cbs=False)
        except (OSError, TimeoutError):
            # Somebody who does not read must not keep us: what was not written by now is dropped.
            if client._transport is not None:
                client._transport.close()
                await client._transport.wait_closed()

    # Called by nats-py

    def _current_jwt(self) -> bytes:
        self._jwt_in_use = self._ask_for_credentials(self._user_jwt)
        return self._jwt_in_use.encode()

    def _signature(self, nonce: str) -> bytes:
        return base64.b64encode(self._ask_for_credentials(lambda: self._sign(nonce.encode())))

    def _ask_for_credentials(self, ask: Callable[[], _T]) -> _T:
        from nats import errors as nats_errors

        try:
            return ask()
        except Exception as error:
            # Anything but its own errors would end nats-py's reconnecting without a word.
            self._credential_error = error if isinstance(error, LandbridgeError) else unreadable(error)
            raise nats_errors.Error("the credentials could not be read") from error

    def _next_server(self, servers: list[Any], info: dict[str, Any]) -> tuple[Any, float]:
        """Choose whom to try next, and how long to wait before: the one that failed least, longer each time."""
        server = min(servers, key=lambda server: server.reconnects)
        failures = min(server.reconnects, 10)
        longest = min(self._reconnect_wait_s * 2**failures, max(_MAX_BACKOFF_S, self._reconnect_wait_s))
        # Spread, so that not all clients of a broker that comes back meet at its door at once.
        return server, longest * _jitter.uniform(0.5, 1.0)

    async def _first_attempt_failed(self, error: Exception) -> None:
        # nats-py would try again and again; the first connection fails at once, with its reason.
        if asyncio.current_task() is self._opener:
            raise _FirstAttempt(error)
        self._give_up_opening(error)

    def _give_up_opening(self, error: Exception) -> None:
        self._opening_failure = self._opening_failure or error
        if self._opening is not None:
            self._opening.reschedule(self._loop.time())

    async def _note_error(self, error: Exception) -> None:
        text = str(error)
        _log.debug("connection: %s", text)
        if refuses_credentials(text) and not self._ended:
            # Refused at a reconnect. Once or twice it may be a broker that has not yet loaded its accounts.
            self._refusals += 1
            if self._refusals >= _REFUSALS_BELIEVED and not self.new_credentials():
                self.failed(text)

    async def _disconnected(self) -> None:
        self._client.connected.clear()
        if self._was_connected and not self._ended:
            self._was_connected = False
            self._tell(Disconnected(printable(self._client.lost_because.removeprefix("nats: "), 200)))

    async def _reconnected(self) -> None:
        if self._ended:
            return
        self._refusals = 0
        self._connected_at, self._was_connected = self._loop.time(), True
        self._client.connected.set()
        self._client.write_queued()
        self._renew_before_expiry()
        self._tell(Reconnected(self.server_id))

    async def _closed(self) -> None:
        self.failed(str(self._client.last_error or "the connection was closed"))

    # Credentials that expire: the broker would close the connection, so it is made anew before

    def _renew_before_expiry(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        expiry = expiry_of(self._jwt_in_use)
        if expiry is None or self._ended:
            return
        # At half of what is left, then half of that: early enough for a life of seconds as of months. Hourly at least,
        # because the clock may be set.
        left_s = expiry - time.time()
        if left_s > 0:
            self._renewal = self._loop.call_later(min(max(left_s / 2, 0.05), 3600), self._renew)

    def _renew(self) -> None:
        try:
            expiry, expiry_in_use = expiry_of(self._user_jwt()), expiry_of(self._jwt_in_use)
        except Exception:
            _log.exception("the credentials could not be read for renewal")
        else:
            if expiry is None or (expiry_in_use is not None and expiry > expiry_in_use):
                self._spawn(self._client.force_reconnect())  # which asks for them, and comes back here
                return
        self._renew_before_expiry()


class _FirstAttempt(Exception):
    """Ends nats-py's first connecting, which would go on for ever; `cause` is what happened."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(str(cause))
