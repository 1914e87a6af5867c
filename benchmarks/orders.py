"""How a process that measures is told what to measure: an order is a line of JSON, and so is the answer.

The process leaves when its standard input ends, in the midst of a measurement, too: it never outlives who started it.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any


def follow(measures: dict[str, Callable[..., Any]]) -> None:
    """Answer orders such as ``{"do": "latency", "calls": 400}`` until there are no more.

    Parameters
    ----------
    measures : dict
        Functions by what an order calls them; the rest of the order are their keyword arguments.
    """
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            orders.put(json.loads(line))
        os._exit(0)

    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    threading.Thread(target=read, daemon=True).start()
    print("ready", file=answers, flush=True)
    while True:
        order = orders.get()
        measure = measures[order.pop("do")]
        try:
            answer = {"value": measure(**order)}
        except Exception as error:  # what is measured may raise anything: it is reported, not judged, here
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
