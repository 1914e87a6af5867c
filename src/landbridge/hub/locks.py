"""Files that several processes and tasks change: one after the other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..errors import NotConfigured
from ..settings import try_lock

__all__ = ["alone_with"]

_TIMEOUT_S = 20.0
_LOOK_S = 0.01


@asynccontextmanager
async def alone_with(file: Path) -> AsyncIterator[None]:
    """Keep other processes and tasks that ask for the same from changing a file while the context is open.

    Raises
    ------
    NotConfigured
        When somebody else holds it for 20 s.
    """
    handle = os.open(file.with_name(f"{file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = asyncio.get_running_loop().time() + _TIMEOUT_S
        # Asked for again and again instead of waited for: the holder may be another task of this very loop.
        while not try_lock(handle):
            if asyncio.get_running_loop().time() > deadline:
                raise NotConfigured(
                    f"{file} has been in use by another process for {_TIMEOUT_S:g} s. "
                    "See whether a landbridge command hangs, end it, and try again."
                )
            await asyncio.sleep(_LOOK_S)
        yield
    finally:
        os.close(handle)  # gives the lock back, as the end of the process would
