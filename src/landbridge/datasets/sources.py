"""What a data set is made of: a file, a folder, several files, or a function of its owner.

A source opens late, and again when its files have changed; each time gives a `DatasetView` with a version of its own.
Files are opened undecoded, so that packed integers and attributes reach the reader as they are, who decodes them.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import DatasetChanged, LandbridgeError, MissingExtra, NothingToServe, printable
from .view import DatasetView, alone, source_paths, without_folders

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Source", "file_source", "function_source"]

# (path, modified in ns, size, inode) of each file; None where there is none any more.
Stats: TypeAlias = "tuple[tuple[str, int, int, int] | tuple[str, None], ...]"
Opened: TypeAlias = "tuple[xr.Dataset, bool]"

_NETCDF = (".nc", ".nc3", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".he5")
_GRIB = (".grib", ".grib2", ".grb", ".grb2")
_ZARR = (".zarr",)
_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv")
_ZARR_METADATA = {"zarr.json", ".zmetadata", ".zarray", ".zgroup", ".zattrs"}
_SERVED = ", ".join((*_NETCDF, *_ZARR, *_GRIB, *_PARQUET, *_TEXT))


class Source:
    """What a data set is made of; made by `file_source` and `function_source`, safe to use in several threads.

    Parameters
    ----------
    target : str
        The data set, for texts: ``geomar/sst.data``.
    load : callable
        Opens it: gives the data set, and whether it is undecoded.
    files : callable
        Names the files of which a version consists, given the data set (None while it is not open).
    fingerprint : callable
        Gives bytes that differ between data sets whose files do not tell them apart.
    """

    def __init__(
        self,
        target: str,
        load: Callable[[], Opened],
        files: Callable[[xr.Dataset | None], Iterable[str]],
        fingerprint: Callable[[xr.Dataset], bytes],
    ) -> None:
        self.target = target
        self._load, self._files, self._fingerprint = load, files, fingerprint
        self._lock = threading.Lock()
        self._view: DatasetView | None = None
        self._stats: Stats = ()

    def current(self) -> DatasetView:
        """Return the data set as it is now: opened when first asked, and again when its files have changed.

        Raises
        ------
        NothingToServe
            It cannot be opened.
        MissingExtra
            A package is needed that is not installed.
        DatasetChanged
            Its files are being written to.
        """
        with self._lock:
            if self._view is None or _stats(self._files(self._view.dataset)) != self._stats:
                self._close()
                self._view = self._open()
            return self._view

    def at(self, version: str) -> DatasetView:
        """Return the data set if it still has this version.

        Raises
        ------
        DatasetChanged
            It has another one by now, or cannot be opened any more; opening it again says why.
        """
        try:
            view = self.current()
        except NothingToServe:
            raise DatasetChanged(self.target) from None
        if view.version != version:
            raise DatasetChanged(self.target)
        return view

    def close(self) -> None:
        """Close its files; asking for it opens them again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._view is not None:
            with alone():
                self._view.dataset.close()
            self._view = None

    def _open(self) -> DatasetView:
        before = _stats(self._files(None))
        try:
            dataset, raw = self._load()
        except _OfOwner as error:
            raise error.error from None
        except (LandbridgeError, MemoryError):
            raise
        except Exception as error:
            said = without_folders(error, (entry[0] for entry in before))
        else:
            stats = _stats(self._files(dataset))
            if not set(before) <= set(stats):
                with alone():
                    dataset.close()
                raise DatasetChanged(self.target)
            version = _version(dataset, stats, self._fingerprint(dataset))
            view = DatasetView(dataset, version, raw=raw, check=lambda: self._check(stats))
            _refuse_what_cannot_travel(self.target, view)
            self._stats = stats
            return view
        raise NothingToServe(
            f"{self.target} cannot be opened as a data set: {said}. See what xarray says of it: "
            "python -c \"import xarray; print(xarray.open_dataset('FILE'))\""
        )

    def _check(self, stats: Stats) -> None:
        if _stats(entry[0] for entry in stats) != stats:
            raise DatasetChanged(self.target)


def file_source(target: str, what: str | Path) -> Source:
    """Return the source of a file, of a folder, or of several files named by a pattern.

    Parameters
    ----------
    target : str
        The data set, for texts: ``geomar/sst.data``.
    what : str or Path
        NetCDF, HDF5, GRIB, Parquet or CSV file, Zarr folder, or a pattern of NetCDF, GRIB or Zarr
        (``sst-*.nc``), whose parts are combined as `xarray.open_mfdataset` does.

    Raises
    ------
    NothingToServe
        A suffix of which nothing can be served.
    """
    pattern = os.path.abspath(what)
    several = glob.has_magic(pattern) and not os.path.exists(pattern)
    suffix = Path(pattern).suffix.lower()
    if suffix not in (*_NETCDF, *_GRIB, *_ZARR, *_PARQUET, *_TEXT):
        raise NothingToServe(
            f"{target} cannot be served: {printable(Path(pattern).name, 200)!r} is of no kind that is known. "
            f"Served are files that end in {_SERVED}. For anything else write a function that returns an "
            "xarray.Dataset and serve that"
        )
    if several and suffix in (*_PARQUET, *_TEXT):
        raise NothingToServe(
            f"{target} cannot be served: {printable(Path(pattern).name, 200)!r} names several tables. Put them "
            "into one file, or serve each of them"
        )

    def parts() -> list[str]:
        found = sorted(glob.glob(pattern, recursive=True)) if several else [pattern]
        if not found or not os.path.exists(found[0]):
            raise NothingToServe(
                f"{target} cannot be opened: there is no file {printable(Path(pattern).name, 200)!r} in its folder. "
                "Look at the name with which it is served"
            )
        return found

    def load() -> Opened:
        return _opened(target, parts(), suffix, several)

    def files(dataset: object) -> Iterable[str]:
        try:
            named = parts()
        except NothingToServe:
            if dataset is None:
                raise
            return [pattern]  # gone, which is a change
        return [path for part in named for path in (_of_zarr(part) if os.path.isdir(part) else [part])]

    return Source(target, load, files, lambda dataset: b"")


def function_source(target: str, function: Callable[[], Any]) -> Source:
    """Return the source of what an owner's function returns.

    Parameters
    ----------
    target : str
        The data set, for texts.
    function : callable
        Returns an `xarray.Dataset` or `DataArray`, or a `pandas.DataFrame`. It is called again when files change
        from which xarray opened what it returned.
    """

    def load() -> Opened:
        try:
            found = function()
        except Exception as error:
            raise _OfOwner(error) from None
        return _as_dataset(target, found), False

    def files(dataset: xr.Dataset | None) -> Iterable[str]:
        return [] if dataset is None else _files_behind(dataset)

    return Source(target, load, files, _values_of_small_variables)


class _OfOwner(Exception):
    """Carries what an owner's function raised, so that it is not taken for an error in opening a file."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


# --- opening ------------------------------------------------------------------------------------------------------


def _opened(target: str, parts: list[str], suffix: str, several: bool) -> Opened:
    if suffix in _PARQUET + _TEXT:
        from .tables import open_csv, open_parquet  # late: pandas and pyarrow

        return (open_parquet if suffix in _PARQUET else open_csv)(parts[0]), False
    xarray = _xarray(target)
    options: dict[str, Any] = {"cache": False}
    if suffix in _GRIB:
        _require(f"{target}, a GRIB file,", "cfgrib")
        options.update(engine="cfgrib", indexpath="")  # no index files beside the data
    elif suffix in _ZARR:
        _require(f"{target}, a Zarr folder,", "zarr")
        options.update(engine="zarr", chunks=None)
    with alone(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the owner's data; the reader's xarray says them again
        if several:
            from .several import open_several

            return open_several(target, parts, options), False
        try:
            return xarray.open_dataset(parts[0], decode_cf=False, **options), True
        except ValueError:
            if suffix in _NETCDF and not any(map(importlib.util.find_spec, ("netCDF4", "h5netcdf"))):
                raise MissingExtra(f"{target}, a NetCDF file,", "xarray") from None
            raise


def _xarray(target: str) -> Any:
    try:
        import xarray
    except ImportError:
        raise MissingExtra(f"Serving {target}", "xarray") from None
    return xarray


def _require(what: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        error = MissingExtra(what, package)
        error.args = (f"{what} needs the package {package}, which is not installed. Install it: pip install {package}",)
        raise error


def _as_dataset(target: str, found: Any) -> Any:
    kind = type(found)
    package = kind.__module__.partition(".")[0]
    if package == "pandas" and kind.__name__ == "DataFrame":
        from .tables import from_frame

        return from_frame(found)
    if package == "xarray" and kind.__name__ == "DataArray":
        return found.to_dataset(name=found.name if found.name is not None else target.rpartition(".")[2])
    if package == "xarray" and kind.__name__ == "Dataset":
        return found.copy()  # what its owner does with it later is not served, and closing it is the owner's
    raise NothingToServe(
        f"{target} returned {printable(kind.__name__, 60)}, which is no data set. Let the function return an "
        "xarray.Dataset, an xarray.DataArray or a pandas.DataFrame"
    )


def _refuse_what_cannot_travel(target: str, view: DatasetView) -> None:
    import numpy as np

    for name in view.lazy_names:
        dtype = view.dataset.variables[name].dtype
        if not isinstance(dtype, np.dtype):
            raise NothingToServe(
                f"{target} cannot be served: {printable(repr(name), 80)} is large, and its dtype is pandas' {dtype}, "
                "of which no parts can be selected. Convert it to one of NumPy, for example with .astype(object)"
            )


# --- versions -----------------------------------------------------------------------------------------------------


def _stats(paths: Iterable[str]) -> Stats:
    return tuple(map(_stat, paths))


def _stat(path: str) -> tuple[str, int, int, int] | tuple[str, None]:
    try:
        found = os.stat(path)
    except OSError:
        return path, None
    return path, found.st_mtime_ns, found.st_size, found.st_ino


def _of_zarr(folder: str) -> Iterable[str]:
    # Chunks may be millions. Zarr writes each under another name and renames it, which its folder tells.
    for place, _, names in os.walk(folder):
        yield place
        yield from (os.path.join(place, name) for name in sorted(_ZARR_METADATA.intersection(names)))


def _files_behind(dataset: xr.Dataset) -> list[str]:
    return sorted(filter(os.path.exists, source_paths(dataset)))


def _version(dataset: xr.Dataset, stats: Stats, fingerprint: bytes) -> str:
    """Name what a data set is: two backends that serve the same files agree on it."""
    digest = hashlib.blake2b(digest_size=16)
    folder = os.path.commonpath([os.path.dirname(entry[0]) for entry in stats]) if stats else ""
    for path, *rest in stats:
        digest.update(repr((os.path.relpath(path, folder), rest)).encode("utf-8", "surrogateescape"))
    for name, variable in dataset.variables.items():
        digest.update(repr((name, variable.dims, variable.shape, str(variable.dtype))).encode("utf-8", "replace"))
    digest.update(fingerprint)
    return digest.hexdigest()


def _values_of_small_variables(dataset: xr.Dataset) -> bytes:
    small = DatasetView(dataset, "", raw=False).open()["dataset"]
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(dataset.attrs).encode("utf-8", "replace"))
    for name, variable in small.variables.items():
        values = variable.values
        content = repr(values.tolist()).encode("utf-8", "replace") if values.dtype.kind in "OT" else values.tobytes()
        digest.update(repr((name, variable.attrs)).encode("utf-8", "replace") + content)
    return digest.digest()
