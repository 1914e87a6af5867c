"""Methods that run in processes of their own, for the benchmark of cancelling."""

import os

import landbridge as lb


@lb.method(process=True)
def burn() -> None:
    """Compute until stopped."""
    while True:
        pass


@lb.method(process=True)
def number() -> int:
    """Return the number of the process that runs this."""
    return os.getpid()
