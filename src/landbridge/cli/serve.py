"""``landbridge serve``: the functions of a Python file, or data, for colleagues. The work is done in `backend`."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import NotConfigured
from ..hub.supervisor import supervise
from .console import say
from .ending import UsageError

__all__ = ["serve"]

_METRICS_BACKLOG = 32
_LONGEST_GRACE_S = 7 * 24 * 3600


def serve(
    what: str,
    /,
    *,
    name: Annotated[str, Parameter(name="--as")],
    share: Annotated[tuple[str, ...], Parameter(name="--share")] = (),
    onward: Annotated[tuple[str, ...], Parameter(name="--onward")] = (),
    profile: str | None = None,
    workers: int | None = None,
    reload: bool = False,
    grace: float = 30.0,
    metrics: Annotated[tuple[int, ...] | None, Parameter(consume_multiple=(0, 1), metavar="[PORT]")] = None,
    log_format: Literal["text", "json"] = "text",
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    json: bool = False,
) -> int:
    """Make the functions of a Python file callable by colleagues, or a data file readable, until Ctrl-C.

    Only what a Python file names is served: the functions in its __all__, or those with @landbridge.method or
    @landbridge.dataset. Of a data file, colleagues read the parts they select. When the process that serves dies, it is
    started again.

    Parameters
    ----------
    what
        A Python file, the folder of a package, or the name of a module that can be imported; or data: a file
        (NetCDF, HDF5, GRIB, Parquet, CSV), a Zarr folder, or a pattern such as 'sst_*.nc', in quotes.
    name
        What it is called in the network: institute/module.
    share
        Who may call it beyond your institute: awi/anna, awi/* or */*. May be given several times.
    onward
        Whose methods may be given references to its results, beyond whom it is shared with; several times.
    profile
        Which network, and as whom; by default the network of this computer.
    workers
        How many processes run methods that are to have one of their own (process=True); by default one for each CPU.
    reload
        Serve the new version whenever the file, or a Python file beside it, has changed.
    grace
        How long calls that run may go on when it is told to stop, in seconds. A second Ctrl-C ends them at once.
    metrics
        Show metrics for Prometheus to programs on this computer, at a port or at a free one.
    log_format
        Write the log for people, or as one JSON object a line.
    log_level
        What the log tells: debug has the end of every call.
    json
        Print one line of JSON when it is served, and one whenever it is served again.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: must be at least 1; leave it out for one for each CPU.")
    if not 0 <= grace <= _LONGEST_GRACE_S:
        raise UsageError(f"--grace {grace:g}: must be from 0 to {_LONGEST_GRACE_S:,} s, which are a week.")
    with contextlib.ExitStack() as stack:
        sockets = [] if metrics is None else [stack.enter_context(_listening(metrics[0] if metrics else 0))]
        return supervise(
            "landbridge.cli.backend",
            {
                "what": what,
                "name": name,
                "share": share,
                "onward": onward,
                "profile": profile,
                "workers": workers,
                "json": json,
                "metrics": sockets[0].fileno() if sockets else None,
                "log_format": log_format,
                "log_level": log_level,
            },
            name=name,
            words=sys.argv[1:],
            reload=reload,
            grace_s=grace,
            say=say if log_format == "text" else _logged(name),
            sockets=sockets,
        )


def _logged(name: str) -> Callable[[str], None]:
    import logging  # only here: most supervisors say what they say to people

    from .logs import log_to_stderr

    log_to_stderr(logging.INFO, "json", {"module": name})
    return logging.getLogger(__name__).warning


def _listening(port: int) -> socket.socket:
    """Listen for who wants metrics: here, so that the port stays ours while a backend that died is started again."""
    if not 0 <= port < 65536:
        raise UsageError(f"--metrics {port}: must be from 1 to 65535; leave the number out for a free port.")
    try:
        return socket.create_server(("127.0.0.1", port), backlog=_METRICS_BACKLOG)
    except OSError as error:
        raise NotConfigured(
            f"Metrics cannot be shown at port {port} of this computer ({error.strerror or error}). "
            "Choose another port, or leave the number out for a free one."
        ) from None
