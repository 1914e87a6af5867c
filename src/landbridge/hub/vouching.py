"""How a module proves that it is of its institute: the institute's word for its key, asked for anew each day."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from ..client.access import Access
from ..client.loop import io_loop
from ..errors import LandbridgeError, PermissionDenied
from ..names import Address
from ..security import attest_module, check_module_key, description_proof
from ..settings import private_read, private_write
from .access import chosen_profile
from .backends import module_folder, module_key
from .institutes import DAY_S, institute_of
from .issuer import ATTESTED_S
from .joining import asked_of_issuer

__all__ = ["Vouched"]

_log = logging.getLogger(__name__)
_AGAIN_S, _LOOK_S = 60.0, 3600.0
_FIRST_S = 5.0


class Vouched:
    """The word of an institute for a module that this computer serves.

    Parameters
    ----------
    address : Address
        The module.
    access : Access
        As whom it is served.
    """

    def __init__(self, address: Address, access: Access) -> None:
        self._address, self._access = address, access
        self._key = module_key(str(address))
        self._file = module_folder(str(address)) / "word"
        self._word, self._until = "", 0
        with suppress(LandbridgeError):
            if self._file.exists():
                self._take(private_read(self._file).decode("utf-8", "replace"))

    def proves(self, said: str, to: str, nonce: str) -> dict[str, str] | None:
        """Return the proof for what the module says of itself; None while the institute does not vouch for it."""
        if time.time() >= self._until:
            return None
        return description_proof(said, to=to, nonce=nonce, word=self._word, key=self._key)

    async def keep(self) -> None:
        """Have the word renewed for as long as the module is served."""
        while True:
            is_good = await self.ask()
            await asyncio.sleep(_LOOK_S if is_good else _AGAIN_S)

    async def ask_first(self) -> None:
        """Ask, and wait some seconds for it: callers who know the institute want to have a proof from the start."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ask(), _FIRST_S)

    async def ask(self) -> bool:
        """Have the institute vouch for the module if it is time; False when it could not be asked now."""
        if self._until - time.time() > ATTESTED_S - DAY_S:
            return True
        try:
            word = await self._asked()
            self._take(word if isinstance(word, str) else "")
        except PermissionDenied as error:
            _log.warning("%s does not vouch for %s: %s", self._address.institute, self._address, error)
            return False
        except LandbridgeError as error:
            if time.time() >= self._until:
                _log.warning(
                    "nobody vouches for %s now, so callers who know %s refuse it: %s",
                    self._address, self._address.institute, error,
                )  # fmt: skip
            return False
        await asyncio.to_thread(private_write, self._file, self._word)
        return True

    async def _asked(self) -> object:
        where, key = self._address, self._key.public
        profile = chosen_profile(self._access.profile)
        ours = institute_of(profile) if profile is not None and "/" not in profile else None
        if ours is not None and ours.name == where.institute:
            until = int(time.time()) + ATTESTED_S
            return attest_module(ours.network, ours.name, where.module, key, ours.root, until=until)
        # In the loop of callers, so that an issuer that is frozen does not keep this process from ending.
        asking = asked_of_issuer(self._access, "attest", {"module": where.module, "key": key})
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, io_loop()))

    def _take(self, text: str) -> None:
        where = self._address
        word = check_module_key(text, self._access.network, where.institute, where.module, now=time.time())
        if word.key != self._key.public:
            raise PermissionDenied("it is for another key")
        self._word, self._until = text, word.until
