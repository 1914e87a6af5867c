"""What the owner of a module allows: the policy file beside what is served, and what was shared live."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InvalidName, NotConfigured, printable
from ..names import check_member, parse_address
from ..security import POLICY_FILE, POLICY_FILE_BYTES, Policy, Rule, check_pattern, parse_policy
from ..settings import private_read, private_write, try_lock
from .backends import module_folder

__all__ = ["FilePolicy", "Shares"]

_LIVE = "shares.json"
_MEMBERS = "members.json"
_LOCK = "shares.lock"
_MOST_SHARES = 10_000
_LOCK_TIMEOUT_S = 20.0
_LIMITS = ("calls_per_hour", "concurrent")
_FLAGS = ("refuses", "approve")


class Shares:
    """What of one module was shared or refused with ``landbridge share`` and ``landbridge revoke`` on this computer.

    Parameters
    ----------
    module : str
        ``institute/module``.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._folder = module_folder(module)
        self.path = self._folder / _LIVE
        self._members = self._folder / _MEMBERS

    @property
    def members(self) -> list[str] | None:
        """What the module had when it was last served from this computer; None if it never was."""
        if not self._members.exists():
            return None
        try:
            return [str(each) for each in json.loads(private_read(self._members))]
        except (ValueError, TypeError, RecursionError):
            raise NotConfigured(f"{self._members} is damaged. Serve {self._module} anew: that writes it.") from None

    def served(self, members: Iterable[str]) -> None:
        """Take note that the module is served, and what it has."""
        private_write(self._members, json.dumps(sorted(members)))

    def read(self) -> tuple[Rule, ...]:
        """Return the rules.

        Raises
        ------
        NotConfigured
            When the file holds anything else.
        """
        if not self.path.exists():
            return ()
        try:
            said = json.loads(private_read(self.path, limit_bytes=16 * 1024 * 1024))
            return tuple(_from_json(each) for each in said)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidName, RecursionError) as error:
            raise NotConfigured(
                f"{self.path} is not what landbridge share has written ({printable(error, 100)}). Remove it, and share "
                f"{self._module} anew."
            ) from None

    def share(self, rules: Sequence[Rule]) -> tuple[Rule, ...]:
        """Add rules, in place of those for the same people and members; returns all."""
        anew = {(rule.who, rule.members) for rule in rules}
        with self._locked():
            found = (*(rule for rule in self.read() if (rule.who, rule.members) not in anew), *rules)
            if len(found) > _MOST_SHARES:
                raise NotConfigured(f"{self._module} has {_MOST_SHARES:,} shares, and takes no more.")
            private_write(self.path, json.dumps([_to_json(rule) for rule in found], indent=1))
        return found

    def revoke(self, who: Iterable[str], members: frozenset[str] | None) -> tuple[Rule, ...]:
        """Refuse from now on, whatever else is shared; returns all rules."""
        return self.share([Rule(each, members, refuses=True) for each in who])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + _LOCK_TIMEOUT_S
            while not try_lock(handle):
                if time.monotonic() > deadline:
                    raise NotConfigured(
                        f"What is shared of {self._module} has been in use by another process for "
                        f"{_LOCK_TIMEOUT_S:g} s. See whether a landbridge command hangs, end it, and try again."
                    )
                time.sleep(0.01)
            yield
        finally:
            os.close(handle)


class FilePolicy:
    """What the owner allows beside what the module says, read anew when one of the files has changed.

    Parameters
    ----------
    module : str
        ``institute/module``.
    folder : Path, optional
        Where what is served lies, and the policy file may.
    """

    def __init__(self, module: str, folder: Path | None) -> None:
        self._name = parse_address(module).module
        self._shares = Shares(module)
        self._file = None if folder is None else folder / POLICY_FILE
        self._seen: tuple[object, ...] = ()

    def has_changed(self) -> bool:
        """Return whether one of the files is another than when it was last read."""
        return self._state() != self._seen

    def read(self) -> Policy:
        """Return what holds now; raises `NotConfigured` when one of the files cannot be read."""
        self._seen = self._state()
        live = self._shares.read()
        if self._file is None:
            return Policy(live)
        try:
            with self._file.open("rb") as file:
                text = file.read(POLICY_FILE_BYTES + 1).decode()
        except FileNotFoundError:
            return Policy(live)
        except (OSError, UnicodeDecodeError) as error:
            raise NotConfigured(f"{self._file} cannot be read: {printable(error, 200)}") from None
        policy = parse_policy(text, self._name)
        return replace(policy, rules=(*policy.rules, *live))

    def _state(self) -> tuple[object, ...]:
        return tuple(_state(path) for path in (self._shares.path, self._file) if path is not None)


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _to_json(rule: Rule) -> dict[str, Any]:
    said: dict[str, Any] = {"who": rule.who}
    if rule.members is not None:
        said["members"] = sorted(rule.members)
    if rule.until != math.inf:
        said["until"] = rule.until
    said |= {name: limit for name in _LIMITS if (limit := getattr(rule, name)) is not None}
    return said | {name: True for name in _FLAGS if getattr(rule, name)}


def _from_json(said: dict[str, Any]) -> Rule:
    members, until = said.get("members"), said.get("until", math.inf)
    calls, concurrent = limits = [said.get(name) for name in _LIMITS]
    flags = {name: said.get(name, False) for name in _FLAGS}
    if not isinstance(until, (int, float)) or not all(isinstance(flag, bool) for flag in flags.values()):
        raise TypeError("a rule in another form")
    if any(limit is not None and (type(limit) is not int or limit < 1) for limit in limits):
        raise TypeError("a limit that is none")
    if members is not None:
        members = frozenset(".".join(check_member(part) for part in each.split(".")) for each in members)
    return Rule(check_pattern(said["who"]), members, float(until), calls, concurrent, **flags)
