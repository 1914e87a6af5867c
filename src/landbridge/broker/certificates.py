"""The certificate of the embedded broker, taken over from where its owner keeps it: at the start and when renewed.

The broker reads copies in its own folder. So it never sees a certificate whose key has not been renewed yet, and starts
again after a crash with what it had. The copies before these are kept: OpenSSL knows kinds of keys that nats-server
does not, and only nats-server can say whether it takes a new certificate.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import NotConfigured, printable
from ..tls import Tls, load_pair

if TYPE_CHECKING:
    from pathlib import Path

    from .configuration import ServerConfig

__all__ = ["CERTIFICATE", "CLIENT_CA", "KEY", "PINNED", "is_shown", "put_back", "state_of_files", "take_over"]

CERTIFICATE, KEY, CLIENT_CA = "certificate.pem", "key.pem", "client_ca.pem"
"""What the copies are called in the broker's folder."""

PINNED = "pinned.pem"
"""What programs of this computer trust: the broker's certificate, without those that signed it and sign others, too."""

_MAX_FILE_BYTES = 1024 * 1024
_MAX_GREETING_BYTES = 64 * 1024
_SHOWN_TIMEOUT_S = 5.0
_NOT_YET, _EXPIRED = 9, 10  # numbers of OpenSSL (x509_vfy.h)
_FIRST = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\r?\n?", re.DOTALL)


def state_of_files(config: ServerConfig) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what changes when one of the files does that the broker encrypts with."""
    return tuple(_state(file) for file in (config.tls_certificate, config.tls_key, config.tls_client_ca) if file)


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None  # it is just being exchanged
    return found.st_ino, found.st_mtime_ns, found.st_size


def take_over(config: ServerConfig, *, renewed: bool = False) -> bool:
    """Copy the files to where the broker reads them, all of them or none, and return whether that changes anything.

    Parameters
    ----------
    config : ServerConfig
        Names them.
    renewed : bool
        Whether a broker runs, or has just crashed: programs of this computer then trust its last certificate, too; what
        it had is kept for `put_back`, and is not given up for a certificate that is not valid now.

    Raises
    ------
    NotConfigured
        When a file cannot be used, or the key is not that of the certificate.
    OSError
        When they cannot be copied; those that were there are as they were.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return False
    folder = config.directory.absolute()
    sources = {CERTIFICATE: config.tls_certificate, KEY: config.tls_key}
    if config.tls_client_ca is not None:
        sources[CLIENT_CA] = config.tls_client_ca
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), config.tls_certificate, config.tls_key)
    _check_key_is_closed(config.tls_key)
    contents = {name: _content(file) for name, file in sources.items()}
    if renewed and all(_copied(folder / name) == content for name, content in contents.items()):
        return False
    for name, content in contents.items():
        _write(folder / f"{name}.new", content)
    try:  # what was copied, as it may have been exchanged since it was checked
        for name in sources.keys() - {KEY}:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(folder / f"{name}.new")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / f"{CERTIFICATE}.new", folder / f"{KEY}.new")
        own = _FIRST.search(contents[CERTIFICATE])
        if own is None:
            raise ValueError("no certificate")
    except (OSError, ValueError) as error:
        raise NotConfigured(
            f"{' or '.join(map(str, sources.values()))} holds no certificates in the format PEM, or changed while it "
            "was read. Check them."
        ) from error
    trusted = [own[0].rstrip()]
    if renewed:
        trusted += _FIRST.findall(_copied(folder / PINNED))[:1]
    _write(folder / f"{PINNED}.new", b"\n".join(trusted) + b"\n")
    names = (PINNED, *sources)  # first who is trusted, then who shows it
    if renewed:
        _check_is_valid(config.tls_certificate, folder)
        for name in names:
            _write(folder / f"{name}.kept", _copied(folder / name))
    for name in names:
        if renewed:
            os.replace(folder / f"{name}.kept", folder / f"{name}.previous")
        else:
            (folder / f"{name}.previous").unlink(missing_ok=True)
    for name in names:
        os.replace(folder / f"{name}.new", folder / name)
    return True


def put_back(config: ServerConfig) -> bool:
    """Have the copies be as they were before they were last changed, and return whether that changes anything."""
    folder = config.directory.absolute()
    if not config.is_encrypted or not (folder / f"{CERTIFICATE}.previous").exists():
        return False
    for name in (CERTIFICATE, KEY, CLIENT_CA, PINNED):
        if (folder / f"{name}.previous").exists():
            os.replace(folder / f"{name}.previous", folder / name)
    return True


def is_shown(config: ServerConfig, url: str) -> bool:
    """Return whether our broker at `url`, which is encrypted, shows the certificate that was copied last."""
    own = _FIRST.search(_copied(config.directory.absolute() / CERTIFICATE))
    where = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, and nothing is said
    try:
        with socket.create_connection((where.hostname or "", where.port or 0), timeout=_SHOWN_TIMEOUT_S) as stream:
            if where.scheme == "tls":  # it greets before any encryption, and what follows must stay in the socket
                for _ in range(_MAX_GREETING_BYTES):
                    if stream.recv(1) in (b"\n", b""):
                        break
            with context.wrap_socket(stream) as encrypted:
                shown = encrypted.getpeercert(binary_form=True)
    except OSError:
        return False
    return own is not None and shown == ssl.PEM_cert_to_DER_cert(own[0].decode("ascii").strip())


def _check_is_valid(certificate: Path, folder: Path) -> None:
    """Have the files that are about to be the copies used by both sides of a connection, here in memory."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(folder / f"{CERTIFICATE}.new", folder / f"{KEY}.new")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = Tls(pinned=folder / f"{PINNED}.new").context().wrap_bio(to_client, to_server)
    try:
        for side in (client, server) * 3:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        why = {_NOT_YET: "is not valid yet", _EXPIRED: "has expired"}.get(error.verify_code, "is not accepted")
        raise NotConfigured(
            f"The certificate in {certificate} {why} ({printable(error.verify_message, 200)}). Have it issued anew; or "
            "the clock of this computer is wrong."
        ) from error
    except ssl.SSLError as error:
        raise NotConfigured(
            f"Nobody could connect with the certificate in {certificate} ({printable(error.reason or error, 200)}). "
            "Have it issued for a key of another kind, such as RSA or P-256."
        ) from error


def _copied(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _check_key_is_closed(key: Path) -> None:
    # Not as strict as with our own keys: those who renew certificates often leave the key to a group.
    if sys.platform != "win32" and stat.S_IMODE(key.stat().st_mode) & 0o007:
        raise NotConfigured(
            f"{key} holds the broker's key and is open to all users of this computer. Close it: chmod o= {key}, and "
            "have the certificate issued anew if somebody may have read it."
        )


def _content(file: Path) -> bytes:
    try:
        with open(file, "rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotConfigured(f"Cannot read {file}: {error.strerror}. Check its name and who may read it.") from error
    if len(content) > _MAX_FILE_BYTES:
        raise NotConfigured(
            f"{file} is longer than {_MAX_FILE_BYTES:,} bytes, so it holds something else than it should."
        )
    return content


def _write(file: Path, content: bytes) -> None:
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
