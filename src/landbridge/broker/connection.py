"""A connection to a broker: messages in and out, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import random
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import BrokerUnreachable, LandbridgeError, NotConfigured, TooLarge, printable
from ..tls import Tls
from .channel import Channel, Refused
from .events import Closed, Disconnected, Event, Reconnected, denied_by, expiry_of, refuses_credentials
from .messages import Message, Subscription, is_one_word
from .reasons import shown, unreadable, why_closed, why_not_open

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

__all__ = ["Connection"]

_log = logging.getLogger(__name__)
_QUEUED_LIMIT_BYTES = 32 * 1024 * 1024
_FULL_BYTES = 8 * 1024 * 1024
_LAST_WORDS_S = 1.0
_MAX_BACKOFF_S = 2.0
_LASTING_S = 5.0
_REFUSALS_BELIEVED = 3
# A server that answers each reconnect with an error again would be asked for ever.
_MAX_ERRORS = 5
_ERRORS_WITHIN_S = 30.0
_LIKE_THE_SYSTEM = Tls()
# One of our own: the numbers that a user's seed promises must not depend on when a connection broke.
_jitter = random.Random()  # noqa: S311 - it spreads reconnections, and keeps no secret


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
        name: str,
        on_event: Callable[[Event], None],
        reconnect_wait_s: float,
        connect_timeout_s: float,
        tls: Tls,
        urls_now: Callable[[], Sequence[str]] | None,
    ) -> None:
        self._urls, self._urls_now = tuple(urls), urls_now
        self._user_jwt, self._sign, self._name, self._tls = user_jwt, sign, name, tls
        self._on_event = on_event
        self._reconnect_wait_s, self._connect_timeout_s = reconnect_wait_s, connect_timeout_s
        self._loop = asyncio.get_running_loop()
        self._channel: Channel  # the last one, which may be lost
        self._connected = asyncio.Event()
        self._connected_at = 0.0
        self._was_ever_connected = self._ended = False
        self._numbers = itertools.count(1)
        self._subscribed: dict[int, bytes] = {}
        self._callbacks: dict[int, Callable[[Message], None]] = {}
        self._jwt_in_use = ""
        self._refusals = 0
        self._errors: deque[float] = deque(maxlen=_MAX_ERRORS)
        self._failures: dict[str, int] = {}
        self._reconnecting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewal: asyncio.TimerHandle | None = None
        self._on_channel: Callable[[Channel], None] | None = None

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
        tls: Tls = _LIKE_THE_SYSTEM,
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
        tls : Tls
            Whom to trust where the connection is encrypted, and what to show there.
        urls_now : callable, optional
            Asked before each reconnect where the broker is now; nobody is dialled anywhere else. Without it, `urls`
            hold for good.

        Raises
        ------
        BrokerUnreachable
            When none answers, or one refuses the credentials; the text says which and why.
        NotConfigured
            When a file that `tls` names cannot be used.
        """
        if not urls:
            raise NotConfigured("No address of a broker was given. Set LANDBRIDGE_URL, or run: landbridge up")
        connection = cls(
            urls,
            user_jwt=user_jwt,
            sign=sign,
            name=name,
            on_event=on_event,
            reconnect_wait_s=reconnect_wait_s,
            connect_timeout_s=connect_timeout_s,
            tls=tls,
            urls_now=urls_now,
        )
        failures = []
        for url in urls:
            try:
                await connection._dial(url)
            except LandbridgeError:
                raise
            except Exception as error:
                failures.append(f"{shown(url)}: {why_not_open(error, url, connect_timeout_s, tls)}")
            else:
                return connection
        raise BrokerUnreachable(
            f"Cannot connect to the broker. {'; '.join(failures)}. "
            "Check that it runs (on this computer: landbridge up) and what is configured: landbridge doctor"
        )

    async def sibling(self, on_event: Callable[[Event], None]) -> Connection:
        """Return a further connection to the same brokers, with the same credentials; raises as `open` does."""
        return await Connection.open(
            (self._urls_now is not None and self._urls_now()) or self._urls,
            user_jwt=self._user_jwt,
            sign=self._sign,
            name=self._name,
            on_event=on_event,
            reconnect_wait_s=self._reconnect_wait_s,
            tls=self._tls,
            urls_now=self._urls_now,
        )

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
        channel = self._channel
        if size_bytes > channel.max_payload:
            raise TooLarge("The message", size_bytes, channel.max_payload, "Send it in parts")
        if not (is_one_word(subject) and (not reply or is_one_word(reply))):
            raise ValueError(f"not a subject: {printable(repr(subject), 200)}, reply {printable(repr(reply), 200)}")
        if channel.is_lost or self._ended:
            self._check_may_queue(size_bytes)
        # Joined once: formatting 512 KB into bytes takes 20 times as long.
        channel.send(b"".join((f"PUB {subject} {reply} {size_bytes}\r\n".encode(), *parts, b"\r\n")))

    def _check_may_queue(self, size_bytes: int) -> None:
        if self._ended:
            raise BrokerUnreachable("The connection to the broker is closed, so nothing can be sent. Connect again.")
        if self._channel.waiting_bytes + size_bytes > _QUEUED_LIMIT_BYTES:
            raise BrokerUnreachable(
                f"The broker is away, and {_QUEUED_LIMIT_BYTES:,} bytes are already waiting for it. Try again later."
            )

    async def writable(self) -> None:
        """Wait until what was published has gone to the operating system, so that memory stays bounded."""
        await self._channel.writable()

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that whoever can wait should; `writable` tells when to go on."""
        return self._channel.waiting_bytes > _FULL_BYTES

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
        number = next(self._numbers)
        self._callbacks[number] = callback
        command = self._subscribed[number] = f"SUB {subject} {queue} {number}\r\n".encode()
        if not self._channel.is_lost:
            self._channel.send(command)
        return Subscription(subject, lambda: self._stop_asking(number), lambda: self._callbacks.pop(number, None))

    def _stop_asking(self, number: int) -> None:
        """Have the broker send no more to a subscription; what it has sent already is still delivered."""
        if self._subscribed.pop(number, None) is not None and not self._channel.is_lost:
            self._channel.send(_unsubscribing(number))

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
                await self._connected.wait()  # or until it is closed, and then there is nobody to ask
                if self._ended:
                    raise BrokerUnreachable("The connection to the broker is closed. Connect again.")
                return await self._channel.round_trip()
        except TimeoutError as error:
            raise BrokerUnreachable(f"The broker did not answer within {timeout_s:g} s.") from error
        except ConnectionError as error:
            raise BrokerUnreachable(
                f"The connection to the broker was lost ({printable(error, 200)}), and perhaps what was sent last."
            ) from error

    async def close(self) -> None:
        """Close the connection; what was published is still sent if the broker is there. No event tells of it."""
        if not self._ended:
            self._end()
            self._spawn(self._channel.close())
        if self._tasks:
            await asyncio.wait(self._tasks)

    # What becomes of it

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._connected.is_set() and not self._ended

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
        return self._channel.max_payload

    @property
    def server_id(self) -> str:
        """The server connected to, as it calls itself."""
        return self._channel.server_id

    async def _dial(self, url: str) -> None:
        """Connect to one broker, with all subscriptions, and send what waits for it."""
        async with asyncio.timeout(self._connect_timeout_s):
            channel = await Channel.open(self, url, self._introduction, self._tls)
            asked = dict(self._subscribed)
            for command in asked.values():
                channel.send(command)
            try:
                await channel.round_trip()  # only an answer proves that we are connected, and heard of from now on
            except BaseException as error:
                channel.end(error)
                raise
        for number in asked.keys() - self._subscribed.keys():
            channel.send(_unsubscribing(number))
        for number in self._subscribed.keys() - asked.keys():
            channel.send(self._subscribed[number])
        if self._was_ever_connected:
            for command in self._channel.unsent():
                if len(command) - command.index(b"\n") - 3 <= channel.max_payload:
                    channel.send(command)
                else:
                    _log.warning("a message that this broker would not take was not sent")
        self._channel = channel
        self._refusals = 0
        self._connected_at, self._was_ever_connected = self._loop.time(), True
        self._connected.set()
        if self._on_channel is not None:
            self._on_channel(channel)
        self._renew_before_expiry()

    def follow_channels(self, callback: Callable[[Channel], None]) -> None:
        """Have `callback` told the channel that is in use, now and after each reconnect."""
        self._on_channel = callback
        callback(self._channel)

    def _introduction(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return what to tell a broker of us, which says `info` of itself."""
        nonce = info.get("nonce")
        if isinstance(nonce, str) and not nonce.isascii():
            raise OSError("what it gives to be signed is no text")
        try:
            self._jwt_in_use = self._user_jwt()
            signature = self._sign(nonce.encode()) if isinstance(nonce, str) else b""
        except LandbridgeError:
            raise
        except Exception as error:
            raise unreadable(error) from None
        return {
            "name": self._name,
            "lang": "python-landbridge",
            "version": "1",
            "protocol": 1,
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "jwt": self._jwt_in_use,
            "sig": base64.urlsafe_b64encode(signature).rstrip(b"=").decode(),
        }

    def _end(self) -> None:
        self._ended = True
        self._connected.set()  # for whoever waits
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._renewal is not None:
            self._renewal.cancel()

    def _fail(self, reason: str) -> None:
        """End the connection for good, and tell why."""
        if self._ended:
            return
        self._end()
        self._channel.end(ConnectionResetError(reason))
        self._tell(Closed(why_closed(reason, self._jwt_in_use)))

    def _tell(self, event: Event) -> None:
        try:
            self._on_event(event)
        except (Exception, asyncio.CancelledError):
            _log.exception("what listens to the connection's events failed")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Called by the channel

    def message(self, number: int, subject: bytes, reply: bytes, payload: bytes, no_responders: bool) -> None:
        """Give a message to whoever subscribed to it under this number."""
        callback = self._callbacks.get(number)
        if callback is None:
            return
        try:
            message = Message(subject.decode("ascii"), reply.decode("ascii"), payload, no_responders)
        except UnicodeDecodeError:  # the broker passes on any bytes for a subject; none of ours have such
            return
        try:
            callback(message)
        except (Exception, asyncio.CancelledError):  # of a future that was cancelled, say; no task of ours
            _log.exception("a subscription's callback failed")

    def refused(self, channel: Channel, text: str) -> None:
        """Decide what an error of the broker ends: one publish or subscription, a connection to it, or all."""
        denied = denied_by(text)
        if not self._was_ever_connected:
            channel.end(Refused(text))  # which `open` raises
        elif denied is not None:
            self._tell(denied)
        elif refuses_credentials(text) and not self._has_new_credentials():
            self._fail(text)
        else:
            self.broken(channel, text)

    def broken(self, channel: Channel, text: str) -> None:
        """Connect anew after an error, but not again and again."""
        if not self._was_ever_connected:
            channel.end(ConnectionResetError(text))
        elif self._fails_often():
            self._fail(text)
        else:
            _log.warning("the broker or its connection failed, connecting anew: %s", printable(text, 200))
            channel.drop(text)

    def _fails_often(self) -> bool:
        now = self._loop.time()
        often = len(self._errors) == _MAX_ERRORS and now - self._errors[0] < _ERRORS_WITHIN_S
        self._errors.append(now)
        return often

    def lost(self, channel: Channel, reason: str) -> None:
        """Look for a broker, until one is found."""
        if self._ended or not self._was_ever_connected or channel is not self._channel:
            return  # whoever has just opened it notices for himself
        if self._loop.time() - self._connected_at >= _LASTING_S:
            self._failures.clear()  # a broker that lets us in and hangs up at once is asked ever more seldom
        self._connected.clear()
        self._reconnecting = self._spawn(self._reconnect())
        self._tell(Disconnected(printable(reason, 200)))

    # Looking for a broker

    async def _reconnect(self) -> None:
        while True:
            failures = min(self._failures.get(url, 0) for url in self._urls)
            longest = min(self._reconnect_wait_s * 2 ** min(failures, 10), max(_MAX_BACKOFF_S, self._reconnect_wait_s))
            # Spread, so that not all clients of a broker that comes back meet at its door at once.
            await asyncio.sleep(longest * _jitter.uniform(0.5, 1.0))
            try:
                urls = self._urls_now() if self._urls_now is not None else self._urls
                if not urls:
                    continue  # it is nowhere now
                self._urls = tuple(urls)
                url = min(self._urls, key=lambda url: self._failures.get(url, 0))
                self._failures[url] = self._failures.get(url, 0) + 1
                await self._dial(url)
            except Refused as error:
                # Once or twice it may be a broker that has not yet loaded its accounts.
                self._refusals += refuses_credentials(str(error))
                if self._refusals >= _REFUSALS_BELIEVED and not self._has_new_credentials():
                    self._fail(str(error))
            except Exception as error:  # whatever it is, where the broker is and what it says included, it may pass
                _log.debug("could not connect anew, trying again: %s", error)
            else:
                self._tell(Reconnected(self.server_id))
                return

    # Credentials that change or expire: the broker would close the connection, so it is made anew before

    def _has_new_credentials(self) -> bool:
        try:
            return self._user_jwt() != self._jwt_in_use
        except Exception:
            _log.exception("the credentials could not be read")
            return False

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
                self._spawn(self._connect_anew())  # which asks for them, and comes back here
                return
        self._renew_before_expiry()

    async def _connect_anew(self) -> None:
        channel = self._channel
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                # What is sent to us from now on goes to others, or to nobody, and its sender knows: into a connection
                # that is being closed it would be lost.
                for number in self._subscribed:
                    channel.send(_unsubscribing(number))
                await channel.settle()  # so that nothing is lost with the connection
        if not self._ended:  # else it is being closed, once all has left
            channel.drop("connecting anew with other credentials")


def _unsubscribing(number: int) -> bytes:
    return b"UNSUB %d\r\n" % number
