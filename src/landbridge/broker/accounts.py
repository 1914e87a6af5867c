"""Accounts made known to a running broker."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from ..errors import BrokerFailed, printable

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["push_account"]


async def push_account(connection: Connection, account_jwt: str, *, timeout_s: float = 5.0) -> None:
    """Make an account, or a new state of it, known to the broker; it stays known after a restart.

    The broker takes any well-formed claims here, and looks at who signed them when somebody connects.

    Parameters
    ----------
    connection : Connection
        Of a user of the system account.
    account_jwt : str
        The account's claims, signed by the operator.
    timeout_s : float
        How long to wait for the broker's answer.

    Raises
    ------
    BrokerFailed
        When the broker does not accept it.
    BrokerUnreachable
        When it does not answer.
    """
    answer = await connection.request(
        "$SYS.REQ.CLAIMS.UPDATE",
        account_jwt.encode(),
        inbox=f"_INBOX.{secrets.token_hex(16)}",
        timeout_s=timeout_s,
    )
    if answer.no_responders:
        raise BrokerFailed(
            "The broker takes no accounts: it was not started with a directory of accounts (resolver full)."
        )
    try:
        content = json.loads(answer.payload)
        error, code = content.get("error"), (content.get("data") or {}).get("code")
    except (ValueError, AttributeError):
        error, code = {"description": "its answer cannot be understood"}, None
    if error or code != 200:
        why = error.get("description") if isinstance(error, dict) else error
        raise BrokerFailed(
            f"The broker did not accept the account: {printable(why or f'code {code}', 200)}. "
            "Its claims must be those of an account, signed by the operator the broker was started with."
        )
