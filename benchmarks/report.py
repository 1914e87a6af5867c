"""What a benchmark found, as rows of a table: our figures, those of the limit, and their ratio round by round."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

_SCALES = {"ms": 1e3, "us": 1e6, "s": 1.0, "/s": 1.0, "MB/s": 1e-6, "MB": 1e-6, "KB": 1e-3, "bytes": 1.0, "calls": 1.0}
_DIGITS = {"ms": 3, "us": 0, "s": 2, "/s": 0, "MB/s": 0, "MB": 1, "KB": 1, "bytes": 1, "calls": 0}


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    name : str
        What was measured.
    unit : str
        How it is shown: times are kept in seconds, sizes in bytes.
    ours, limit : list of float
        Figures of Landbridge and of what it is compared with, by round; `limit` is
        empty if it is compared with nothing.
    reach : str
        What the ratio should be, as in ``<= 1.5``.
    failed : str
        Why it could not be measured; empty when it could.
    note : str
        What one has to know about it.
    """

    name: str
    unit: str
    ours: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)
    reach: str = ""
    failed: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Median over rounds of our figure by the limit's."""
        if not self.ours or len(self.ours) != len(self.limit):
            return None
        return statistics.median(a / b for a, b in zip(self.ours, self.limit, strict=True))

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is as good as it should be; None where nothing was asked for or measured."""
        if not self.reach or self.failed:
            return None
        comparison, number = self.reach.split()
        if self.ratio is None:
            return False
        return self.ratio <= float(number) if comparison == "<=" else self.ratio >= float(number)

    def show(self, values: list[float]) -> str:
        """Return the median as people read it."""
        if not values:
            return ""
        value = statistics.median(values) * _SCALES[self.unit]
        return f"{value:,.{_DIGITS[self.unit]}f}{'' if self.unit.startswith('/') else ' '}{self.unit}"

    def lines(self) -> list[str]:
        """Return the row as text."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        missed = "NOT REACHED" if self.reached is False else ""
        cells = (
            f"{self.name:56} {self.show(self.ours):>13} {self.show(self.limit):>13} {ratio:>7}  {self.reach:7} {missed}"
        )
        lines = [cells.rstrip()]
        if self.failed:
            lines.append(f"    not measured: {self.failed}")
        if self.note:
            lines.append(f"    {self.note}")
        return lines

    def data(self) -> dict[str, Any]:
        """Return the row as data."""
        return {**vars(self), "ratio": self.ratio, "reached": self.reached}


@dataclass
class Part:
    """Rows that are compared with the same limit.

    Attributes
    ----------
    title : str
        What they are about.
    limit : str
        What they are compared with.
    rows : list of Row
    figures : dict
        All that was measured, for whoever wants more than the table.
    """

    title: str
    limit: str
    rows: list[Row]
    figures: dict[str, Any]

    def lines(self) -> list[str]:
        """Return the table as text."""
        head = f"{self.title:56} {'landbridge':>13} {self.limit:>13} {'ratio' if self.limit else '':>7}"
        return ["", head.rstrip(), *(line for row in self.rows for line in row.lines())]

    def data(self) -> dict[str, Any]:
        """Return the part as data."""
        return {**vars(self), "rows": [row.data() for row in self.rows]}
