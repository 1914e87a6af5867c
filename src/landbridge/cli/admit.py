"""``landbridge admit``: the issuer of an institute, which lets invited people in and renews credentials."""

from __future__ import annotations

import asyncio
import logging

from ..backend.service import Backend
from ..hub.access import institute_here, serving_access
from ..hub.backends import Instances
from ..hub.issuer import issuer
from ..hub.serve import serve
from ..names import ISSUER_MODULE, Address
from .console import say, show, show_json
from .logs import LogFormat, log_to_stderr
from .signals import stop_on_signals

__all__ = ["admit"]

_GRACE_S = 5.0


def admit(*, profile: str | None = None, log_format: LogFormat = "text", json: bool = False) -> None:
    """Let those whom your institute has invited in, and renew credentials, until Ctrl-C.

    People need it when they join, and once a day; for six days they can do without. What it does is in its audit log:
    landbridge audit INSTITUTE/id

    Parameters
    ----------
    profile
        Which institute, if several are run from this computer.
    log_format
        Write the log for people, or as one JSON object a line.
    json
        Print one line of JSON when it runs.
    """
    ours = institute_here(profile)
    address = Address(ours.name, ISSUER_MODULE)
    log_to_stderr(logging.INFO, log_format, {"module": str(address)})
    told = say if log_format == "text" else logging.getLogger(__name__).info

    def ready(_backend: Backend) -> None:
        if json:
            show_json({"event": "ready", "institute": ours.name})
        else:
            show(f"Those whom {ours.name} has invited can join now. Ctrl-C ends it.")

    async def run() -> None:
        instances = Instances(str(address))
        instance = instances.claim()
        try:
            await serve(
                address, issuer(ours, told), serving_access(ours, ISSUER_MODULE),
                network_owner=False, instance=instance, workers=1, grace_s=_GRACE_S, ready=ready,
                stop=stop_on_signals(), lost=lambda text: say(f"{address}: {text}"),
            )  # fmt: skip
        finally:
            instances.give_back(instance)

    asyncio.run(run())
