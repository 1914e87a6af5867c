"""The user's folders: where things are, who may read them, and who runs the local network."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from landbridge import settings
from landbridge.errors import InvalidName, NotConfigured
from landbridge.tls import Tls

BROKER = settings.RunningBroker(
    url="nats://127.0.0.1:4222",
    websocket_url="ws://127.0.0.1:8080",
    pid=4711,
    server_id="NABC",
    started="2026-11-25T15:00:00Z",
    network="local",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "etc" / "deep"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "var"))
    monkeypatch.delenv("LANDBRIDGE_URL", raising=False)
    for name in ("PROFILE", "CA", "CERTIFICATE", "KEY"):
        monkeypatch.delenv(f"LANDBRIDGE_{name}", raising=False)
    return tmp_path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def write_profile(name: str = "hub", text: str = 'url = "nats://hub.example.org:4222"\n') -> Path:
    folder = settings.config_dir() / "profiles"
    settings.private_write(folder / f"{name}.toml", text)
    settings.private_write(folder / f"{name}.creds", "secret")
    return folder


def test_folders_follow_the_environment_and_belong_to_the_owner_alone(home):
    assert settings.config_dir() == home / "etc" / "deep" / "landbridge"
    assert settings.local_dir() == home / "var" / "landbridge" / "local"
    assert mode(home / "etc" / "deep") == mode(settings.config_dir()) == mode(settings.local_dir()) == 0o700


def test_a_folder_that_was_open_is_closed(home):
    folder = home / "var" / "landbridge"
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o775)
    assert mode(settings.state_dir()) == 0o700


def test_a_relative_folder_in_the_environment_is_ignored(home, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert settings.config_dir() == home / ".config" / "landbridge"


def test_a_file_in_the_place_of_the_folder_is_named(home):
    (home / "var").write_text("")
    with pytest.raises(NotConfigured, match="var"):
        settings.state_dir()


def test_selection_is_read_at_each_call(monkeypatch):
    assert settings.selected_profile() is None
    assert settings.selected_url() is None
    monkeypatch.setenv("LANDBRIDGE_PROFILE", "hub")
    monkeypatch.setenv("LANDBRIDGE_URL", "nats://h:1")
    assert settings.selected_profile() == "hub"
    assert settings.selected_url() == "nats://h:1"


def test_private_write_replaces_whole_files_only_their_owner_can_read(home):
    path = home / "a" / "b" / "key"
    settings.private_write(path, "one")
    path.chmod(0o644)
    settings.private_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o600
    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    assert os.listdir(path.parent) == ["key"]


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(home):
    path = home / "a" / "key"
    settings.private_write(path, "one")
    with pytest.raises(UnicodeEncodeError):
        settings.private_write(path, "\ud800")
    assert path.read_text() == "one"
    assert os.listdir(path.parent) == ["key"]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602])
def test_keys_open_to_others_are_not_read(home, bits):
    path = home / "key"
    settings.private_write(path, "secret")
    path.chmod(bits)
    with pytest.raises(NotConfigured, match="chmod 600") as caught:
        settings.private_read(path)
    assert "secret" not in str(caught.value)


def test_keys_are_read_from_ordinary_files_of_bounded_length_only(home):
    os.mkfifo(home / "pipe", 0o600)
    with pytest.raises(NotConfigured, match="ordinary"):
        settings.private_read(home / "pipe")
    settings.private_write(home / "long", b"x" * 300_000)
    with pytest.raises(NotConfigured, match="longer"):
        settings.private_read(home / "long")
    with pytest.raises(NotConfigured, match="landbridge join"):
        settings.private_read(home / "missing")


def test_files_that_hold_much_are_read_up_to_a_limit_of_their_own(home):
    settings.private_write(home / "long", b"x" * 300_000)
    assert len(settings.private_read(home / "long", limit_bytes=300_000)) == 300_000
    with pytest.raises(NotConfigured, match="299,999"):
        settings.private_read(home / "long", limit_bytes=299_999)


def test_a_profile_has_addresses_and_a_credentials_file():
    folder = write_profile()
    assert settings.read_profile("hub") == settings.Profile(
        "hub", ("nats://hub.example.org:4222",), folder / "hub.creds"
    )
    write_profile("two", 'urls = ["tls://a.example.org:4222", "tls://b.example.org:4222"]')
    assert settings.read_profile("two").urls == ("tls://a.example.org:4222", "tls://b.example.org:4222")


def test_a_missing_profile_names_the_file_and_the_likely_one():
    folder = write_profile()
    write_profile("other")
    with pytest.raises(NotConfigured) as caught:
        settings.read_profile("hubb")
    assert str(folder / "hubb.toml") in str(caught.value)
    assert "Did you mean 'hub'" in str(caught.value)
    assert "hub, other" in str(caught.value)


def test_without_any_profile_the_next_step_is_named():
    with pytest.raises(NotConfigured, match="landbridge join"):
        settings.read_profile("hub")


@pytest.mark.parametrize("name", ["../hub", "", "a/b", "a.b", "A", "a\n", ".", "a" * 64])
def test_profile_names_cannot_leave_their_folder(name):
    with pytest.raises(InvalidName):
        settings.read_profile(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "url =",
        "url = 3",
        "url = ''",
        "urls = []",
        "urls = [3]",
        "urls = 'nats://h'",
        "url = 'nats://h'\nurls = ['nats://h']",
        "url = 'nats://h'\nuser = 'x'",
        "url = 'http://h:80'",
        "url = 'nats://h:99999'",
        "url = 'nats://h:0x'",
        "url = 'nats://[::1'",
        "url = 'h:4222'",
        "url = 'nats://user:hunter2@h:4222'",
        "\udcff",
    ],
)
def test_a_profile_that_is_wrong_is_refused_with_its_file_and_no_password(text):
    folder = write_profile()
    (folder / "hub.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(NotConfigured, match=r"hub\.toml") as caught:
        settings.read_profile("hub")
    assert "hunter2" not in str(caught.value)


def test_a_profile_whose_credentials_are_missing_or_open_is_refused():
    folder = write_profile()
    (folder / "hub.creds").chmod(0o644)
    with pytest.raises(NotConfigured, match="chmod 600"):
        settings.read_profile("hub")
    (folder / "hub.creds").unlink()
    with pytest.raises(NotConfigured, match=r"hub\.creds"):
        settings.read_profile("hub")


def test_the_broker_is_found_while_its_process_holds_the_lock():
    assert settings.running_broker() is None
    with settings.hold_up_lock():
        assert settings.running_broker() is None
        settings.record_broker(BROKER)
        assert settings.running_broker() == BROKER
    assert settings.running_broker() is None
    assert not (settings.local_dir() / "broker.json").exists()


def test_a_record_left_behind_is_not_believed_and_removed_by_the_next():
    settings.record_broker(BROKER)
    assert settings.running_broker() is None
    with settings.hold_up_lock():
        assert settings.running_broker() is None


def test_a_second_one_is_told_who_runs_it():
    with settings.hold_up_lock():
        settings.record_broker(BROKER)
        with pytest.raises(NotConfigured, match=r"nats://127\.0\.0\.1:4222.*4711"), settings.hold_up_lock():
            pass
        assert settings.running_broker() == BROKER
    with settings.hold_up_lock():
        pass


def test_a_killed_process_loses_the_lock():
    code = (
        "from landbridge import settings\n"
        "with settings.hold_up_lock():\n"
        f"    settings.record_broker(settings.{BROKER!r})\n"
        "    print('held', flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            assert settings.running_broker() == BROKER
        finally:
            holder.kill()
            holder.wait()
    assert settings.running_broker() is None
    with settings.hold_up_lock():
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"url": 3}', "[" * 100_000, "\ufffd"])
def test_a_record_that_cannot_be_understood_is_named(text):
    with settings.hold_up_lock():
        settings.private_write(settings.local_dir() / "broker.json", text)
        with pytest.raises(NotConfigured, match=r"broker\.json"):
            settings.running_broker()


def test_a_record_with_a_field_of_another_type_is_refused():
    with settings.hold_up_lock():
        settings.record_broker(BROKER)
        path = settings.local_dir() / "broker.json"
        settings.private_write(path, path.read_text().replace("4711", '"4711"'))
        with pytest.raises(NotConfigured, match="type"):
            settings.running_broker()


@pytest.mark.parametrize("key", ["url", "websocket_url"])
@pytest.mark.parametrize("url", ["", "http://h:1", "nats://h:99999", "nats://user:secret@h:1", "\x1b[2J", "nats://"])
def test_a_record_with_a_wrong_address_is_refused_without_showing_a_password(key, url):
    with settings.hold_up_lock():
        settings.record_broker(replace(BROKER, **{key: url}))
        with pytest.raises(NotConfigured, match=r"broker\.json.*address") as caught:
            settings.running_broker()
    assert "secret" not in str(caught.value)


def test_a_folder_in_the_place_of_a_file_is_named():
    folder = settings.local_dir()
    (folder / "broker.json").mkdir()
    with pytest.raises(NotConfigured, match=r"broker\.json is not an ordinary file"):
        settings.running_broker()
    with pytest.raises(NotConfigured, match=r"broker\.json"), settings.hold_up_lock():
        pass
    with pytest.raises(NotConfigured, match=r"broker\.json"):
        settings.forget_broker()
    (folder / "broker.json").rmdir()
    (folder / "up.lock").unlink()
    (folder / "up.lock").mkdir()
    with pytest.raises(NotConfigured, match=r"up\.lock"), settings.hold_up_lock():
        pass


def with_key(folder: Path, name: str = "me-key.pem", bits: int = 0o600) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / name
    key.touch(mode=0o600)
    key.write_text("key")
    key.chmod(bits)
    return key


def test_files_of_a_profile_are_beside_it(home):
    write_profile(text='url = "wss://hub.example.org"\nca = "ca.pem"\ncertificate = "me.pem"\nkey = "me-key.pem"\n')
    folder = settings.config_dir() / "profiles"
    with_key(folder)
    assert settings.read_profile("hub").tls == Tls(folder / "ca.pem", folder / "me.pem", folder / "me-key.pem")
    write_profile("plain")
    assert settings.read_profile("plain").tls == Tls()
    write_profile("other", f'url = "wss://hub.example.org"\nca = "{home}/ca.pem"\n')
    assert settings.read_profile("other").tls == Tls(home / "ca.pem")


@pytest.mark.parametrize(
    "more", ['ca = ""', "ca = 1", 'ca = "a\\u0000b"', 'key = "k"', 'certificate = "c"', 'keys = "k"']
)
def test_a_profile_with_wrong_files_is_refused(more):
    write_profile(text=f'url = "wss://hub.example.org"\n{more}\n')
    with pytest.raises(NotConfigured, match=r"hub\.toml"):
        settings.read_profile("hub")


def test_a_key_of_a_profile_that_others_can_read_or_that_is_missing_is_refused():
    write_profile(text='url = "wss://hub.example.org"\ncertificate = "me.pem"\nkey = "me-key.pem"\n')
    with pytest.raises(NotConfigured, match=r"me-key\.pem.*key of the certificate in .*me\.pem"):
        settings.read_profile("hub")
    with_key(settings.config_dir() / "profiles", bits=0o640)
    with pytest.raises(NotConfigured, match="chmod 600"):
        settings.read_profile("hub")


def test_files_of_the_environment_are_those_of_a_network_without_profile(home, monkeypatch):
    pinned = home / "var" / "landbridge" / "local" / "broker" / "pinned.pem"
    assert settings.selected_tls() is None
    assert settings.own_tls() == Tls()
    settings.private_write(pinned, "a broker of this computer's own has run encrypted")
    assert settings.own_tls() == Tls(pinned=pinned)
    monkeypatch.setenv("LANDBRIDGE_CA", "/etc/ca.pem")
    assert settings.selected_tls() == Tls(Path("/etc/ca.pem"))
    assert settings.own_tls() == Tls(pinned=pinned)
    monkeypatch.setenv("LANDBRIDGE_CERTIFICATE", "/etc/me.pem")
    with pytest.raises(NotConfigured, match="LANDBRIDGE_CERTIFICATE and LANDBRIDGE_KEY"):
        settings.selected_tls()
    key = with_key(home)
    monkeypatch.setenv("LANDBRIDGE_KEY", str(key))
    assert settings.selected_tls() == Tls(Path("/etc/ca.pem"), Path("/etc/me.pem"), key)
    assert settings.own_tls() == Tls(None, Path("/etc/me.pem"), key, pinned)


def test_memory_is_what_the_environment_says(monkeypatch):
    monkeypatch.setenv("LANDBRIDGE_MEMORY_BYTES", "123456789")
    assert settings.memory_bytes() == 123_456_789


@pytest.mark.parametrize("text", ["", "4 GB", "-1", "1e9", "٣", "0x10", " 5"])
def test_memory_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("LANDBRIDGE_MEMORY_BYTES", text)
    with pytest.raises(NotConfigured, match="LANDBRIDGE_MEMORY_BYTES"):
        settings.memory_bytes()


def test_memory_is_no_more_than_the_machine_or_its_container_has(monkeypatch):
    monkeypatch.delenv("LANDBRIDGE_MEMORY_BYTES", raising=False)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < settings.memory_bytes() <= machine


@pytest.mark.parametrize(("limit", "expected"), [("1048576\n", 1_048_576), ("max\n", None), ("9" * 30, None)])
def test_the_limit_of_a_container_counts(monkeypatch, limit, expected):
    monkeypatch.delenv("LANDBRIDGE_MEMORY_BYTES", raising=False)
    real = Path.read_text

    def read_text(path, *args, **kwargs):
        if str(path) == "/sys/fs/cgroup/memory.max":
            return limit
        if str(path).startswith("/sys/fs/cgroup/"):
            raise FileNotFoundError(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert settings.memory_bytes() == (expected or machine)
