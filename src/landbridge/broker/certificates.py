"""The certificate of the embedded broker, taken over from where its owner keeps it: at the start and when renewed.

The broker reads copies in its own folder. So it never sees a certificate whose key has not been renewed yet, and starts
again after a crash with what it had.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
import sys
from typing import TYPE_CHECKING

from ..errors import NotConfigured
from ..tls import load_pair

if TYPE_CHECKING:
    from pathlib import Path

    from .configuration import ServerConfig

__all__ = ["CERTIFICATE", "CLIENT_CA", "KEY", "PINNED", "state_of_files", "take_over"]

CERTIFICATE, KEY, CLIENT_CA = "certificate.pem", "key.pem", "client_ca.pem"
"""What the copies are called in the broker's folder."""

PINNED = "pinned.pem"
"""What programs of this computer trust: the broker's certificate, without those that signed it and sign others, too."""

_MAX_FILE_BYTES = 1024 * 1024
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
        Whether a broker runs: programs of this computer then trust its last certificate, too, until it has read this.

    Raises
    ------
    NotConfigured
        When a file cannot be used, or the key is not that of the certificate.
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
    if renewed and all((folder / name).read_bytes() == content for name, content in contents.items()):
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
        trusted += _FIRST.findall((folder / PINNED).read_bytes())[:1]
    _write(folder / f"{PINNED}.new", b"\n".join(trusted) + b"\n")
    for name in (PINNED, *sources):  # first who is trusted, then who shows it
        os.replace(folder / f"{name}.new", folder / name)
    return True


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
