"""Run storms for some minutes, write a report, and say whether the promises were kept (see tests/chaos)."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from chaos.judge import Verdict, judge  # noqa: E402 - found only now
from chaos.record import Plan  # noqa: E402 - found only now
from chaos.report import page  # noqa: E402 - found only now
from chaos.storm import storm  # noqa: E402 - found only now

STORM_S = 150.0
PATIENCE_S = 90.0  # the backend gives up silent callers after 60 s, and code that cannot be interrupted ends by itself


def one(plan: Plan) -> Verdict:
    """Run one storm; what it wrote is kept only if a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="landbridge-chaos-"))
    print(f"Seed {plan.seed}, in {folder}", flush=True)
    verdict = judge(asyncio.run(storm(plan, folder, lambda text: print(f"  {text}", flush=True))))
    for broken in verdict.broken:
        print(f"  BROKEN: {broken}", flush=True)
    calls = sum(verdict.outcomes.values())
    print(
        f"  {calls:,} calls, {sum(verdict.faults.values())} faults, {len(verdict.broken)} broken promises", flush=True
    )
    if not verdict.broken:
        shutil.rmtree(folder)
    return verdict


def main() -> int:
    """Run the storms and return 0 when no promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long all storms take together (10)")
    parser.add_argument("--seed", type=int, default=1, help="of the first storm; the next ones count up (1)")
    parser.add_argument("--every", type=float, default=1.5, help="mean seconds between two faults (1.5)")
    parser.add_argument("--large", type=float, default=50.0, help="largest value in MB (50)")
    parser.add_argument(
        "--workers",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="call methods in worker processes, too (yes)",
    )
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "faults.md", help="written at the end")
    chosen = parser.parse_args()
    around_s = PATIENCE_S + 40.0
    storms = max(1, round(chosen.minutes * 60 / (STORM_S + around_s)))
    length_s = max(10.0, chosen.minutes * 60 / storms - around_s)
    verdicts = [
        one(
            Plan(
                seed, round(length_s), every_s=chosen.every, large_bytes=round(chosen.large * 1e6),
                workers=chosen.workers, patience_s=PATIENCE_S,
            )
        )
        for seed in range(chosen.seed, chosen.seed + storms)
    ]  # fmt: skip
    chosen.report.write_text(page(verdicts), encoding="utf-8")
    return int(any(verdict.broken for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
