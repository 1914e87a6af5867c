"""How a command ends.

====  =====================================================================================
code  meaning
====  =====================================================================================
0     done
1     a bug in Landbridge itself
2     usage: the command line, a file, or what is to be served is not as it must be
3     arguments that do not fit the method, or cannot travel; it did not run
4     denied: not shared with you, or the broker does not let you
5     offline, unknown, unreachable or not configured
6     the method raised, or the other side failed
7     the time limit you gave has passed
130   cancelled (Ctrl-C)
141   whoever read the output has gone
====  =====================================================================================
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence

from ..errors import LandbridgeError
from .console import prepare_streams, say, show_json

__all__ = ["BUG", "CANCELLED", "EXIT_CODES", "UNREACHABLE", "USAGE", "UsageError", "run", "run_command"]

BUG = 1
USAGE = 2
UNREACHABLE = 5
CANCELLED = 130
_READER_GONE = 141

EXIT_CODES: dict[str, int] = {
    "usage": USAGE,
    "invalid_name": USAGE,
    "nothing_to_serve": USAGE,
    "missing_extra": USAGE,
    "invalid_arguments": 3,
    "cannot_travel": 3,
    "too_large": 3,
    "denied": 4,
    "identity": 4,
    "unknown_module": UNREACHABLE,
    "unknown_member": UNREACHABLE,
    "busy": UNREACHABLE,
    "offline": UNREACHABLE,
    "unreachable": UNREACHABLE,
    "lost": UNREACHABLE,
    "not_configured": UNREACHABLE,
    "broker_failed": UNREACHABLE,
    "remote_error": 6,
    "crashed": 6,
    "gone": UNREACHABLE,
    "changed": UNREACHABLE,
    "internal": 6,
    "malformed": 6,
    "protocol_mismatch": 6,
    "timeout": 7,
    "cancelled": CANCELLED,
}
"""Exit code for each code of a `LandbridgeError`, and for a wrong command line."""


class UsageError(Exception):
    """A command line that cannot be understood, or a file it names that cannot be used; the text says what to do."""


def run(words: Sequence[str]) -> int:
    """Run the command that `words` say, and return its exit code; every error has become text on stderr."""
    from .app import dispatch

    return run_command(lambda: dispatch(words), "--json" in (words[: words.index("--")] if "--" in words else words))


def run_command(command: Callable[[], int], with_json: bool) -> int:
    """Run a command, and return the exit code it returns or ends with; every error has become text on stderr."""
    prepare_streams()
    try:
        code = _run(command, with_json)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more. What Python still holds must go nowhere, or it would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE
    return code


def _run(command: Callable[[], int], with_json: bool) -> int:
    try:
        return command()
    except LandbridgeError as error:
        return _failed(error.code, str(error), with_json)
    except UsageError as error:
        return _failed("usage", str(error), with_json)
    except KeyboardInterrupt:
        return _failed("cancelled", "cancelled", with_json)
    except BrokenPipeError:
        raise
    except Exception as error:
        return _bug(error, with_json)


def _failed(code: str, text: str, with_json: bool) -> int:
    say(f"landbridge: {text}")
    if with_json:
        show_json({"error": {"code": code, "text": text}})
    return EXIT_CODES.get(code, BUG)


def _bug(error: Exception, with_json: bool) -> int:
    if os.environ.get("LANDBRIDGE_DEBUG"):
        say("".join(traceback.format_exception(error)))
    shown = "".join(traceback.format_exception_only(error)).strip()
    text = (
        f"this should not have happened ({shown}). It is a bug in Landbridge. "
        "Please report it with what LANDBRIDGE_DEBUG=1 shows before the same command."
    )
    _failed("bug", text, with_json)
    return BUG
