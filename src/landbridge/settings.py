"""What Landbridge reads from the environment and keeps in the user's folders: profiles, keys, the local network.

::

    $XDG_CONFIG_HOME/landbridge/profiles/NAME.toml     url = "nats://…" or urls = ["…", "…"]; where it is encrypted
                                                       also ca, certificate, key = "FILE", relative to this folder
                                         NAME.creds    credentials in the usual NATS format
                                         NAME.enrol    those with which they are renewed
    $XDG_STATE_HOME/landbridge/known.json              by which root keys institutes are known
    $XDG_STATE_HOME/landbridge/institutes/NAME/…       keys and members of an institute that is run from here
    $XDG_STATE_HOME/landbridge/local/up.lock           held as long as `landbridge up` lives
                                     broker.json       where its broker listens
                                     broker/pinned.pem the certificate that it shows, if it is encrypted

LANDBRIDGE_URL names the broker in place of a profile's address; LANDBRIDGE_CA, LANDBRIDGE_CERTIFICATE and
LANDBRIDGE_KEY then are the files that a profile has under ``ca``, ``certificate`` and ``key``. The last two also hold
for the network of this computer, where no authority is needed.

The environment is read at each call, never at import. What holds keys is readable by its owner only: written so, and
refused when it is found otherwise.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import InvalidName, NotConfigured, printable
from .names import nearest
from .tls import Tls

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Profile",
    "RunningBroker",
    "checked_url",
    "config_dir",
    "forget_broker",
    "hold_up_lock",
    "local_dir",
    "memory_bytes",
    "own_tls",
    "private_read",
    "private_write",
    "profile_name",
    "profiles",
    "read_profile",
    "record_broker",
    "running_broker",
    "selected_profile",
    "selected_tls",
    "selected_url",
    "state_dir",
    "try_lock",
]

_PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_URL_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})
_TLS_KEYS = ("ca", "certificate", "key")
_MAX_FILE_BYTES = 256 * 1024  # of profiles, credentials and records


@dataclass(frozen=True)
class Profile:
    """How to reach one network: where its brokers are, the file that says who we are, and those of encryption."""

    name: str
    urls: tuple[str, ...]
    creds_file: Path
    tls: Tls = field(default_factory=Tls)


@dataclass(frozen=True)
class RunningBroker:
    """Where the broker of this computer's own network listens.

    Attributes
    ----------
    url, websocket_url : str
        Where programs of this computer reach it.
    pid : int
        Its process.
    server_id : str
        As it calls itself.
    started : str
        When, in ISO 8601 and UTC.
    network : str
        What the network is called.
    public_url, public_websocket_url : str
        Where others reach it, if they do elsewhere than programs of this computer.
    """

    url: str
    websocket_url: str
    pid: int
    server_id: str
    started: str
    network: str
    public_url: str = ""
    public_websocket_url: str = ""


def config_dir() -> Path:
    """Return the folder of profiles, made for its owner only if it did not exist."""
    return _own_dir(_base_dir("XDG_CONFIG_HOME", ".config") / "landbridge")


def state_dir() -> Path:
    """Return the folder of what Landbridge itself keeps, made for its owner only if it did not exist."""
    return _own_dir(_base_dir("XDG_STATE_HOME", ".local/state") / "landbridge")


def local_dir() -> Path:
    """Return the folder of the network that `landbridge up` runs on this computer."""
    return _own_dir(state_dir() / "local")


def selected_profile() -> str | None:
    """Return the profile that ``LANDBRIDGE_PROFILE`` names, or None."""
    return os.environ.get("LANDBRIDGE_PROFILE") or None


def selected_url() -> str | None:
    """Return the broker address in ``LANDBRIDGE_URL``, or None.

    Raises
    ------
    NotConfigured
        When it is not one.
    """
    url = os.environ.get("LANDBRIDGE_URL")
    return checked_url(url, "LANDBRIDGE_URL") if url else None


def selected_tls() -> Tls | None:
    """Return the files that ``LANDBRIDGE_CA``, ``_CERTIFICATE`` and ``_KEY`` name, or None without any.

    Raises
    ------
    NotConfigured
        When only one of certificate and key is named, or the key is open to other users.
    """
    named = {part: os.environ.get(f"LANDBRIDGE_{part.upper()}") for part in _TLS_KEYS}
    files = {part: Path(name).absolute() for part, name in named.items() if name}
    return _checked_tls(files, "The environment", "LANDBRIDGE_CERTIFICATE and LANDBRIDGE_KEY") if files else None


def own_tls() -> Tls:
    """Return the files of encryption for the network of this computer: its very certificate, and whom we are shown as.

    Raises
    ------
    NotConfigured
        As `selected_tls` does.
    """
    chosen, pinned = selected_tls() or Tls(), local_dir() / "broker" / "pinned.pem"
    # Without one, the broker is not of this computer's making: then the environment says whom to trust, or the system.
    return replace(chosen, ca=None, pinned=pinned) if pinned.exists() else chosen


def _checked_tls(files: dict[str, Path], where: str, both: str) -> Tls:
    tls = Tls(**files)
    if (tls.certificate is None) != (tls.key is None):
        raise NotConfigured(f"{where} names only one of {both}. Name both files, or neither.")
    if tls.key is not None:
        try:
            private_read(tls.key)  # says now, not when the broker asks for it, what is wrong with it
        except NotConfigured as error:
            if not isinstance(error.__cause__, OSError):
                raise
            raise NotConfigured(
                f"Cannot read {tls.key}: {error.__cause__.strerror}. It should hold the key of the certificate in "
                f"{tls.certificate}. Check its name and who may read it."
            ) from error
    return tls


def private_write(path: Path, content: str | bytes) -> None:
    """Put `content` into `path` whole or not at all, readable by its owner only.

    Folders that are missing are made, for the owner only. When this returns, the content survives a power cut.
    """
    _make_private(path.parent)
    _remove_unfinished(path)
    # Made with mode 0600.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.")
    try:
        with open(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if sys.platform != "win32":  # the new name itself is only safe once its folder is on the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_unfinished(path: Path) -> None:
    """Remove what writers of `path` left that were killed in the middle: it may hold keys."""
    for left in path.parent.glob(f".{path.name}.*"):
        pid = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if pid.isascii() and pid.isdigit() and not _is_alive(int(pid)):
            with suppress(OSError):
                left.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's
        return True
    return True


def private_read(path: Path, *, limit_bytes: int = _MAX_FILE_BYTES) -> bytes:
    """Return the content of a file that holds keys.

    Parameters
    ----------
    path : Path
        The file.
    limit_bytes : int
        The most that such a file can sensibly hold.

    Raises
    ------
    NotConfigured
        When the file is missing, no ordinary file, too long for one, or open to other users.
    """
    try:
        # Not blocking: a pipe put in the place of the file must not stop us. Checked on the open file, so that
        # nobody can exchange it between the check and the reading.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise NotConfigured(
            f"Cannot read {path}: {error.strerror}. It should hold credentials; "
            "ask whoever runs the network for an invitation, then: landbridge join"
        ) from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise NotConfigured(f"{path} is not an ordinary file, so no keys are read from it. Replace it by one.")
        mode = stat.S_IMODE(found.st_mode)
        if sys.platform != "win32" and mode & 0o077:
            raise NotConfigured(
                f"{path} holds keys and is open to other users of this computer (mode {mode:04o}). "
                f"Close it: chmod 600 {path}, and renew the keys if somebody may have read them."
            )
        with open(handle, "rb", closefd=False) as file:
            content = file.read(limit_bytes + 1)
    finally:
        os.close(handle)
    if len(content) > limit_bytes:
        raise NotConfigured(f"{path} is longer than {limit_bytes:,} bytes, so it holds something else than it should.")
    return content


def read_profile(name: str) -> Profile:
    """Return the profile called `name`.

    Raises
    ------
    InvalidName
        When `name` cannot be the name of a profile.
    NotConfigured
        When there is no such profile, or it is not complete; the text names the file.
    """
    folder = config_dir() / "profiles"
    file = folder / f"{profile_name(name)}.toml"
    try:
        with open(file, "rb") as stream:
            content = stream.read(_MAX_FILE_BYTES)
        table = tomllib.loads(content.decode())
    except FileNotFoundError:
        raise _no_such_profile(name, file) from None
    except OSError as error:
        raise NotConfigured(f"Cannot read the profile {file}: {error.strerror}.") from error
    except ValueError as error:
        raise NotConfigured(f"The profile {file} is not valid TOML: {printable(error, 200)}. Correct it.") from error
    creds_file = folder / f"{name}.creds"
    private_read(creds_file)  # says now, not at the first call, what is wrong with it
    return Profile(name, _urls(table, file), creds_file, _profile_tls(table, file))


def profile_name(name: str) -> str:
    """Return `name` if a profile may be called so, else raise `InvalidName`."""
    if not _PROFILE_NAME.fullmatch(name):
        raise InvalidName(name, "profile", "it must be 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit")
    return name


def profiles() -> list[str]:
    """Return the names of the profiles that there are."""
    folder = config_dir() / "profiles"
    return sorted(path.stem for path in folder.glob("*.toml") if _PROFILE_NAME.fullmatch(path.stem))


def record_broker(broker: RunningBroker) -> None:
    """Write down where the broker of this computer's own network listens, for `running_broker` to read."""
    private_write(local_dir() / "broker.json", json.dumps(asdict(broker), indent=1) + "\n")


def forget_broker() -> None:
    """Take back what `record_broker` wrote: until it is written again, nobody connects."""
    _remove_record(local_dir() / "broker.json")


def running_broker() -> RunningBroker | None:
    """Return where the broker of this computer's own network listens, or None when none is running.

    Raises
    ------
    NotConfigured
        When it runs, but its record cannot be understood.
    """
    folder = local_dir()
    try:
        content = private_read(folder / "broker.json")
    except NotConfigured as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    with _locked(folder / "up.lock") as nobody_holds_it:
        if nobody_holds_it:  # what died without tidying up has left the record behind
            return None
    try:
        fields = json.loads(content)
        broker = RunningBroker(**fields)
        if not all(isinstance(getattr(broker, key), int if key == "pid" else str) for key in fields):
            raise TypeError("a field has the wrong type")
        public = [url for url in (broker.public_url, broker.public_websocket_url) if url]
        for url in (broker.url, broker.websocket_url, *public):
            checked_url(url, f"The record {folder / 'broker.json'}")
    except (ValueError, TypeError, RecursionError) as error:
        raise NotConfigured(
            f"Cannot understand {folder / 'broker.json'}: {printable(error, 200)}. "
            "It may stem from another version of Landbridge: end landbridge up and start it again."
        ) from error
    return broker


@contextmanager
def hold_up_lock() -> Iterator[None]:
    """Make this process the one that runs this computer's own network, for as long as the context is open.

    The lock belongs to the open file, so it also goes when the process is killed.

    Raises
    ------
    NotConfigured
        When another process does; the text says which.
    """
    folder = local_dir()
    deadline = time.monotonic() + 0.5
    while True:
        with _locked(folder / "up.lock") as ours:
            if ours:
                record = folder / "broker.json"
                _remove_record(record)
                try:
                    yield
                finally:
                    _remove_record(record)
                return
        # `running_broker` takes the lock for an instant to see whether anybody holds it: that is no reason to give up.
        if time.monotonic() > deadline:
            raise _already_running()
        time.sleep(0.02)


def _remove_record(record: Path) -> None:
    try:
        record.unlink(missing_ok=True)
    except OSError as error:
        raise NotConfigured(f"Cannot remove {record}: {error.strerror}. Remove it by hand.") from error


def _already_running() -> NotConfigured:
    broker = running_broker()
    which = f" at {broker.url} (process {broker.pid})" if broker else ""
    return NotConfigured(
        f"A network is already running on this computer{which}: there can be one for each user. "
        "Use it as it is, or end it first (Ctrl-C in its terminal)."
    )


def _no_such_profile(name: str, file: Path) -> NotConfigured:
    known = profiles()
    likely = nearest(name, known)
    hint = f" Did you mean {likely!r}?" if likely else ""
    there = f"Profiles here: {', '.join(known)}." if known else "There are no profiles yet: landbridge join"
    return NotConfigured(f"There is no profile {name!r}: {file} does not exist.{hint} {there}")


def _urls(table: dict[str, object], file: Path) -> tuple[str, ...]:
    allowed = ("url", "urls", *_TLS_KEYS)
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise NotConfigured(
            f"The profile {file} has an unknown key {printable(repr(unknown[0]), 80)}; it may have: "
            f"{', '.join(allowed)}."
        )
    given = table.get("urls", []) if "url" not in table else [table["url"]]
    if ("url" in table) == ("urls" in table) or not isinstance(given, list) or not given:
        raise NotConfigured(f'The profile {file} must say where the broker is, in one line: url = "nats://HOST:4222"')
    return tuple(checked_url(url, f"The profile {file}") for url in given)


def _profile_tls(table: dict[str, object], file: Path) -> Tls:
    files = {}
    for key in _TLS_KEYS:
        name = table.get(key)
        if name is None:
            continue
        if not isinstance(name, str) or not name or "\0" in name:
            raise NotConfigured(
                f"The profile {file} has {printable(repr(name), 200)} for {key}; it must name a file: "
                f'{key} = "{key}.pem"'
            )
        files[key] = file.parent / name
    return _checked_tls(files, f"The profile {file}", "certificate and key")


def checked_url(url: object, where: str) -> str:
    """Return `url` if it is the address of a broker, else raise `NotConfigured`; `where` says who has given it."""
    shown = printable(repr(url), 200)
    if not isinstance(url, str):
        raise NotConfigured(f'{where} has {shown} for an address; it must be text: "nats://HOST:4222"')
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in _URL_SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        well_formed = False
    if not well_formed:
        raise NotConfigured(
            f"{where} has {shown} for an address; it must look like nats://HOST:PORT (or tls, ws, wss)."
        )
    if "@" in parts.netloc:  # and do not show it: it is a password
        raise NotConfigured(f"{where} has a name or password in an address. Remove it: the .creds file counts.")
    return url


def _base_dir(variable: str, below_home: str) -> Path:
    path = Path(os.environ.get(variable, ""))
    # The XDG rules say that a relative path is to be ignored.
    return path if path.is_absolute() else Path.home() / below_home


def _own_dir(path: Path) -> Path:
    try:
        _make_private(path)
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise NotConfigured(
            f"Cannot use the folder {path}: {error.strerror}. It must belong to you alone; "
            "XDG_CONFIG_HOME and XDG_STATE_HOME choose other places."
        ) from error
    return path


def _make_private(folder: Path) -> None:
    # Path.mkdir gives its mode to the last folder only, not to the parents it makes on the way.
    missing = [folder, *folder.parents]
    for path in reversed([path for path in missing if not path.exists()]):
        path.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` while open; gives False, at once, when somebody else holds it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise NotConfigured(f"Cannot use the file {path}: {error.strerror}. Remove what stands there.") from error
    try:
        yield try_lock(handle)
    finally:
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def try_lock(handle: int) -> bool:
        """Take the lock of an open file if nobody else holds it; False, at once, if somebody does."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(handle: int) -> bool:
        """Take the lock of an open file if nobody else holds it; False, at once, if somebody does."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def memory_bytes() -> int:
    """Return how much memory to plan with: ``LANDBRIDGE_MEMORY_BYTES``, else what the machine or its container has.

    Raises
    ------
    NotConfigured
        When the variable is no number.
    """
    chosen = os.environ.get("LANDBRIDGE_MEMORY_BYTES")
    if chosen is not None:
        if not chosen.isascii() or not chosen.isdigit():
            raise NotConfigured(f"LANDBRIDGE_MEMORY_BYTES is {printable(repr(chosen), 60)}, not a number of bytes")
        return int(chosen)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            return min(machine, int(Path(limit).read_text()))
    return machine
