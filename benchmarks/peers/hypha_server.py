"""Runs ``python -m hypha.server`` with the arguments given; ends when its standard input does."""

import os
import runpy
import sys
import threading


def follow() -> None:
    sys.stdin.read()
    os._exit(0)


# Nobody reads the standard output, and a full pipe would stop the server: all goes to standard error.
os.dup2(2, 1)
threading.Thread(target=follow, daemon=True).start()
runpy.run_module("hypha.server", run_name="__main__", alter_sys=True)
