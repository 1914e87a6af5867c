"""``landbridge approve``: what came of calls of others, and goes to them only when the owner has accepted it."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import time
from typing import Any

from ..errors import NotConfigured, printable
from ..hub.approvals import Pending, pending
from .console import clip, json_text, safe, say, show, show_json
from .ending import UsageError

__all__ = ["approve"]

_LOOK_S = 0.3
_ARGUMENTS_COLUMNS = 400
_REASON_CHARS = 500


def approve(
    item: str | None = None,
    /,
    *,
    refuse: bool = False,
    because: str | None = None,
    watch: bool = False,
    json: bool = False,
) -> None:
    """Let what came of a call go to its caller, or refuse it. Without ITEM: show what waits.

    What is shared with --approve, with approve = "per-call" in landbridge.toml, or is @lb.method(approve="per-call"),
    runs when it is called, and what comes of it waits here, on the computer that serves it, for 7 days at most.

    Parameters
    ----------
    item
        The id of what waits, as it is shown.
    refuse
        Do not let it go: the caller is told that, and gets nothing.
    because
        With --refuse: why, for the caller.
    watch
        Go on, and ask for each as it comes.
    json
        Print JSON: a list of what waits; with ITEM what was decided; with --watch one line for each.
    """
    if because is not None and not refuse:
        raise UsageError("--because goes with --refuse: what is let go needs no reason")
    if watch and (item is not None or refuse):
        raise UsageError("--watch asks for each by itself; leave out the id, and --refuse")
    if refuse and item is None:
        raise UsageError("say which, as in: landbridge approve 1f2e3d4c --refuse\nSee what waits: landbridge approve")
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(json=json)
    elif item is None:
        _list(pending(), json=json)
    else:
        _decide(item, not refuse, because or "", json=json)


def _list(found: list[Pending], *, json: bool) -> None:
    if json:
        show_json([each.said for each in found])
    elif not found:
        say("Nothing waits for approval.")
    else:
        show("\n\n".join(_text(each.said) for each in found))
        say("\nLet one go: landbridge approve ID\nRefuse one:  landbridge approve ID --refuse --because 'why'")


def _decide(item: str, accepted: bool, because: str, *, json: bool) -> None:
    found = next((each for each in pending() if each.said["id"] == item), None)
    if found is None or not found.decide(accepted, printable(because, _REASON_CHARS)):
        raise NotConfigured(
            f"Nothing waits under the id {printable(repr(item), 60)} on this computer: it was decided, its caller has "
            "gone, or its backend was stopped. See what waits: landbridge approve"
        )
    if json:
        show_json({"id": item, "approved": accepted})
    else:
        say(f"{'Let go' if accepted else 'Refused'}: {_what(found.said)}")


def _watch(*, json: bool) -> None:
    say("Asking for each result as it comes. Ctrl-C ends this, and leaves the others where they are.")
    seen: set[str] = set()
    while True:
        found = pending()
        for each in found:
            if each.said["id"] not in seen and each.still_waits and not _ask(each, json=json):
                return
        seen = {each.said["id"] for each in found}
        time.sleep(_LOOK_S)


def _ask(each: Pending, *, json: bool) -> bool:
    """Show what waits and ask what is to become of it; False when nobody answers any more."""
    show(json_text(each.said) if json else f"\n{_text(each.said)}")
    while True:
        answer = _answer("Let it go? y: yes, n: no, Enter: later  ")
        if answer is None:
            return False
        word = answer.strip().lower()
        if word in ("", "y", "yes", "n", "no"):
            break
    if not word:
        return True
    accepted, because = word.startswith("y"), ""
    if not accepted:
        because = (_answer("Why, for the caller (Enter: no reason)  ") or "").strip()
    if not each.decide(accepted, printable(because, _REASON_CHARS)):
        say("It does not wait any more: its caller has gone, or its backend was stopped.")
    return True


def _answer(question: str) -> str | None:
    if sys.stdin.isatty():
        _forget_typed()
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline() or None


def _forget_typed() -> None:
    """What was typed before it could be read is no answer to it."""
    try:
        import termios
    except ImportError:  # on Windows
        return
    with contextlib.suppress(termios.error):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _what(said: dict[str, Any]) -> str:
    return safe(f"{said.get('module')}.{said.get('member')} for {said.get('caller')}")


def _text(said: dict[str, Any]) -> str:
    """Return what people read of something that waits; all that callers have chosen in it is made harmless."""
    arguments, result = (found if isinstance(found := said.get(name), dict) else {} for name in ("arguments", "result"))
    given = ", ".join(f"{name}={json_text(value)}" for name, value in arguments.items()) or "nothing"
    if said.get("arguments", {}) is None:
        given = "not noted: it began before approval was asked for"
    size = result.get("bytes")
    facts = [str(result.get("type", "")), f"{size:,} bytes" if isinstance(size, int) else ""]
    shape = result.get("dims") or result.get("shape")
    if isinstance(shape, dict):
        facts.append(", ".join(f"{name}: {length}" for name, length in shape.items()))
    elif shape:
        facts.append(" x ".join(map(str, shape)))
    if "dtype" in result:
        facts.append(str(result["dtype"]))
    return "\n".join(
        [
            f"{safe(said['id'])}  {_what(said)}, since {safe(said.get('since'))}",
            f"  called with  {clip(safe(given), _ARGUMENTS_COLUMNS)}",
            f"  would get    {clip(safe(', '.join(filter(None, facts))), _ARGUMENTS_COLUMNS)}",
            textwrap.indent(safe(str(result.get("preview", ""))), "    "),
        ]
    )
