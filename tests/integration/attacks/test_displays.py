"""Attacks on who looks: names, texts, errors and values made to steer a terminal, a log, a table or a notebook."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import secrets
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import landbridge as lb
from integration.attacks.stage import MARK, request
from landbridge.hub.joining import join
from landbridge.protocol import Presence, pack_presence
from network import COMMAND

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
EVIL = (
    "\x1b]0;owned\x07\x1b[2J\x1b[8m\x9b31m\x08\r\u202egnp.exe\u2066\u2028\x85"
    "<script>alert(1)</script><img src=x onerror=alert(2)>"
)

SHINY = f"""
import enum
import landbridge as lb
import xarray as xr

EVIL = {EVIL!r}

class Colour(enum.Enum):
    RED = EVIL

def paint(colour: str = EVIL, size: int = 1) -> str:
    return EVIL
paint.__doc__ = "Paint " + EVIL + "\\n\\nParameters\\n----------\\ncolour : str\\n    " + EVIL

def fails() -> None:
    raise ValueError(EVIL)

def fails_oddly() -> None:
    raise type("Odd" + EVIL, (Exception,), {{}})(EVIL)

def prints() -> None:
    print(EVIL)

def steps(n: int):
    for _ in range(n):
        yield EVIL

def table() -> dict:
    return {{EVIL: [EVIL, {{"x": EVIL}}]}}

@lb.dataset
def picture() -> xr.Dataset:
    return xr.Dataset({{"t": ("x", [1.0], {{"units": EVIL}})}}, attrs={{"title": EVIL}})
picture.__doc__ = "Picture " + EVIL

__doc__ = "Shiny " + EVIL + "\\n\\nMore " + EVIL
__version__ = "1" + EVIL
__all__ = ["paint", "fails", "fails_oddly", "prints", "steps", "table", "picture"]
"""


class Reader(HTMLParser):
    """Reads HTML as a browser would."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.found += [tag, *(name for name, _ in attrs)]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def shiny(stage):
    """Serve what mallory has made, for everybody to look at."""
    return stage.mallory.computer.serve(SHINY, "gfz/mallory", "--share", "*/*")


def is_harmless(shown: str) -> None:
    assert STEERING.search(shown) is None, ascii(STEERING.search(shown))


COMMANDS = {
    "the list of modules": ("ls",),
    "the list of modules for programs": ("ls", "--json"),
    "a module": ("describe", "gfz/mallory"),
    "a module for programs": ("describe", "gfz/mallory", "--json"),
    "a method": ("describe", "gfz/mallory.paint"),
    "a data set": ("describe", "gfz/mallory.picture"),
    "the help of a method": ("call", "gfz/mallory.paint", "--help"),
    "a value for programs": ("call", "gfz/mallory.paint", "--json"),
    "an error": ("call", "gfz/mallory.fails"),
    "an error for programs": ("call", "gfz/mallory.fails", "--json"),
    "an error of a name of its own": ("call", "gfz/mallory.fails_oddly"),
    "how busy modules are": ("top", "--once"),
    "what is known of institutes": ("trust",),
    "what is known of gfz": ("trust", "gfz"),
    "who one is": ("whoami",),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_no_terminal_is_steered_by(stage, shiny, what):
    ran = stage.bob.computer.run(*COMMANDS[what], code=None)
    is_harmless(ran.stdout)
    is_harmless(ran.stderr)
    assert "Traceback" not in ran.stderr
    assert (ran.returncode == 0) == ("error" not in what), ran.stderr
    assert ran.stdout + ran.stderr
    assert MARK not in ran.stdout


VALUES = {
    "a text": ("call", "gfz/mallory.paint"),
    "texts one by one": ("call", "gfz/mallory.steps", "--n", "2"),
    "a table": ("call", "gfz/mallory.table"),
    "an error": ("call", "gfz/mallory.fails"),
    "an error of a name of its own": ("call", "gfz/mallory.fails_oddly"),
    "the list of modules": ("ls",),
    "a module": ("describe", "gfz/mallory"),
    "a method": ("describe", "gfz/mallory.paint"),
}


def seen_at_a_terminal(computer, *words: str) -> str:
    """Return what a command shows when that is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *words], env=computer.env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # Linux says so when the other side has gone
            while chunk := os.read(ours, 65536):
                seen += chunk
        os.close(ours)
        process.wait(60)
    return seen.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("what", VALUES)
def test_no_terminal_is_steered_by_what_is_for_people(stage, shiny, what):
    """Into a file or a program, a value goes as it is; a terminal is another matter."""
    seen = seen_at_a_terminal(stage.bob.computer, *VALUES[what])
    is_harmless(seen)
    assert "script" in seen or what == "the list of modules"


LOOKS = {
    "the network": lambda net: net,
    "the institute": lambda net: net.gfz,
    "the module": lambda net: net["gfz/mallory"],
    "a method": lambda net: net["gfz/mallory"].paint,
    "a stream": lambda net: net["gfz/mallory"].steps,
    "a kept value": lambda net: net["gfz/mallory"].paint.keep(),
    "an error": lambda net: error_of(net["gfz/mallory"].fails),
    "an error of a name of its own": lambda net: error_of(net["gfz/mallory"].fails_oddly),
    "a call": lambda net: ended(net["gfz/mallory"].paint.start()),
    "a call that has failed": lambda net: ended(net["gfz/mallory"].fails.start()),
}


def error_of(method):
    with pytest.raises(lb.LandbridgeError) as caught:
        method()
    return caught.value


def ended(call):
    with contextlib.suppress(lb.LandbridgeError):
        call.result(30)
    return call


@pytest.mark.parametrize("what", LOOKS)
def test_no_notebook_is_made_to_run_or_load_anything_by(stage, shiny, what):
    with stage.bob.connected() as net:
        seen = LOOKS[what](net)
        shown, text = getattr(seen, "_repr_html_", lambda: "")(), repr(seen)
    reader = Reader()
    reader.feed(shown)
    assert not {"script", "img", "iframe", "object", "link", "a", "onerror", "src", "href"} & set(reader.found)
    is_harmless(shown)
    is_harmless(reader.text)
    is_harmless(text)
    assert shown or text


def test_docstrings_and_signatures_are_harmless(stage, shiny):
    with stage.bob.connected() as net:
        module = net["gfz/mallory"]
        for each in (module, module.paint, module.steps):
            is_harmless(str(each.__doc__))
        assert "Paint" in module.paint.__doc__
        stub = stage.bob.computer.python(
            "import landbridge.remote.gfz.mallory as m; print(m.__doc__); help(m.paint)"
        ).stdout
    is_harmless(stub.replace("\r", ""))


def test_what_a_module_announces_is_shown_harmlessly(stage):
    eve = stage.eve.tap_of(stage.eve.forge("eve", "module:loud"), who=("gfz", "eve"))
    eve.publish("lb.cat.gfz.loud", pack_presence(Presence(secrets.token_hex(16), True, EVIL, EVIL)))
    eve.flush()
    shown = stage.bob.computer.run("ls").stdout
    assert "gfz/loud" in shown
    is_harmless(shown)
    with stage.bob.connected() as net:
        html = net._repr_html_()
    assert "<script" not in html
    is_harmless(html)


@pytest.mark.parametrize("field", ["name", "person", "institute", "url"])
def test_an_invitation_with_escapes_in_it_shows_none(stage, field):
    genuine = stage.invite_person(stage.eve, "viewer")
    evil = {
        "name": {"network_name": EVIL},
        "person": {"person": f"viewer{EVIL}"},
        "institute": {"institute": f"gfz{EVIL}"},
        "url": {"urls": (f"nats://127.0.0.1:1/{EVIL}",)},
    }[field]
    victim = stage.site.computer(f"viewer-{field}")
    ran = victim.run("join", given=replace(genuine, **evil).format(), code=None)
    is_harmless(ran.stdout + ran.stderr)
    assert (ran.returncode == 0) == (field == "name"), ran.stderr
    assert bool(list(victim.profiles.glob("*.toml"))) == (field == "name")


LOGGED = ["\x1b[2J", "\x9b31m", "\u202egnp", "\u2028x", "\x85x", "secret\x07", "x" * 3000, "%s%n", "{0}", "\x00"]


@pytest.mark.parametrize("token", LOGGED, ids=lambda token: ascii(token[:12]))
def test_no_log_or_terminal_of_an_owner_is_steered_by_what_a_stranger_calls(stage, mallory, token):
    call_id = secrets.token_hex(16)
    mallory.publish(f"lb.call.gfz.mallory.awi.stats.{token}", request(), mallory.inbox(call_id))
    mallory.publish(f"lb.call.gfz.mallory.gfz.id.{token}", request(), mallory.inbox(call_id))
    assert mallory.code("awi.stats.secret") == "denied"
    for process in (stage.stats, *stage.issuers, stage.site.up):
        is_harmless(process.stderr)
        assert "Traceback" not in process.stderr
    for options in ((), ("--json",), ("--csv",)):
        ran = stage.awi.computer.run("audit", "awi/stats", "--caller", "gfz/mallory", *options)
        is_harmless(ran.stdout + ran.stderr)


def test_what_an_owner_sees_of_members_is_harmless_even_when_the_register_is_not(stage):
    with stage.eve.acting():
        file = stage.eve.ours.folder / "members.json"
        before = file.read_text()
        file.write_text(before.replace('"mallory"', '"mal\\u001b[2J\\u202elory"'))
        try:
            shown = stage.eve.computer.run("whoami", "--members").stdout
            shown += stage.eve.computer.run("whoami", "--members", "--json").stdout
        finally:
            file.write_text(before)
    assert "lory" in shown
    is_harmless(shown)


def test_a_persons_invitation_that_is_shown_once_is_not_shown_again(stage):
    invitation = stage.invite_person(stage.eve, "quiet")
    with stage.actor("quiet", "gfz").acting():
        join(invitation.format())
    for admin in (stage.eve, stage.awi):
        shown = admin.computer.run("whoami", "--members").stdout
        shown += admin.computer.run("audit", f"{admin.profile}/id").stdout
        assert invitation.credentials.seed not in shown
        assert invitation.credentials.jwt not in shown
    for process in (*stage.issuers, stage.site.up, stage.stats):
        assert "eyJ" not in process.stderr
        assert "SUA" not in process.stderr
