"""The command ``landbridge``.

======================  ================================================================
`cli.app`               which commands there are; each is imported when it is used
`cli.ending`            how a command ends: texts of errors, exit codes
`cli.console`           data on stdout, talk on stderr, nothing that steers a terminal
`cli.signals`           Ctrl-C and SIGTERM for commands that go on
`cli.logs`              their log: for people, or one JSON object a line
`cli.up`, `cli.serve`   … one file for each command
`cli.backend`           the process that `cli.serve` keeps running
`cli.screen`            a screen of its own in the terminal
`cli.loadtable`         what backends answered → the table of ``top``
`cli.input`             a shell's words → a method's arguments
`cli.output`            a method's value → text, JSON or a file
======================  ================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code.

    Parameters
    ----------
    words : sequence of str, optional
        What stands behind ``landbridge``; by default what the shell gave.
    """
    from .ending import run

    sys.exit(run(list(sys.argv[1:] if words is None else words)))
