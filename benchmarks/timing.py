"""What is said of a list of times."""

from __future__ import annotations

import statistics

WARM_UP = 50
"""Calls that are made before any is timed."""


def spread(times: list[float]) -> dict[str, float]:
    """Return the median, the mean and the 99th percentile."""
    ordered = sorted(times)
    return {
        "p50_s": statistics.median(ordered),
        "mean_s": statistics.fmean(ordered),
        "p99_s": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }
