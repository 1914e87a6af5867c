"""What the embedded nats-server is told: a value, and the pure function that writes it as configuration text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BrokerFailed
from .certificates import CERTIFICATE, CLIENT_CA, KEY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MAX_PENDING_BYTES",
    "MINIMUM_VERSION",
    "ServerConfig",
    "cluster_configuration_text",
    "configuration_text",
]

MINIMUM_VERSION = (2, 12, 6)
"""Before it, a stranger could crash the server, and forge who a request came from (CVE-2026-33223, CVE-2026-27889)."""

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""Longest message the embedded broker takes; above this nats-server itself advises against it."""

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Bytes the broker keeps for a slow connection before it cuts it off."""

_PUBLIC_KEY = re.compile(r"[A-Z2-7]{56}")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class ServerConfig:
    """What one embedded broker is started with.

    Attributes
    ----------
    operator_jwt : str
        Self-signed claims of the operator whose accounts this broker serves.
    system_account : str
        Public key of the account whose users may push other accounts.
    accounts : Mapping of str to str
        JWT by public key of the accounts known from the start. One that was pushed later and is newer stays.
    directory : Path
        Where the broker keeps everything: streams, accounts, configuration, log.
    host : str
        Address to listen at.
    port, websocket_port : int
        Fixed port, or -1 for a free one.
    allowed_origins : tuple of str
        Web origins whose pages may connect; if empty, only pages of the websocket port's own origin.
    tls_certificate, tls_key : Path, optional
        Certificate, with those that signed it, and its key (PEM): both ports are encrypted with them.
    tls_client_ca : Path, optional
        Authorities (PEM): who connects must show a certificate of one of them.
    """

    operator_jwt: str
    system_account: str
    accounts: Mapping[str, str]
    directory: Path
    host: str = "127.0.0.1"
    port: int = -1
    websocket_port: int = -1
    allowed_origins: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether both ports are encrypted."""
        return self.tls_certificate is not None and self.tls_key is not None


def configuration_text(config: ServerConfig, server_name: str) -> str:
    r"""Return the configuration of nats-server for `config`.

    It has no paths but relative ones: the server runs in `config.directory`.

    Raises
    ------
    BrokerFailed
        When a key or claims do not look like such; their text is not shown.
    """
    encryption = ""
    if config.is_encrypted:
        encryption = _encryption(CERTIFICATE, KEY, CLIENT_CA if config.tls_client_ca else "")
    return f"""\
server_name: {_quoted(server_name)}
host: {_quoted(config.host)}
port: {int(config.port)}
ports_file_dir: "ports"
{encryption}
log_file: "server.log"
logfile_size_limit: 10MB
logfile_max_num: 3

{_LIMITS}
{_accounts(config, "accounts")}
jetstream {{
  store_dir: "."
}}
{_websocket(config, encryption or "no_tls: true")}"""


def cluster_configuration_text(config: ServerConfig) -> str:
    """Return the configuration for nats-servers that somebody runs elsewhere, one or a cluster, for the same network.

    They read the files that `config` names where they are, and encrypt nothing if it names none. What is theirs to
    decide, such as names and places, is told by comments. There is no secret in it.

    Raises
    ------
    BrokerFailed
        As `configuration_text` does.
    """
    needed = ".".join(map(str, MINIMUM_VERSION))
    how = "--broker tls" if config.is_encrypted else "--unencrypted --broker nats"
    files = (config.tls_certificate, config.tls_key, config.tls_client_ca)
    encryption = _encryption(*(file.as_posix() if file else "" for file in files))
    return f"""\
# For nats-server {needed} or newer: nats-server -c THIS-FILE. Then, where the keys of the network are:
#   landbridge up {how}://HOST:{int(config.port)}
# Each server of a cluster has the same, and a name and a folder of its own.

server_name: "hub-1"
host: {_quoted(config.host)}
port: {int(config.port)}
{encryption or "# Nothing is encrypted here: a proxy must do it, or whoever is on the way reads along."}

{_LIMITS}
{_accounts(config, "/var/lib/nats/accounts")}
jetstream {{
  store_dir: "/var/lib/nats/jetstream"
}}
{_websocket(config, encryption or "no_tls: true")}
# cluster {{ name: "landbridge", listen: "0.0.0.0:6222", routes: ["nats://hub-2:6222", "nats://hub-3:6222"] }}
"""


_LIMITS = f"""\
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {MAX_PENDING_BYTES}
write_deadline: "10s"
ping_interval: "30s"
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
"""


def _accounts(config: ServerConfig, folder: str) -> str:
    _check(_PUBLIC_KEY, config.system_account, "the public key of the system account")
    _check(_JWT, config.operator_jwt, "the claims of the operator")
    for key, jwt in config.accounts.items():
        _check(_PUBLIC_KEY, key, "the public key of an account")
        _check(_JWT, jwt, f"the claims of account {key}")
    preloaded = "".join(f"  {_quoted(key)}: {_quoted(jwt)}\n" for key, jwt in config.accounts.items())
    return f"""\
operator: {_quoted(config.operator_jwt)}
system_account: {_quoted(config.system_account)}
resolver {{
  type: full
  dir: {_quoted(folder)}
  allow_delete: false
  interval: "2m"
  timeout: "200ms"
}}
resolver_preload {{
{preloaded}}}
"""


def _websocket(config: ServerConfig, encryption: str) -> str:
    if config.allowed_origins:
        origins = "allowed_origins: [" + ", ".join(map(_quoted, config.allowed_origins)) + "]"
    else:
        origins = "same_origin: true"
    return f"""\
websocket {{
  host: {_quoted(config.host)}
  port: {int(config.websocket_port)}
  {encryption}
  {origins}
}}
"""


def _encryption(certificate: str, key: str, client_ca: str) -> str:
    if not (certificate and key):
        return ""
    # On a slow line the usual 2 s are short for a handshake.
    files = f"tls {{ timeout: 5, cert_file: {_quoted(certificate)}, key_file: {_quoted(key)}"
    return files + (f", ca_file: {_quoted(client_ca)}, verify: true }}" if client_ca else " }")


def _check(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise BrokerFailed(
            f"The embedded broker was not started: {what} is not in the form nats-server knows. "
            "The files of the local network may be damaged: move its folder away and run landbridge up again."
        )


def _quoted(text: str) -> str:
    r"""Return `text` as a string of the configuration language, in which ``\xHH`` stands for any byte."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if " " <= character <= "~":
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
