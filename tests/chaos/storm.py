"""Runs one storm: starts a network, lets the weather at it, waits for calm, ends it all, and tells what was seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from chaos.brokerview import subscriptions
from chaos.processes import Child, marked, of_this_run, usage
from chaos.proxy import Line
from chaos.record import Happened, Plan, Record
from chaos.weather import Fault, forecast

__all__ = ["storm"]

HERE = Path(__file__).resolve().parent
_SETTLE_S = 4.0
_STOP_S = 25.0
_CALM_TIMEOUT_S = 260.0
MODULE = "awi/storm"
_CALLERS = "landbridge local/"
_SHARED_MEMORY = Path("/dev/shm")


async def storm(plan: Plan, folder: Path, say: Callable[[str], None] = lambda text: None) -> Record:
    """Run a storm in `folder`, which must be empty, and return what was seen."""
    async with contextlib.AsyncExitStack() as stack:
        scene = _Scene(plan, folder, stack, say)
        await scene.set_up()
        await scene.rage()
        await scene.calm_down()
        await scene.take_down()
        return scene.record


class _Scene:
    def __init__(self, plan: Plan, folder: Path, stack: contextlib.AsyncExitStack, say: Callable[[str], None]) -> None:
        self.record = Record(plan)
        self._plan, self._folder, self._stack, self._say = plan, folder, stack, say
        self._run = secrets.token_hex(8)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LANDBRIDGE_")}
        self._env = marked(
            {
                **inherited,
                "XDG_STATE_HOME": str(folder / "state"),
                "XDG_CONFIG_HOME": str(folder / "config"),
                "TMPDIR": str(folder / "tmp"),
                "CHAOS_JOURNAL": str(folder / "journal"),
                "CHAOS_WORKERS": "1" if plan.workers else "",
                "PYTHONFAULTHANDLER": "1",
            },
            self._run,
        )
        self._local = folder / "state" / "landbridge" / "local"
        self._lines: dict[str, Line] = {}
        self._children: dict[str, Child] = {}
        self._generation: dict[str, int] = {}
        self._healing: set[asyncio.Task[None]] = set()
        self._hit: dict[str, int] = {}
        self._ending: set[int] = set()
        self._kills: dict[str, int] = {}
        self._memory_before = self._shared_memory()
        self._files_before: set[str] = set()

    # Before

    async def set_up(self) -> None:
        """Start everything, and note what it takes when nothing has gone wrong yet."""
        for name in ("tmp", "logs"):
            (self._folder / name).mkdir(parents=True)
        self._stack.push_async_callback(self._end_all)
        await self._start_network()
        plan = self._plan
        names = [f"backend {number}" for number in range(plan.backends)]
        names += [f"caller {number}" for number in range(plan.processes)]
        for name in names:
            line = self._lines[name] = Line(self._broker)
            await line.open()
            self._stack.push_async_callback(line.close)
        await asyncio.gather(*(self._start_backend(f"backend {number}") for number in range(plan.backends)))
        await asyncio.gather(*(self._start_caller(f"caller {number}", "warm") for number in range(plan.processes)))
        while MODULE not in self._catalogue_kept():  # written within 5 s; a keeper killed before forgets the module
            await asyncio.sleep(0.1)
        self._files_before = self._files()
        served = await self._subscriptions()
        self.record.subscriptions_before = {
            name: count for name, count in served.items() if not name.startswith(_CALLERS)
        }
        self.record.usage_before = self._usage()
        for name, child in self._children.items():
            if name.startswith("caller"):
                child.tell("storm")

    async def _start(self, name: str, arguments: list[str], env: dict[str, str]) -> Child:
        log = self._folder / "logs" / f"{name.replace(' ', '_')}.log"
        child = self._children[name] = await Child.start(arguments, env, log)
        return child

    async def _start_network(self) -> None:
        for _ in range(20):
            if '"event"' in (await self._start("broker", ["-m", "landbridge", "up", "--json"], self._env)).ready:
                return
            await asyncio.sleep(0.2)
        raise RuntimeError("the network could not be started; see broker.log")

    async def _start_backend(self, name: str) -> None:
        serve = ["-m", "landbridge", "serve", str(HERE / "served.py"), "--as", MODULE, "--json"]
        # At a restart the broker may just be away: whoever looks after a backend starts it until it stays.
        for _ in range(20):
            child = await self._start(name, serve, {**self._env, "LANDBRIDGE_URL": self._lines[name].url})
            if '"event"' in child.ready:  # an error is told in JSON, too
                self.record.backend_of[child.worker_pid] = name
                return
            await child.kill()
            await asyncio.sleep(0.5)
        raise RuntimeError(f"{name} could not be started; see its log")

    async def _start_caller(self, name: str, phase: str) -> None:
        index = int(name.split()[1])
        for _ in range(20):
            generation = self._generation[name] = self._generation.get(name, -1) + 1
            settings = {
                "name": f"{index}.{generation}",
                "phase": phase,
                "workers": self._plan.workers,
                "callers": self._plan.callers,
                "seed": self._plan.seed,
                "large_bytes": self._plan.large_bytes,
                "pause_s": self._plan.pause_s,
                "log": str(self._folder / "calls"),
            }
            env = {**self._env, "LANDBRIDGE_URL": self._lines[name].url}
            child = await self._start(name, [str(HERE / "caller.py"), str(index), json.dumps(settings)], env)
            if child.ready == "True":
                return
            self.record.killed_callers[f"{index}.{generation}"] = time.monotonic()
            await child.kill()
            await asyncio.sleep(0.5)
        raise RuntimeError(f"{name} could not be started; see its log")

    def _catalogue_kept(self) -> str:
        try:
            return (self._local / "catalogue.json").read_text()
        except FileNotFoundError:
            return ""

    def _broker(self) -> tuple[str, int] | None:
        found = self._broker_record()
        if found is None:
            return None
        host, _, port = found["url"].removeprefix("nats://").partition(":")
        return host, int(port.strip("/"))

    def _broker_record(self) -> dict | None:
        try:
            return json.loads((self._local / "broker.json").read_text())
        except (OSError, ValueError):
            return None

    async def _subscriptions(self) -> dict[str, int]:
        found = self._broker_record()
        assert found is not None
        return await subscriptions(self._local, found["url"])

    def _usage(self) -> dict[str, dict[str, int]]:
        pids = {pid: name for name, child in self._children.items() for pid in (child.pid, child.worker_pid)}
        return {f"{name} ({pid})": found for pid, name in pids.items() if (found := usage(pid))}

    def _files(self) -> set[str]:
        return {str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file()}

    @staticmethod
    def _shared_memory() -> set[str]:
        return set(os.listdir(_SHARED_MEMORY)) if _SHARED_MEMORY.is_dir() else set()

    # During

    async def rage(self) -> None:
        """Do all faults at their times."""
        plan = self._plan
        begin = time.monotonic()
        for fault in self._forecast():
            await asyncio.sleep(max(0.0, begin + fault.at_s - time.monotonic()))
            self._say(f"{fault.at_s:7.2f} s  {fault.kind}: {fault.victim}")
            task = asyncio.create_task(self._do(fault))
            self._healing.add(task)
            task.add_done_callback(self._note_failure)
        await asyncio.sleep(max(0.0, begin + plan.length_s - time.monotonic()))

    def _forecast(self) -> list[Fault]:
        plan = self._plan
        return forecast(
            plan.seed, plan.length_s, plan.processes, plan.backends, plan.every_s, plan.longest_s, plan.workers
        )

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        self._healing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.record.complaints.append(f"harness: {task.exception()!r}")

    async def _do(self, fault: Fault) -> None:
        begun = time.monotonic()
        does: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill broker": self._kill_broker,
            "kill backend": lambda fault: self._kill_backend(fault.victim, whole=bool(fault.amount)),
            "kill worker": self._kill_worker,
            "kill all backends": self._kill_all_backends,
            "stop backend": self._stop_backend,
            "kill caller": self._kill_caller,
            "kill network": self._kill_network,
            "freeze backend": self._freeze,
            "freeze caller": self._freeze,
        }
        try:
            await does.get(fault.kind, self._spoil_line)(fault)
        finally:
            self.record.faults.append(Happened(fault.kind, fault.victim, begun, time.monotonic()))

    async def _spoil_line(self, fault: Fault) -> None:
        line = self._lines[fault.victim]
        if fault.kind == "cut":
            line.cut(reset=bool(fault.amount))
            return
        hit = self._hit[fault.victim] = self._hit.get(fault.victim, 0) + 1
        if fault.kind == "stall":
            line.stall()
        elif fault.kind == "half open":
            line.half_open(told="peer" if fault.amount else "broker")
        elif fault.kind == "refuse":
            line.refusing = True
            line.cut()
        elif fault.kind == "delay":
            line.delay_s = fault.amount
        else:
            line.bytes_per_s = fault.amount
        await asyncio.sleep(fault.lasts_s)
        if self._hit[fault.victim] == hit:  # else a later fault of the same line heals both
            line.heal()

    async def _freeze(self, fault: Fault) -> None:
        pid = self._children[fault.victim].worker_pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(fault.lasts_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def _kill_broker(self, fault: Fault) -> None:
        """Kill the server; `landbridge up` starts it again, unless that is killed meanwhile and started again, too."""
        found = self._broker_record()
        if found is None:  # it is just being started
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(found["pid"], signal.SIGKILL)
        self._count("broker")
        while (now := self._broker_record()) is None or now["pid"] == found["pid"]:
            await asyncio.sleep(0.02)

    async def _kill_network(self, fault: Fault) -> None:
        """Kill what keeps the server and the catalogue, and with it both."""
        child = self._children["broker"]
        if not self._take(child):
            return
        await child.kill()
        await self._start_network()
        self._count("network")

    async def _kill_backend(self, name: str, *, whole: bool) -> None:
        """Kill a backend: with what looks after it, if something does, or so that it has to be looked after."""
        child = self._children[name]
        pid = child.worker_pid
        self._kills[name] = self._kills.get(name, 0) + 1
        if whole or pid == child.pid:
            if not self._take(child):
                return
            await child.kill()
            await asyncio.sleep(0.5)
            await self._start_backend(name)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            while child.running and (now := child.worker_pid) in (pid, child.pid):
                await asyncio.sleep(0.05)
            self.record.backend_of[now] = name
        self._count("backends")

    async def _kill_all_backends(self, fault: Fault) -> None:
        names = [f"backend {number}" for number in range(self._plan.backends)]
        await asyncio.gather(*(self._kill_backend(name, whole=bool(fault.amount)) for name in names))

    async def _kill_worker(self, fault: Fault) -> None:
        """Kill one of the processes that run a single method now."""
        running: set[int] = set()
        for line in (self._folder / "journal").read_text().splitlines():
            what, _, pid, _ = line.split()
            (running.add if what == "start" else running.discard)(int(pid))
        workers = sorted(running - self.record.backend_of.keys() & of_this_run(self._run).keys())
        if workers:
            os.kill(workers[0], signal.SIGKILL)
            self._count("workers")

    async def _stop_backend(self, fault: Fault) -> None:
        child = self._children[fault.victim]
        if not self._take(child):
            return
        kills = self._kills.get(fault.victim, 0)
        exit_code = await child.stop(_STOP_S + self._plan.longest_s)
        if self._kills.get(fault.victim, 0) == kills:  # else it may well say that calls were lost
            self.record.exits[f"{fault.victim} ({child.pid})"] = exit_code
        await self._start_backend(fault.victim)
        self._count("backends")

    def _take(self, child: Child) -> bool:
        """Whether this process may be ended now: it runs, and no other fault is ending it."""
        taken = child.pid in self._ending
        self._ending.add(child.pid)
        return child.running and not taken

    async def _kill_caller(self, fault: Fault) -> None:
        child = self._children[fault.victim]
        name = f"{fault.victim.split()[1]}.{self._generation[fault.victim]}"
        if not self._take(child):
            return
        self.record.killed_callers[name] = time.monotonic()
        await child.kill()
        await self._start_caller(fault.victim, "storm")
        self._count("callers")

    def _count(self, what: str) -> None:
        self.record.restarts[what] = self.record.restarts.get(what, 0) + 1

    # After

    async def calm_down(self) -> None:
        """Heal everything, have each caller call once more, and wait for code that nobody wants any more to end."""
        while self._healing:
            await asyncio.wait(self._healing)
        for line in self._lines.values():
            line.heal()
        self._say("healed")
        await asyncio.sleep(_SETTLE_S)
        self.record.calm_at = time.monotonic()
        callers = [child for name, child in self._children.items() if name.startswith("caller")]
        for child in callers:
            child.tell("calm")
        answers = await asyncio.gather(*(child.line(_CALM_TIMEOUT_S) for child in callers))
        for child, answer in zip(callers, answers, strict=True):
            if answer != "True":
                self.record.complaints.append(f"caller {child.pid} did not come to its calm calls: {answer!r}")
        self._say("calm")
        await asyncio.sleep(max(0.0, self.record.calm_at + self._plan.patience_s - time.monotonic()))
        self.record.usage_after = self._usage()
        self.record.alive_at_end = set(of_this_run(self._run))

    async def take_down(self) -> None:
        """End everything in order, and look what is left."""
        names = [name for name in self._children if name.startswith("caller")]
        for name in names:
            self._children[name].tell("end")
        await asyncio.gather(*(self._note_exit(name, self._children[name].ended(35.0)) for name in names))
        self.record.subscriptions_after = await self._subscriptions()
        names = [name for name in self._children if name.startswith("backend")]
        await asyncio.gather(*(self._note_exit(name, self._children[name].stop(_STOP_S)) for name in names))
        await self._note_exit("broker", self._children["broker"].stop(_STOP_S))
        self.record.left_processes = [f"{pid} {command}" for pid, command in of_this_run(self._run).items()]
        own = {"calls", "journal", *(f"logs/{path.name}" for path in (self._folder / "logs").iterdir())}
        self.record.left_files = sorted(self._files() - self._files_before - own)
        self.record.left_memory = sorted(
            name
            for name in self._shared_memory() - self._memory_before
            if name.startswith(("landbridge", "lb", "psm_"))
        )
        self.record.calls = (self._folder / "calls").read_text().splitlines()
        self.record.journal = (self._folder / "journal").read_text().splitlines()
        self.record.complaints += _complaints(self._folder / "logs")

    async def _note_exit(self, name: str, ended: Awaitable[int | None]) -> None:
        self.record.exits[name] = await ended

    async def _end_all(self) -> None:
        for task in list(self._healing):
            task.cancel()
        for child in self._children.values():
            if child.running:
                await child.kill()


# What Landbridge says when something inside it has failed that it should have foreseen, and what Python says.
_FAILURES = (
    "hand-over between threads failed", "subscription's callback failed", "could not be served",
    "listens to the connection's events failed", "never retrieved", "Exception ignored", "was never awaited",
    "Fatal Python error", "hang:", "Exception in thread", "Exception in callback",
)  # fmt: skip


def _complaints(logs: Path) -> list[str]:
    found = []
    for log in sorted(logs.iterdir()):
        lines = log.read_text(errors="replace").splitlines()
        for number, text in enumerate(lines):
            if any(failure in text for failure in _FAILURES):
                found.append(f"{log.stem}: " + "\n".join(lines[number : number + 25]))
    return found
