"""Serves the benchmarks' methods by Pyro5; ends when its standard input does."""

import os
import sys
import threading

import Pyro5.api


@Pyro5.api.expose
class Work:
    """The same methods as `../work.py`, in the form that Pyro5 wants."""

    def add(self, a, b):
        """Return the sum of two whole numbers."""
        return a + b

    def echo(self, value):
        """Return what was given."""
        return value


def follow() -> None:
    sys.stdin.read()
    os._exit(0)


Pyro5.config.THREADPOOL_SIZE = 100  # each connection keeps one
daemon = Pyro5.api.Daemon(host="127.0.0.1")
uri = daemon.register(Work())
threading.Thread(target=follow, daemon=True).start()
print("ready", uri, flush=True)
daemon.requestLoop()
