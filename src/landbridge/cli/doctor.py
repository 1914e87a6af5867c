"""``landbridge doctor``: does each step of the way to the network, and names the one that fails."""

from __future__ import annotations

import calendar
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..broker import Connection
from ..broker.probe import HopFailed, probe
from ..client.access import Access
from ..client.link import Link
from ..client.loop import wait_for
from ..errors import LandbridgeError, NotConfigured
from ..hub.access import chosen_profile, resolve
from ..hub.serve import is_own_network
from ..names import Address, parse_address
from ..protocol import PRESENCE_SILENCE_S
from ..security import decode_jwt
from ..settings import local_dir, read_profile, running_broker, selected_profile, selected_tls, selected_url
from ..tls import Tls
from .console import safe, show, show_json
from .ending import UNREACHABLE
from .network import connected, described, listed_modules

__all__ = ["doctor"]

_ROUND_TRIPS = 5
_CLOCK_TOLERANCE_S = 5.0


def doctor(module: str | None = None, /, *, profile: str | None = None, json: bool = False) -> int:
    """Test each step of the way to the network and say which one fails.

    Parameters
    ----------
    module
        institute/module to be asked, too; by default those of your institute that are online.
    profile
        Which network, and as whom; by default the network of this computer.
    json
        Print a JSON object with all steps.
    """
    wanted = parse_address(module) if module is not None else None
    report = _Report(live=not json)
    with suppress(_Stop):
        _examine(report, wanted, profile)
    if json:
        show_json({"ok": report.ok, "steps": report.steps})
    elif report.ok:
        show("All is well.")
    return 0 if report.ok else UNREACHABLE


class _Stop(Exception):
    """Ends the examination: what follows would fail for the same reason."""


class _Report:
    def __init__(self, *, live: bool) -> None:
        self.ok = True
        self.steps: list[dict[str, object]] = []
        self._live = live

    def passed(self, step: str, detail: str) -> None:
        self._add(step, True, detail, "")

    def failed(self, step: str, detail: str, advice: str = "") -> None:
        self.ok = False
        self._add(step, False, detail, advice)

    @contextmanager
    def step(self, step: str) -> Iterator[None]:
        """Make an error in the body the outcome of `step`, and the end."""
        try:
            yield
        except LandbridgeError as error:
            self.failed(step, str(error))
            raise _Stop from None

    def _add(self, step: str, ok: bool, detail: str, advice: str) -> None:
        self.steps.append({"step": step, "ok": ok, "detail": detail, "advice": advice})
        if self._live:
            show(f"{'ok    ' if ok else 'FAILED'}  {step:<17} {safe(detail)}")
            if advice:
                show(f"{'':26}{safe(advice)}")


def _examine(report: _Report, wanted: Address | None, profile: str | None) -> None:
    with report.step("configuration"):
        report.passed("configuration", _configuration(profile))
    own = is_own_network(profile) and selected_url() is None
    with report.step("broker record"):
        websocket_url = _own_broker(report) if own else None
    with report.step("credential"):
        access = resolve(profile)
        _credential(report, access)
    reached = [url for url in access.urls if _probe(report, url, "", access.tls)]
    if websocket_url is not None:
        _probe(report, websocket_url, "browser ", access.tls)
    if not reached:
        raise _Stop
    with report.step("login"):
        wait_for(_login(report, access))
    with report.step("catalogue"), connected(profile) as link:
        modules = listed_modules(link)
        online = [entry["module"] for entry in modules if entry["backends"]]
        report.passed("catalogue", f"{len(modules)} modules, {len(online)} of them online")
        _clock(report, [entry["seen"] for entry in modules if entry["backends"]])
        addresses = [parse_address(name) for name in online if not name.startswith("lb/")]
        for address in [wanted] if wanted else [a for a in addresses if own or a.institute == access.institute]:
            _ask(report, link, address)


def _configuration(profile: str | None) -> str:
    chosen, url = chosen_profile(profile), selected_url()
    said_by = "from LANDBRIDGE_PROFILE" if selected_profile() else "the only one, as this computer has no network"
    said_by = "from --profile" if profile else said_by
    at = f", at the address in LANDBRIDGE_URL: {url}" if url else ""
    selected_tls()  # says what is wrong with its files
    if chosen is None:
        return f"no profile is chosen, so the network of this computer is used ({local_dir()}){at}"
    if "/" in chosen:
        return f"as {chosen} ({said_by}) on the network of this computer ({local_dir()}){at}"
    return f"profile {chosen} ({said_by}): {', '.join(read_profile(chosen).urls)}{at}"


def _own_broker(report: _Report) -> str:
    broker = running_broker()
    if broker is None:
        raise NotConfigured(
            f"no network runs on this computer ({local_dir()}). Start it in another terminal: landbridge up"
        )
    report.passed("broker record", f"{broker.network} at {broker.url}, process {broker.pid}, since {broker.started}")
    return broker.websocket_url


def _credential(report: _Report, access: Access) -> None:
    claims = decode_jwt(access.user_jwt())
    now, issued, expires = time.time(), claims.get("iat"), claims.get("exp")
    who = f"{access.institute}/{access.person}"
    if isinstance(expires, int) and 0 < expires < now:
        report.failed("credential", f"that of {who} expired at {_utc(expires)}", "Ask your institute for a new one.")
        raise _Stop
    if isinstance(issued, int) and issued > now + _CLOCK_TOLERANCE_S:
        report.failed(
            "clock", f"the credential of {who} was issued at {_utc(issued)}, {issued - now:.0f} s from now",
            "The clock of this computer is behind, or that of the issuer ahead. Set it (NTP).",
        )  # fmt: skip
        return
    until = f"valid until {_utc(expires)}" if isinstance(expires, int) and expires else "without end"
    report.passed("credential", f"{who}, {until}")


def _utc(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s after 1970"


def _probe(report: _Report, url: str, prefix: str, tls: Tls) -> bool:
    try:
        probe(url, lambda hop, found: report.passed(f"{prefix}{hop}", found), tls)
    except HopFailed as failed:
        report.failed(f"{prefix}{failed.hop}", failed.text, failed.advice)
        return False
    return True


async def _login(report: _Report, access: Access) -> None:
    connection = await Connection.open(
        access.urls,
        user_jwt=access.user_jwt,
        sign=access.sign,
        name="landbridge doctor",
        on_event=lambda event: None,
        tls=access.tls,
    )
    try:
        report.passed("login", f"the broker accepts {access.institute}/{access.person}")
        times = [await connection.rtt() for _ in range(_ROUND_TRIPS)]
        report.passed("round trip", f"{statistics.median(times) * 1000:.1f} ms")
        report.passed("message size", f"up to {connection.max_payload:,} bytes; longer values travel in parts")
    finally:
        await connection.close()


def _clock(report: _Report, seen: list[str]) -> None:
    """Compare our clock with that of the catalogue, which wrote down when it last heard of somebody."""
    with suppress(ValueError):
        latest = max(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) for text in seen)
        behind = time.time() - latest
        if -_CLOCK_TOLERANCE_S < behind < PRESENCE_SILENCE_S + _CLOCK_TOLERANCE_S:
            report.passed("clock", "agrees with that of the network")
        else:
            report.failed("clock", f"it differs from that of the network by about {behind:.0f} s", "Set it (NTP).")


def _ask(report: _Report, link: Link, address: Address) -> None:
    name = f"{address.institute}/{address.module}"
    began = time.monotonic()
    try:
        spec = described(link, address)
    except LandbridgeError as error:
        report.failed(name, str(error))
        return
    took_ms = (time.monotonic() - began) * 1000
    report.passed(name, f"answers within {took_ms:.0f} ms; shows you {len(spec.methods)} methods")
