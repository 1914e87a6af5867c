"""The files of encrypted connections: whose certificates to trust, and which to show of ourselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NotConfigured, printable

if TYPE_CHECKING:
    import ssl

__all__ = ["Tls", "load_pair"]


@dataclass(frozen=True)
class Tls:
    """Whom to trust at the other end of an encrypted connection, and what to show there; by default as the system does.

    Nothing is read before a connection needs it, and everything again for each, so that files may be renewed.

    Attributes
    ----------
    ca : Path, optional
        Certificates to trust in place of those of the system (PEM).
    certificate, key : Path, optional
        What to show to brokers that demand a certificate (PEM): both or none.
    pinned : Path, optional
        Certificates of the broker itself: exactly these are trusted, whatever name is in them.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    pinned: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what Python's own functions take.

        Raises
        ------
        NotConfigured
            When a file is missing or holds something else than it should, or key and certificate do not belong
            together; the text names the file.
        """
        import ssl  # late: it takes 6 ms, and most commands encrypt nothing

        trusted = self.pinned or self.ca
        if trusted is None:
            context = ssl.create_default_context()
        else:
            _check_is_file(trusted)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = self.pinned is None
            # What is in the file is trusted, also where it is no root: the system's authorities are not asked.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                context.load_verify_locations(trusted)
            except (OSError, ValueError) as error:
                raise _unusable(trusted, error, "certificates to trust") from error
        if self.certificate is not None and self.key is not None:
            load_pair(context, self.certificate, self.key)
        return context


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have `context` use a certificate with its key.

    Raises
    ------
    NotConfigured
        When a file is missing or holds something else than it should, or the two do not belong together.
    """
    import ssl

    for file in (certificate, key):
        _check_is_file(file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)  # says which of the two is wrong
    except (OSError, ValueError) as error:
        raise _unusable(certificate, error, "a certificate") from error
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise NotConfigured(
                f"The key in {key} is not that of the certificate in {certificate}. Name two files that were made "
                "together."
            ) from error
        raise _unusable(key, error, "a key") from error
    except (OSError, ValueError) as error:
        raise _unusable(key, error, "a key without a passphrase") from error


def _check_is_file(file: Path) -> None:
    try:
        if not file.is_file():  # a pipe would have us wait for ever
            raise NotConfigured(
                f"{file} is no file, and should hold certificates or their key in PEM. Check its name, which the "
                "profile, LANDBRIDGE_CA, LANDBRIDGE_CERTIFICATE, LANDBRIDGE_KEY or an option gives."
            )
        with open(file, "rb"):
            pass
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise NotConfigured(f"Cannot read {printable(file, 300)}: {why}. Check its name and who may read it.") from None


def _unusable(file: Path, error: Exception, wanted: str) -> NotConfigured:
    why = printable(getattr(error, "reason", None) or error, 200)
    return NotConfigured(
        f"{file} does not hold {wanted} in the format PEM ({why}). It should begin with -----BEGIN; "
        "convert other formats with openssl."
    )


def _no_passphrase() -> str:
    raise ValueError("it is locked with a passphrase, which nobody is there to type")
