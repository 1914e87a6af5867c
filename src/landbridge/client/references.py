"""Results that stay where they were made: what stands for them here, and passing them on."""

from __future__ import annotations

import os
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import MethodSpec, ParameterSpec
from ..errors import Malformed, printable
from ..names import parse_address
from .loop import io_loop
from .method import Method
from .objects import Handle, release
from .options import DEFAULT

if TYPE_CHECKING:
    from .call import Call
    from .network import Network

__all__ = ["GRANT_KEPT_S", "Reference", "clean"]

GRANT_KEPT_S = 300.0
"""How long a grant is used again; owners give them for twice as long."""

_SPECS = {
    "get": MethodSpec("get", idempotent=True),
    "info": MethodSpec("info", idempotent=True),
    "pin": MethodSpec("pin", parameters=(ParameterSpec("days"),), idempotent=True),
    "grant": MethodSpec("grant", parameters=(ParameterSpec("institute"),), idempotent=True),
}
_TEXT_CHARS = 2000


class Reference:
    """A result that stays where it was made. Made by ``method.keep(...)``.

    Given to a method at a third institute, it arrives there as its value, which that institute fetches itself. It is
    kept until nobody here holds it, a ``with`` block around it ends, or this process has not been heard of for ten
    minutes; `pin` keeps it for longer.

    Attributes
    ----------
    target : str
        What made it: ``institute/module.method``.
    summary : dict
        What its owner says of it: ``type``, ``bytes``, ``dims``, ``shape``, ``dtype``, ``dtypes``, ``preview``, as far
        as there are such.
    """

    def __init__(self, network: Network, data: wire.ReferenceData) -> None:
        self._network = network
        self._data = data
        self.target = f"{data.module}.{data.member}"
        self.summary: dict[str, Any] = clean(data.summary)
        where = parse_address(data.module)._replace(member=data.member)
        self._handle = Handle(where, data.instance, data.value_id, "ref")
        self._grants: dict[str, tuple[float, str]] = {}
        link, lease = network._link(), self._handle.lease()
        # Who was granted a value does not hold it: it stays for as long as the grant is good.
        if data.grant is None:
            io_loop().call_soon_threadsafe(link.leases.keep, lease)
        self._finalizer = weakref.finalize(self._handle, release, link, lease, os.getpid())
        self._finalizer.atexit = False

    def get(self) -> Any:
        """Return the value; it travels now.

        Raises
        ------
        ObjectGone
            When it is no longer kept, or was made for somebody else.
        """
        return self._ask("get")()

    def start(self) -> Call:
        """Begin to fetch the value, and return at once; the call's `result` is the value."""
        return self._ask("get").start()

    def open(self, **options: Any) -> Any:
        """Open the value as a lazy data set: each selection fetches what it needs.

        Parameters
        ----------
        **options
            As `landbridge.open` has them: ``chunks`` and those of `xarray.open_dataset`.

        Returns
        -------
        xarray.Dataset
            The value; of a DataArray the data set that `xarray.DataArray.to_dataset` makes of it.
        """
        return self._network._open_dataset(self._network, self, **options)

    def info(self) -> dict[str, Any]:
        """Ask how the value is kept now.

        Returns
        -------
        dict
            The `summary`, and ``state``: ``in memory``, ``on disk`` or ``lazy``; ``pinned_until``: seconds since 1970
            UTC, or None.
        """
        said = self._ask("info")()
        if not isinstance(said, dict):
            raise Malformed(f"{self.target} says of a kept value what is no dict")
        return clean(said)

    def pin(self, days: float = 30.0) -> None:
        """Have the value kept for some days in any case, over a restart of its backend too; 0 ends that.

        Parameters
        ----------
        days : float
            How long, at most 365 days.
        """
        self._ask("pin")(days)

    def release(self) -> None:
        """Let go of the value: its owner keeps it for us no longer."""
        self._finalizer()

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _ask(self, verb: str) -> Method:
        return self._method(_SPECS[verb])

    def _method(self, spec: MethodSpec) -> Method:
        address = self._handle.where._replace(member=f"{self._data.member}.{spec.name}")
        extras = {"grant": self._data.grant} if self._data.grant is not None else None
        return Method(self._network, address, spec, {}, DEFAULT, self._handle, extras)

    def _for(self, institute: str) -> wire.ReferenceData:
        """Return what travels to a method at an institute: with its owner's leave for that institute."""
        now = time.monotonic()
        until, grant = self._grants.get(institute, (0.0, ""))
        if now >= until:
            given = self._ask("grant")(institute)
            if not isinstance(given, str):
                raise Malformed(f"{self.target} gives a grant that is no text")
            until, grant = self._grants[institute] = now + GRANT_KEPT_S, given
        return replace(self._data, grant=grant, summary={})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it stands for, and as whom it is held; it must still be kept when it is unpickled."""
        return _reopened, (self._network, self._data)

    def __copy__(self) -> Reference:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self

    def __repr__(self) -> str:
        size = self.summary.get("bytes")
        said = [str(self.summary.get("type", "value"))]
        if type(size) is int:
            said.append(f"{size:,} bytes")
        if isinstance(dims := self.summary.get("dims"), dict):
            said.append(", ".join(f"{name}: {length}" for name, length in dims.items()))
        return f"<landbridge reference at {self.target}: {'; '.join(said)}>"

    def _repr_html_(self) -> str:
        from .html import reference_html, without_fail

        return without_fail(lambda: reference_html(self.target, self.summary), self.target)


def _reopened(network: Network, data: wire.ReferenceData) -> Reference:
    return Reference(network, data)


def clean(said: dict[str, Any]) -> dict[str, Any]:
    """Return what an owner says of a value with all texts made harmless."""
    return {printable(str(key), 100): _clean_value(value, 3) for key, value in list(said.items())[:100]}


def _clean_value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return "\n".join(printable(line, _TEXT_CHARS) for line in value[:_TEXT_CHARS].splitlines())
    if isinstance(value, dict) and depth:
        return {printable(str(key), 200): _clean_value(each, depth - 1) for key, each in list(value.items())[:1000]}
    if isinstance(value, list) and depth:
        return [_clean_value(each, depth - 1) for each in value[:1000]]
    return value if value is None or isinstance(value, bool | int | float) else printable(repr(value), 100)
