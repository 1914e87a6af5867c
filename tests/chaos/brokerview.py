"""What the broker has for whom, asked of the broker itself through its system account."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

from landbridge.broker import Connection
from landbridge.hub.keys import NetworkKeys
from landbridge.security import Credentials
from landbridge.security.claims import direct_user_jwt

__all__ = ["subscriptions"]

_ASK = "$SYS.REQ.SERVER.PING.CONNZ"
_OWN_NAME = "chaos"


async def subscriptions(keys_dir: Path, url: str) -> dict[str, int]:
    """Return the number of subscriptions of all connections, by what the connections are called."""
    keys = NetworkKeys.load(keys_dir)
    token = direct_user_jwt(
        keys.system_user.public, keys.system, name=_OWN_NAME, publish=[_ASK], subscribe=["_INBOX.>"],
        now=int(time.time()),
    )  # fmt: skip
    credentials = Credentials(token, keys.system_user.seed)
    connection = await Connection.open(
        [url], user_jwt=lambda: credentials.jwt, sign=credentials.sign, name=_OWN_NAME, on_event=lambda event: None
    )
    try:
        inbox = f"_INBOX.{secrets.token_hex(16)}"
        answer = await connection.request(_ASK, b'{"limit": 1000}', inbox=inbox, timeout_s=5.0)
    finally:
        await connection.close()
    found: dict[str, int] = {}
    for each in json.loads(answer.payload)["data"]["connections"]:
        name = each.get("name", "")
        if name != _OWN_NAME:
            found[name] = found.get(name, 0) + each["subscriptions"]
    return found
