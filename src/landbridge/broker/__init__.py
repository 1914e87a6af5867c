"""Everything that knows NATS: the connection to a broker, and the embedded nats-server."""

from .accounts import push_account
from .configuration import MAX_PAYLOAD_BYTES, MAX_PENDING_BYTES, ServerConfig
from .connection import Connection, Message, Subscription
from .events import Closed, Denied, Disconnected, Event, Reconnected
from .launcher import Server, find_server, start_server

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MAX_PENDING_BYTES",
    "Closed",
    "Connection",
    "Denied",
    "Disconnected",
    "Event",
    "Message",
    "Reconnected",
    "Server",
    "ServerConfig",
    "Subscription",
    "find_server",
    "push_account",
    "start_server",
]
