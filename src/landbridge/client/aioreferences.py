"""Results that stay where they were made, for asyncio."""

from __future__ import annotations

import asyncio
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import wire
from ..errors import Malformed
from ..names import parse_address
from .lookup import call
from .objects import Handle
from .references import GRANT_KEPT_S, clean

if TYPE_CHECKING:
    from .aio import AsyncNetwork
    from .link import Link

__all__ = ["AsyncReference"]


class AsyncReference:
    """A result that stays where it was made, as `landbridge.Reference` is; its methods are coroutines.

    Attributes
    ----------
    target : str
        What made it: ``institute/module.method``.
    summary : dict
        What its owner says of it.
    """

    def __init__(self, network: AsyncNetwork, data: wire.ReferenceData) -> None:
        self._network = network
        self._data = data
        self.target = f"{data.module}.{data.member}"
        self.summary: dict[str, Any] = clean(data.summary)
        self._handle = Handle(parse_address(self.target), data.instance, data.value_id, "ref")
        self._grants: dict[str, tuple[float, str]] = {}
        link, lease = network._link_now, self._handle.lease()
        link.leases.keep(lease)
        self._finalizer = weakref.finalize(self._handle, _let_go, asyncio.get_running_loop(), link, lease)
        self._finalizer.atexit = False

    async def get(self) -> Any:
        """Return the value; it travels now."""
        return await self._ask("get")

    async def info(self) -> dict[str, Any]:
        """Ask how the value is kept now, as `landbridge.Reference.info` does."""
        said = await self._ask("info")
        if not isinstance(said, dict):
            raise Malformed(f"{self.target} says of a kept value what is no dict")
        return clean(said)

    async def pin(self, days: float = 30.0) -> None:
        """Have the value kept for some days in any case; 0 ends that."""
        await self._ask("pin", days=days)

    def release(self) -> None:
        """Let go of the value: its owner keeps it for us no longer."""
        self._finalizer()

    async def __aenter__(self) -> AsyncReference:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    async def _ask(self, verb: str, **arguments: object) -> object:
        self._network._check_loop()
        where = self._handle.where._replace(member=f"{self._data.member}.{verb}")
        return await call(self._network._link_now, where, arguments, handle=self._handle)

    def _granted(self, institute: str) -> wire.ReferenceData | None:
        """Return what travels to a method at an institute; None when its owner has to be asked for leave first."""
        until, grant = self._grants.get(institute, (0.0, ""))
        return replace(self._data, grant=grant, summary={}) if time.monotonic() < until else None

    async def _ask_grant(self, institute: str) -> None:
        given = await self._ask("grant", institute=institute)
        if not isinstance(given, str):
            raise Malformed(f"{self.target} gives a grant that is no text")
        self._grants[institute] = time.monotonic() + GRANT_KEPT_S, given

    def __repr__(self) -> str:
        return f"<landbridge reference at {self.target}: {self.summary.get('type', 'value')} (async)>"


def _let_go(loop: asyncio.AbstractEventLoop, link: Link, lease: Handle) -> None:
    with suppress(RuntimeError):  # the loop has been closed, and the connection with it
        loop.call_soon_threadsafe(link.leases.release, lease)
