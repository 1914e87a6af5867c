"""A certificate authority of the tests' own, as an institute may have one; its files lie in a folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from landbridge.tls import Tls


class Issued(NamedTuple):
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """An authority; `ca` is the file of its certificate."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ca = folder, folder / "ca.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.ca))

    @property
    def trusted(self) -> Tls:
        """Who trusts it."""
        return Tls(ca=self.ca)

    def issue(self, *names: str, file: str = "broker", expired: bool = False) -> Issued:
        """Issue a certificate for `names`; a `file` that is there is replaced, as it is at a renewal."""
        after = datetime.now(UTC) + timedelta(days=-1 if expired else 90)
        before = after - timedelta(days=91)
        issued = self._authority.issue_cert(*names, not_after=after, not_before=before)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        return self._written(file, chain, issued.private_key_pem.bytes())

    def issue_of_other_kind(self, key: PrivateKeyTypes, *, file: str = "broker") -> Issued:
        """Have a certificate signed by a key of whichever kind itself; `file` as for `issue`."""
        name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
        unsigned = x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=9)
        )
        algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._written(file, unsigned.sign(key, algorithm).public_bytes(Encoding.PEM), private)

    def _written(self, file: str, *contents: bytes) -> Issued:
        files = Issued(self.folder / f"{file}.pem", self.folder / f"{file}-key.pem")
        for target, content in zip(files, contents, strict=True):
            fresh = target.with_suffix(".fresh")
            fresh.touch(mode=0o600)
            fresh.write_bytes(content)
            fresh.replace(target)
        return files
