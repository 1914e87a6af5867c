"""A remote method that looks as if it were local."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .. import wire
from ..contract import MethodSpec, bind, docstring, lower_arguments, signature
from ..errors import Malformed
from ..names import Address
from .call import Call
from .functions import Functions
from .loop import io_loop
from .objects import Handle
from .options import DEFAULT, Options
from .watching import shown

if TYPE_CHECKING:
    from .network import Network
    from .references import Reference

__all__ = ["Method", "new_method"]

_MAP_IN_FLIGHT = 16


class Method:
    """A remote method. Call it as if it were local.

    ============  ==========================================================================
    ``m(...)``    call, wait, return the value (or, for a generator, an iterator)
    ``m.start``   call, return a `Call` at once
    ``m.keep``    call, leave the value where it is, return a `Reference` to it
    ``m.map``     call for each tuple of zipped iterables; values in order
    ``m.options`` the same method with other options
    ============  ==========================================================================
    """

    __slots__ = ("__dict__", "__weakref__", "_address", "_extras", "_handle", "_network", "_options", "_spec", "_types")

    def __init__(
        self,
        network: Network,
        address: Address,
        spec: MethodSpec,
        types: dict[str, type],
        options: Options = DEFAULT,
        handle: Handle | None = None,
        extras: dict[str, Any] | None = None,
    ) -> None:
        self._extras = extras
        self._network = network
        self._address = address
        self._spec = spec
        self._types = types
        self._options = options
        self._handle = handle

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method and wait for its value."""
        if self._spec.streams:
            return iter(self.start(*args, **kwargs))
        return self._waited_for(args, kwargs, self._extras)

    def keep(self, *args: Any, **kwargs: Any) -> Reference:
        """Call the method, leave its value where it was made, and return a reference to it.

        Only a summary travels. The value is fetched by `Reference.get`, opened lazily by `Reference.open`, or passed on
        by giving the reference to another method.
        """
        from .references import Reference

        if self._spec.streams:
            raise TypeError(f"{self._address} is a stream, and only a single value can be kept")
        kept = self._waited_for(args, kwargs, {**(self._extras or {}), "keep": True})
        if not isinstance(kept, Reference) or kept.target != str(self._address):
            raise Malformed(f"{self._address} was to keep its value, and answered with something else")
        return kept

    def _waited_for(self, args: tuple[Any, ...], kwargs: dict[str, Any], extras: dict[str, Any] | None) -> Any:
        # Nothing is copied: until the value is here, whoever could change an array waits for it.
        call = self._begin(bind(self._spec, args, kwargs), copies=False, extras=extras)
        try:
            return call.result()
        finally:
            if not call.done():  # whatever a signal raised here: nobody holds the call to stop it later
                call._request_cancel()

    def start(self, *args: Any, **kwargs: Any) -> Call:
        """Call the method and return at once."""
        # Copied: the caller may change an array as soon as this returns.
        return self._begin(bind(self._spec, args, kwargs), copies=True, extras=self._extras)

    def _begin(self, bound: dict[str, Any], *, copies: bool, extras: dict[str, Any] | None) -> Call:
        functions = Functions()
        stand_in = partial(travels_for, functions, self._address.institute)
        parts = wire.encode(lower_arguments(bound, stand_in))
        if copies:
            parts = [bytes(part) if isinstance(part, memoryview) else part for part in parts]
        call = Call(str(self._address), self._spec, self._types, self._network, functions)
        link, size = self._network._link(), wire.size_bytes(parts)
        begin = partial(call.begin, link, self._address, parts, size, self._options, self._handle, extras)
        io_loop().call_soon_threadsafe(begin)
        return call

    def map(self, *iterables: Iterable[Any], **constant: Any) -> Iterator[Any]:
        """Call the method for each tuple of the zipped iterables; the values come in order.

        At most 16 calls are under way at a time. Leaving the loop cancels those that are.

        Parameters
        ----------
        *iterables : iterable
            Positional arguments, one from each for every call, as `concurrent.futures.Executor.map` has it.
        **constant
            Keyword arguments of every call.
        """
        if self._spec.streams:
            raise TypeError(f"{self._address} is a stream; map needs a method that returns one value")
        if not iterables:
            raise TypeError("map needs at least one iterable")
        rows = zip(*iterables, strict=False)
        started: deque[Call] = deque()
        try:
            started.extend(self.start(*row, **constant) for row in islice(rows, _MAP_IN_FLIGHT))
        except BaseException:
            for call in started:
                call._request_cancel()
            raise
        return self._mapped(rows, started, constant)

    def _mapped(self, rows: Iterator[tuple[Any, ...]], started: deque[Call], constant: dict[str, Any]) -> Iterator[Any]:
        if not started:
            return
        try:
            with shown(started[0]) as view:  # one for all, not one for each
                while started:
                    view.follow(started[0])
                    started[0]._wait(None, view)
                    value = started[0]._outcome()
                    started.popleft()
                    started.extend(self.start(*row, **constant) for row in islice(rows, 1))
                    view.pause()
                    yield value
        finally:
            for call in started:
                call._request_cancel()

    def options(self, *, timeout_s: float | None = None, logs: bool = False) -> Method:
        """Return the same method with other options.

        Parameters
        ----------
        timeout_s : float, optional
            Time limit for each call, in seconds; None (as without options): as long as the backend shows that it works.
        logs : bool
            Whether what the method prints and logs comes out here, too, while it runs.
        """
        return self._with(Options(timeout_s, logs), self._handle)

    def _with(self, options: Options, handle: Handle | None) -> Method:
        method = type(self)(self._network, self._address, self._spec, self._types, options, handle, self._extras)
        vars(method).update(vars(self))
        return method

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the address, and as whom it is called."""
        if self._handle is not None:
            raise TypeError(f"{self!r} belongs to an object that lives at its backend for this process alone")
        return self._network._reopen, (str(self._address), self._network._access.profile, asdict(self._options))

    def __copy__(self) -> Method:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Method:
        return self

    def __repr__(self) -> str:
        return f"<landbridge method {self._address}{inspect.signature(self)}>"

    def _repr_html_(self) -> str:
        from .glance import method_glance

        return method_glance(self)


def travels_for(functions: Functions, institute: str, value: Any) -> object:
    """Return what travels to an institute in the place of a function or a reference; what is neither, as it is."""
    for_institute = getattr(type(value), "_for", None)
    if for_institute is not None and type(value).__module__ == f"{__package__}.references":
        return for_institute(value, institute)
    if callable(value) and not isinstance(value, type):
        return functions.stand_in(value)
    return value


def new_method(network: Network, address: Address, spec: MethodSpec, types: dict[str, type]) -> Method:
    """Return the method at an address, with the signature and docstring that `spec` tells of."""
    shape = signature(spec, types)
    cls = type(
        spec.name,
        (Method,),
        {"__doc__": docstring(spec), "__signature__": shape, "__module__": "landbridge.remote", "__slots__": ()},
    )
    method: Method = cls(network, address, spec, types)
    vars(method).update(__name__=spec.name, __qualname__=spec.name)
    return method
