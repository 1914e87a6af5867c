"""Files of encrypted connections: what is trusted, and what is said of files that cannot be used."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from authority import Authority
from landbridge.errors import NotConfigured
from landbridge.tls import Tls


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Do a handshake in memory; raises what the client does."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(back, there, server_hostname=name)
    broker = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (caller, broker):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass


def broker_with(issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


def test_by_default_the_system_decides():
    context = Tls().context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_private_authority_is_trusted_in_place_of_the_system(authority, tmp_path):
    broker = broker_with(authority.issue("hub.example.org"))
    shake_hands(authority.trusted.context(), broker, "hub.example.org")
    assert len(authority.trusted.context().get_ca_certs()) == 1
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Authority(tmp_path / "other").trusted.context(), broker, "hub.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(authority.trusted.context(), broker, "hub.example.com")


def test_what_is_pinned_is_trusted_under_any_name_and_nothing_else_of_its_authority(authority, tmp_path):
    issued = authority.issue("hub.example.org")
    begin = issued.certificate.read_text()
    pinned = tmp_path / "pinned.pem"
    pinned.write_text(begin[: begin.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n")
    shake_hands(Tls(pinned=pinned).context(), broker_with(issued), "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Tls(pinned=pinned).context(), broker_with(authority.issue("hub.example.org")), "hub.example.org")


@pytest.mark.parametrize("field", ["ca", "pinned", "certificate", "key"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM", b"\x00" * 5000, "folder"])
def test_a_file_that_cannot_be_used_is_named(authority, tmp_path, field, content):
    issued = authority.issue("me@awi.de")
    file = tmp_path / "wrong.pem"
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    files = {"certificate": issued.certificate, "key": issued.key, field: file}
    with pytest.raises(NotConfigured, match=r"wrong\.pem"):
        Tls(**files).context()


def test_a_key_of_another_certificate_is_refused_with_both_names(authority):
    one, other = authority.issue("me@awi.de", file="one"), authority.issue("me@awi.de", file="other")
    with pytest.raises(NotConfigured, match=r"other-key\.pem is not that of .*one\.pem"):
        Tls(certificate=one.certificate, key=other.key).context()


def test_a_key_that_is_locked_does_not_ask_in_the_terminal(authority, tmp_path):
    issued = authority.issue("me@awi.de")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", issued.key, "-aes256", "-passout", "pass:secret", "-out", locked], check=True
    )
    with pytest.raises(NotConfigured, match="passphrase") as caught:
        Tls(certificate=issued.certificate, key=locked).context()
    assert "secret" not in str(caught.value)
