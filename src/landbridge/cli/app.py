"""Which commands there are. Each is imported when it is used, so that ``landbridge --help`` answers at once."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from .. import __version__
from ..errors import printable
from ..names import nearest
from .ending import UsageError

__all__ = ["app", "dispatch"]

app = App(
    name="landbridge",
    help="Call your colleagues' Python functions, at other institutes, as if they were local.",
    version=__version__,
    version_flags=("--version",),
    # Flags have no second form, and the texts tell the defaults where they matter.
    default_parameter=Parameter(negative=(), show_default=False),
    help_format="plaintext",
    help_epilogue="Help for one command: landbridge COMMAND --help",
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)

# The texts stand here because reading them from the functions would import all commands.
_COMMANDS = {
    "up": "Run the network of this computer until Ctrl-C.",
    "serve": "Make the functions of a Python file callable by colleagues.",
    "share": "Share what you serve with others, for a time or within limits; or show what is shared.",
    "revoke": "Stop sharing what you serve, at once; or shut out a person or an institute.",
    "approve": "Let go, or refuse, what came of calls and waits for your approval.",
    "audit": "Show who called what you serve, and check that the log is whole.",
    "ls": "List the modules of the network.",
    "describe": "Show what a module offers, or how one of its methods is called.",
    "call": "Call a method and print its value, or write it to a file.",
    "whoami": "Show who you are in the network, and until when.",
    "join": "Join a network with an invitation.",
    "invite": "Invite a person into your institute, or an institute into your network.",
    "admit": "Let those in whom your institute has invited, and renew credentials.",
    "rotate": "Replace the keys with which your institute signs its people.",
    "trust": "Show by which keys institutes are known, or accept another one.",
    "top": "Show how busy the modules of the network are.",
    "doctor": "Test each step of the way to the network and say which one fails.",
    "demo": "Run a small network of three institutes on real data.",
}
for _number, (_name, _help) in enumerate(_COMMANDS.items()):
    app.command(f"landbridge.cli.{_name}:{_name}", name=_name, help=_help, sort_key=_number)


def dispatch(words: Sequence[str]) -> int:
    """Run the command that `words` say, and return its exit code.

    Raises
    ------
    UsageError
        When they say none, or not as the command takes them.
    """
    if words and words[0] == "call":
        # It reads its words itself: its options are those of a method that only the network knows.
        from .call import call

        call(*words[1:])
        return 0
    if words and not words[0].startswith("-") and words[0] not in _COMMANDS:
        # The library would import all commands in order to say so.
        meant = nearest(words[0], _COMMANDS)
        hint = f" Did you mean {meant!r}?" if meant else ""
        raise UsageError(f"there is no command {printable(repr(words[0]), 80)}.{hint}\nSee: landbridge --help")
    try:
        code = app(list(words))
    except CycloptsError as error:
        chain = " ".join(["landbridge", *(error.command_chain or ())])
        raise UsageError(f"{str(error).strip()}\nSee: {chain} --help") from None
    return code if isinstance(code, int) else 0
