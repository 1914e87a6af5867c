"""One version of a data set, as it is served: what opens it at a reader's, and any part of it."""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePath
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import InternalError, InvalidArguments, LandbridgeError, Malformed, Problem, TooLarge, printable
from .reads import place, reads
from .rounding import MOST_KEEPBITS, bit_rounded
from .selection import Array, Selection, blocks, chunk_grid, grow

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "BLOCK_BYTES",
    "CHUNK_BYTES",
    "READ_BYTES",
    "SMALL_BYTES",
    "DatasetView",
    "alone",
    "source_chunks",
    "source_paths",
    "without_folders",
]

BLOCK_BYTES = 8 * 1024 * 1024
"""How much is read, held and yielded at once."""
SMALL_BYTES = 64 * 1024
"""Variables up to this size travel when a data set is opened."""
CHUNK_BYTES = 16_000_000
"""About how large the chunks are that readers are advised to work with."""
READ_BYTES = 64 * 1024 * 1024
"""The most that `DatasetView.read` gives at once."""

Result = TypeVar("Result")

_SMALL_TOTAL_BYTES = 1024 * 1024
_OBJECT_BYTES = 64  # what one string is taken to need
_MOST_WANTED = 1000
_CHECK_EVERY_S = 0.1

# HDF5 holds one lock for the process, so more threads than these would only wait in it.
_READERS = 2
_FILE_READS = threading.BoundedSemaphore(_READERS)
_ONE_ALONE = threading.Lock()
_SAID_CHARS = 10_000
# Where a path begins: on Unix, at home, beside, on Windows, on a server, and as an address of a file.
_BEGINS = r"(?:file:|[A-Za-z]:[\\/]|\\\\|~[\w.-]*[\\/]|\.{1,2}[\\/]|/)"
# One in quotes goes to their end, as folders may have spaces and apostrophes; any other one to the next space.
_PATH = re.compile(
    rf"""(?P<quote>['"`])(?P<quoted>{_BEGINS}(?:\\.|.)*?)(?=(?P=quote)(?!\w)|$)"""
    rf"""|(?<![\w/\\.])(?!(?<=:)//)(?P<bare>{_BEGINS}(?:[^\s'"`]|['"`](?=\w))*)""",
    re.DOTALL,
)
_FOLDERS = re.compile(r".*[\\/](?=[^\\/]*$)", re.DOTALL)


def _never_changes() -> None:
    """Stand for a source that is no file."""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no view reads, and let none read within: files are opened and closed without xarray's lock."""
    with _ONE_ALONE, contextlib.ExitStack() as held:
        for _ in range(_READERS):
            held.enter_context(_FILE_READS)
        yield


def without_folders(error: Exception, paths: Iterable[str] = ()) -> str:
    """Return what a library says of a failure, as one line, without the folders in which the owner keeps files.

    Parameters
    ----------
    error : Exception
        What the library raised.
    paths : iterable of str
        Files that it may speak of: their folders are found even where a name has spaces and is not in quotes.

    Examples
    --------
    >>> without_folders(OSError("[Errno 5] cannot read '/home/ada/data/sst.nc'"))
    "OSError: [Errno 5] cannot read 'sst.nc'"
    """
    said = str(error)[:_SAID_CHARS]
    folders = {str(folder) for path in paths for folder in PurePath(path).parents if folder.name}
    for folder in sorted(folders, key=len, reverse=True):
        said = re.sub(rf"(?<![\w.]){re.escape(folder)}(?!\w)", "/…", said)
    # Shortened last, as half a path would not be seen to be one.
    return f"{type(error).__name__}: " + printable(_PATH.sub(_last_part, " ".join(said.split())), 500)


def _last_part(found: re.Match[str]) -> str:
    path = found["quoted"] or found["bare"]
    name = _FOLDERS.sub("", path)
    if not path[: len(path) - len(name)].strip("/\\"):
        return found[0]  # of no folder, as "/" and "/km"
    return (found["quote"] or "") + (name or "…")


def source_paths(dataset: xr.Dataset) -> set[str]:
    """Return the files from which xarray has opened a data set, as far as it says so."""
    named = [dataset.encoding.get("source"), *(v.encoding.get("source") for v in dataset.variables.values())]
    return {path for path in named if isinstance(path, str)}


class DatasetView:
    """One version of a data set, as it is served; read-only, and safe to use in several threads.

    Parameters
    ----------
    dataset : xarray.Dataset
        Lazily loaded.
    version : str
        Names what the data set was when it was opened.
    raw : bool
        Whether the data set is undecoded, so that its reader decodes it.
    check : callable
        Raises `DatasetChanged` if the source is no longer what was opened; called before and after each block is read,
        and every 0.1 s while it is. It may raise any other `LandbridgeError` to end a selection.

    Attributes
    ----------
    lazy_names : list
        The variables that do not travel when the data set is opened.
    """

    def __init__(
        self, dataset: xr.Dataset, version: str, *, raw: bool, check: Callable[[], None] = _never_changes
    ) -> None:
        self.dataset, self.version, self.raw = dataset, version, raw
        self._check, self._checked_s = check, 0.0
        self.lazy_names = _lazy_names(dataset)

    def open(self) -> dict[str, Any]:
        """Return all that a reader needs to see the data set without its large variables.

        Returns
        -------
        dict
            ``version`` : str, ``raw`` : bool.
            ``dataset`` : xarray.Dataset
                The variables that are small or have an index, loaded, and the attributes of the data set.
            ``lazy`` : list of [name, dims, shape, dtype, attrs, encoding, preferred_chunks]
                The other variables; `encoding` holds plain data only, `preferred_chunks` says for each dimension how
                much to read at once (None if that cannot be said).
            ``variables``, ``coords`` : list
                Names of all variables, in the order of the data set; of those that are coordinates.
        """
        small = self.dataset.drop_vars(self.lazy_names).copy()
        self._guarded("the small variables", partial(self._load, small))
        return {
            "version": self.version,
            "raw": self.raw,
            "dataset": small,
            "lazy": [self._described(name) for name in self.lazy_names],
            "variables": list(self.dataset.variables),
            "coords": list(self.dataset.coords),
        }

    def _described(self, name: Any) -> list[Any]:
        variable = self.dataset.variables[name]
        encoding = {key: value for key, value in variable.encoding.items() if _travels(key, value)}
        dims = list(variable.dims)
        preferred = None
        if len(set(dims)) == len(dims):
            chunks = source_chunks(variable)
            start = chunks if chunks is not None else (1,) * len(dims)
            preferred = dict(zip(dims, grow(start, variable.shape, _itemsize(variable), CHUNK_BYTES), strict=True))
        return [name, dims, list(variable.shape), variable.dtype, dict(variable.attrs), encoding, preferred]

    def select(self, wanted: object) -> Iterator[list[Any]]:
        """Read parts of variables.

        Parameters
        ----------
        wanted : list of [name, key] or [name, key, keepbits]
            At most 1000. For keys see `Selection.parse`; `keepbits` has floats rounded, see `bit_rounded`. All are
            checked before anything is read.

        Yields
        ------
        [position, start, values] : list
            A block: of which entry of `wanted`, where it begins in that result (a list of int), and its values. Each
            has `BLOCK_BYTES` at most; about two of them are in memory at a time. Empty results yield nothing. The
            blocks of each entry come in C order, by which its reader sees that each element came once.

        Raises
        ------
        InvalidArguments, Malformed
            `wanted` names what is not there, or is no list of names and keys.
        DatasetChanged
            The source is no longer what was opened.
        InternalError
            The file cannot be read, though it has not changed.
        """
        if not isinstance(wanted, (list, tuple)):
            raise Malformed("what to select is not a list")
        if len(wanted) > _MOST_WANTED:
            problem = Problem("wanted", f"{len(wanted)} selections at once; the limit is {_MOST_WANTED}")
            raise InvalidArguments("select", [problem])
        selections = []
        for each in wanted:
            match each:
                case [name, key]:
                    keepbits = MOST_KEEPBITS
                case [name, key, int(keepbits)] if type(keepbits) is int and 1 <= keepbits <= MOST_KEEPBITS:
                    pass
                case _:
                    raise Malformed("a selection is not a list of a name, a key, and perhaps how many bits are kept")
            variable = self._variable(name)
            selections.append((name, variable, Selection.parse(key, variable.shape), keepbits))
        return self._blocks(selections)

    def read(self, name: str, key: object) -> Array:
        """Read a part of one variable at once, for example a chunk of it.

        Raises
        ------
        TooLarge
            The result has more than `READ_BYTES`.
        InvalidArguments, Malformed, DatasetChanged, InternalError
            As for `select`.
        """
        variable = self._variable(name)
        selection = Selection.parse(key, variable.shape)
        size_bytes = selection.size * _itemsize(variable)
        if size_bytes > READ_BYTES:
            raise TooLarge(f"The selection of {_shown(name)}", size_bytes, READ_BYTES, "Read it in parts")
        found: Array = np.empty(selection.shape, variable.dtype)
        for _, start, values in self._blocks([(name, variable, selection, MOST_KEEPBITS)]):
            if values.shape == found.shape:
                return values  # type: ignore[no-any-return]
            found[tuple(slice(low, low + n) for low, n in zip(start, values.shape, strict=True))] = values
        return found

    def _variable(self, name: Any) -> Any:
        with contextlib.suppress(TypeError):  # of what cannot be hashed
            if name in self.dataset.variables:
                return self.dataset.variables[name]
        raise InvalidArguments("select", [Problem("name", f"there is no variable {_shown(name)}")])

    def _blocks(self, selections: list[tuple[Any, Any, Selection, int]]) -> Iterator[list[Any]]:
        for position, (name, variable, selection, keepbits) in enumerate(selections):
            fills = [variable.attrs.get("_FillValue"), variable.attrs.get("missing_value")]
            itemsize = _itemsize(variable)
            chunks = chunk_grid(variable.shape, itemsize, source_chunks(variable), BLOCK_BYTES)
            for start, block in blocks(selection, itemsize, BLOCK_BYTES, chunks):
                plan = reads(block, chunks, itemsize, BLOCK_BYTES)
                read = partial(place, block, plan, variable.dtype, partial(self._read, variable))
                # Not in a variable: what nobody here holds need not be copied before it is sent.
                yield [position, list(start), bit_rounded(self._guarded(_shown(name), read), keepbits, fills)]

    def _guarded(self, what: str, read: Callable[[], Result]) -> Result:
        """Read the version that was opened, with no foreign errors."""
        self._check()
        said = ""
        try:
            found = read()
        except LandbridgeError:
            raise
        except Exception as error:
            said = without_folders(error, source_paths(self.dataset))
        self._check()  # what became of the file explains an error better
        if said:
            raise InternalError(
                f"Reading {what} failed, though its file has not changed since it was opened: {said}. Ask the owner of "
                "the data set to look at the file"
            )
        return found

    def _read(self, variable: Any, box: tuple[slice, ...]) -> Array:
        now_s = time.monotonic()
        if now_s - self._checked_s > _CHECK_EVERY_S:
            self._check()
            self._checked_s = now_s
        with _FILE_READS, _one_thread_of_dask(variable.chunks):
            return np.asarray(variable[box].values)

    def _load(self, small: xr.Dataset) -> None:
        with _FILE_READS, _one_thread_of_dask(small.chunks):
            small.load()


def source_chunks(variable: Any) -> tuple[int, ...] | None:
    """Return how a lazily loaded variable is chunked where it lies, or None if it is not.

    Irregular chunks of dask count as large as the largest; a GRIB file holds one message for each field.
    """
    if variable.chunks is not None:
        return tuple(max(lengths) or 1 for lengths in variable.chunks)
    encoding, shape = variable.encoding, tuple(variable.shape)
    chunks = encoding.get("chunksizes") or encoding.get("chunks")
    preferred = encoding.get("preferred_chunks")
    if chunks is None and isinstance(preferred, dict):
        chunks = [preferred.get(dim, size) for dim, size in zip(variable.dims, shape, strict=True)]
    if chunks is not None and len(chunks) == len(shape) and all(isinstance(n, (int, np.integer)) for n in chunks):
        return tuple(max(1, min(int(chunk), size)) for chunk, size in zip(chunks, shape, strict=True))
    points = variable.attrs.get("GRIB_numberOfPoints")
    for axis in range(len(shape)):
        if math.prod(shape[axis:]) == points:
            return (1,) * axis + shape[axis:]
    return None


@contextlib.contextmanager
def _one_thread_of_dask(chunks: object) -> Iterator[None]:
    if not chunks:
        yield
        return
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


def _lazy_names(dataset: xr.Dataset) -> list[Any]:
    """Return the names of the variables that do not travel when the data set is opened."""
    names, room = [], _SMALL_TOTAL_BYTES
    for name, variable in dataset.variables.items():
        size_bytes = variable.size * _itemsize(variable)
        if len(set(variable.dims)) < len(variable.dims):
            names.append(name)  # a data set with a dimension twice in one variable cannot travel
        elif name in dataset.xindexes:
            continue
        elif size_bytes > min(SMALL_BYTES, room):
            names.append(name)
        else:
            room -= size_bytes
    return names


def _itemsize(variable: Any) -> int:
    return _OBJECT_BYTES if variable.dtype.kind in "OT" else max(1, variable.dtype.itemsize)


def _shown(name: object) -> str:
    return printable(repr(name), 80) if isinstance(name, (str, int, float)) else "of that name"


def _travels(key: object, value: object) -> bool:
    # `source` is a path on the machine that opened the file: of no use elsewhere, and nobody's business there.
    return isinstance(key, str) and key != "source" and _is_plain(value)


def _is_plain(value: object, depth: int = 0) -> bool:
    if type(value) in (list, tuple) and depth < 4:
        return all(_is_plain(child, depth + 1) for child in value)  # type: ignore[attr-defined]
    if type(value) is dict and depth < 4:
        return all(_is_plain(child, depth + 1) for pair in value.items() for child in pair)
    if isinstance(value, np.dtype):
        return value.fields is None
    return type(value) in (NoneType, bool, int, float, complex, str, bytes) or isinstance(value, np.generic)
