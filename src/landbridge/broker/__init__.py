"""Everything that knows NATS: the connection to a broker, and the embedded nats-server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .accounts import push_account
from .connection import Connection
from .events import Closed, Denied, Disconnected, Event, Reconnected
from .lane import Lane
from .messages import Message, Subscription
from .reading import Reading, Work
from .shared_loop import SharedLoop

if TYPE_CHECKING:
    from .certificates import PINNED
    from .configuration import MAX_PAYLOAD_BYTES, MAX_PENDING_BYTES, ServerConfig, cluster_configuration_text
    from .launcher import Server, find_server, start_server

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MAX_PENDING_BYTES",
    "PINNED",
    "Closed",
    "Connection",
    "Denied",
    "Disconnected",
    "Event",
    "Lane",
    "Message",
    "Reading",
    "Reconnected",
    "Server",
    "ServerConfig",
    "SharedLoop",
    "Subscription",
    "Work",
    "cluster_configuration_text",
    "find_server",
    "push_account",
    "start_server",
]


def __getattr__(name: str) -> Any:
    # Callers connect; only `landbridge up` starts a server, and what that takes costs 15 ms to import.
    if name not in __all__:
        raise AttributeError(name)
    from . import certificates, configuration, launcher

    return getattr(next(each for each in (launcher, configuration, certificates) if hasattr(each, name)), name)
