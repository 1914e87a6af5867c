"""What commands print: data on stdout, talk on stderr, and nothing that could steer a terminal.

Names, docstrings and results come from elsewhere. Text passes `printable`, and JSON keeps such characters only as
escapes, so that ``landbridge ls`` shows what a stranger wrote and never does what a stranger wants.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import printable

__all__ = ["clip", "json_text", "prepare_streams", "safe", "say", "show", "show_json", "table", "width_of"]

_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NARROWEST = 40


def prepare_streams() -> None:
    """Let text that the terminal's encoding has not be shown with ``?`` rather than end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def safe(text: object) -> str:
    """Return the whole of a text from elsewhere without what could steer a terminal."""
    whole = text if isinstance(text, str) else str(text)
    return printable(whole, len(whole) + 1)


def say(text: str) -> None:
    """Tell people something, on stderr."""
    try:
        print(safe(text), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody listens any more; that is no reason to fail
        pass


def show(text: str) -> None:
    """Print data, on stdout."""
    print(text, flush=True)


def show_json(value: Any) -> None:
    """Print data as one line of JSON, on stdout."""
    show(json_text(value))


def json_text(value: Any) -> str:
    r"""Return JSON that is safe to show: what could steer a terminal stands there as an escape.

    Examples
    --------
    >>> print(json_text({"unit": "°C", "doc": "\x9b31m"}))
    {"unit": "°C", "doc": "\u009b31m"}
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Examples
    --------
    >>> width_of("sst"), width_of("海温"), width_of("e\u0301")
    (3, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def clip(text: str, columns: int) -> str:
    """Return as much of a text as fits, on one line; a cut shows as ``…``.

    Examples
    --------
    >>> clip("Monthly means", 8)
    'Monthly…'
    """
    line = " ".join(text.split())
    if width_of(line) <= columns:
        return line
    kept = ""
    for character in line:
        if width_of(kept + character) > columns - 1:
            break
        kept += character
    return kept.rstrip() + "…"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under a head; on a terminal the last column is cut to its width.

    Examples
    --------
    >>> print(table(("module", "about"), [("geomar/ocean", "Sea surface temperature")]))
    module        about
    geomar/ocean  Sea surface temperature
    """
    cells = [[clip(safe(cell), 10_000) for cell in row] for row in (head, *rows)]
    widths = [max(width_of(row[column]) for row in cells) for column in range(len(head))]
    if sys.stdout.isatty():
        before = sum(widths[:-1]) + 2 * (len(head) - 1)
        columns = shutil.get_terminal_size().columns
        widths[-1] = max(columns - before, _NARROWEST // 2)
    lines = []
    for row in cells:
        shown = [cell + " " * (widths[column] - width_of(cell)) for column, cell in enumerate(row[:-1])]
        lines.append("  ".join([*shown, clip(row[-1], widths[-1])]).rstrip())
    return "\n".join(lines)
