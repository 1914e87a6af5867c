"""Tags for geometries (shapely), tables of them (geopandas), and their coordinate reference systems (pyproj).

A geometry travels as extended well-known binary (EWKB), little-endian, with Z, M and SRID. What arrives is looked
through before GEOS reads it: GEOS follows geometries in geometries until its stack ends, and the process with it.
"""

from __future__ import annotations

import re
import struct
import sys
from itertools import pairwise
from types import NoneType
from typing import Any

import numpy as np

from ..errors import CannotTravel, Malformed, MissingExtra
from .arrays import Array, put_pieces, take_pieces
from .frame import Sink, Source
from .tables import read_frame, read_series, write_frame, write_series
from .tags import ENCODERS, LATE, STEPS, Inner, Refused, decodes, fields

__all__: list[str] = []

_CLASSES = (
    "Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection",
)  # fmt: skip
_MAX_DEPTH = 32
_MAX_WKT = 64 * 1024
_RING = 2
_WKT2 = re.compile(r"[A-Z]{5,25}\[")
_CRS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,15}:[A-Za-z0-9]{1,16}")


def _register_shapely() -> None:
    shapely = sys.modules.get("shapely")
    if shapely is not None and all(hasattr(shapely, name) for name in _CLASSES):  # not while still being imported
        ENCODERS.update({getattr(shapely, name): _geometry for name in _CLASSES})


def _register_geopandas() -> None:
    geopandas = sys.modules.get("geopandas")
    if geopandas is not None and hasattr(geopandas, "GeoDataFrame"):
        ENCODERS[geopandas.array.GeometryArray] = _geometry_array
        ENCODERS[geopandas.GeoSeries] = _geo_series
        ENCODERS[geopandas.GeoDataFrame] = _geo_frame
        pandas = sys.modules["pandas"]
        LATE["pandas"]()
        STEPS[geopandas.GeoSeries] = STEPS[pandas.Series]
        STEPS[geopandas.GeoDataFrame] = STEPS[pandas.DataFrame]


def _register_pyproj() -> None:
    pyproj = sys.modules.get("pyproj")
    if pyproj is not None and hasattr(pyproj, "CRS"):
        ENCODERS[pyproj.CRS] = _crs


LATE["shapely"] = _register_shapely
LATE["geopandas"] = _register_geopandas
LATE["pyproj"] = _register_pyproj


def _shapely() -> Any:
    try:
        import shapely
    except ImportError:
        raise MissingExtra("A geometry", "geo") from None
    return shapely


def _pyproj() -> Any:
    _refuse_beside_eccodes()
    try:
        import pyproj
    except ImportError:
        raise MissingExtra("A coordinate reference system", "geo") from None
    return pyproj


def _geopandas() -> Any:
    _refuse_beside_eccodes()
    try:
        import geopandas
    except ImportError:
        raise MissingExtra("A geographic table", "geo") from None
    return geopandas


def _refuse_beside_eccodes() -> None:
    if "gribapi" in sys.modules and "pyproj" not in sys.modules:
        raise CannotTravel(
            "value",
            "it is geographic data, and here eccodes is loaded, which makes PROJ fail and end the process",
            "Import geopandas before cfgrib or eccodes where it is received",
        )


# --- geometries ---------------------------------------------------------------------------------------------------


def _written(geometries: Array, owner: object, places: list[str]) -> list[bytes | None]:
    """Return the EWKB of geometries, if they can be read from it exactly."""
    shapely = _shapely()
    binary = shapely.to_wkb(geometries, output_dimension=4, byte_order=1, include_srid=True, flavor="extended")
    pieces: list[bytes | None] = binary.tolist()
    try:
        back = _read_pieces(pieces, _rings(geometries))
    except (Malformed, shapely.errors.ShapelyError):
        back = np.full(len(geometries), None)
    same = shapely.equals_identical(back, geometries) & (shapely.get_srid(back) == shapely.get_srid(geometries))
    same &= shapely.get_type_id(back) == shapely.get_type_id(geometries)
    for has in (shapely.has_z, getattr(shapely, "has_m", shapely.has_z)):
        same &= has(back) == has(geometries)
    if wrong := np.flatnonzero(~(same | shapely.is_missing(geometries))).tolist():
        raise Refused(
            owner,
            f"well-known binary has no exact form for this {geometries[wrong[0]].geom_type}",
            "Send its coordinates as an array (NaN points, rings with M and rings in collections have no form)",
            at=places[wrong[0]] if places else "",
        )
    return pieces


def _rings(geometries: Array) -> Array:
    return _shapely().get_type_id(geometries) == _RING  # type: ignore[no-any-return]


def _geometry(geometry: Any, sink: Sink) -> tuple[str, object]:
    alone = np.empty(1, dtype=object)
    alone[0] = geometry
    pieces = _written(alone, geometry, [])
    return "geo", [sink.put(pieces[0] or b""), bool(_rings(alone)[0])]


@decodes("geo")
def _read_geometry(payload: object, source: Source) -> object:
    data, ring = fields(payload, object, bool)
    return _read_pieces([bytes(source.take(data))], np.array([ring]))[0]


def _read_pieces(pieces: list[bytes | None], rings: Array) -> Array:
    shapely = _shapely()
    for piece in pieces:
        if piece is not None:
            _check_wkb(piece)
    binary = np.empty(len(pieces), dtype=object)
    binary[:] = pieces
    geometries: Array = shapely.from_wkb(binary)
    for at in np.flatnonzero(rings).tolist():
        line = geometries[at]
        if line is None or line.geom_type != "LineString":
            raise Malformed("a ring is no line")
        coordinates = shapely.get_coordinates(line, include_z=shapely.has_z(line))
        ring = shapely.LinearRing(coordinates) if len(coordinates) else shapely.LinearRing()
        geometries[at] = shapely.set_srid(ring, shapely.get_srid(line))
    return geometries


def _check_wkb(data: bytes) -> None:
    """Refuse EWKB that is cut, goes on, is nested deeply, or has parts that no geometry has."""
    try:
        if _end_of_wkb(data) != len(data):
            raise Malformed("a geometry goes on after its end")
    except struct.error:
        raise Malformed("a geometry is cut") from None


def _end_of_wkb(data: bytes) -> int:
    at = 0
    left = [1]  # how many geometries are still to come, in each of the collections that contain one another
    while left:
        if not left[-1]:
            left.pop()
            continue
        left[-1] -= 1
        order, code = _HEAD.unpack_from(data, at)
        kind = code & 0x1FFFFFFF
        if order != 1 or not 1 <= kind <= 7:
            raise Malformed("a geometry is of a kind that does not travel")
        at += 9 if code & 0x20000000 else 5
        size = 8 * (2 + (code >> 31) + (code >> 30 & 1))  # of one point: X, Y, and Z and M if there
        if kind == 1:
            at += size
            continue
        (count,) = _COUNT.unpack_from(data, at)
        at += 4
        if kind == 2:
            at += size * count
        elif kind == 3:
            for _ in range(count):
                at += 4 + size * _COUNT.unpack_from(data, at)[0]
        else:
            left.append(count)
            if len(left) > _MAX_DEPTH:
                raise Malformed("a geometry is nested too deeply")
    return at


_HEAD = struct.Struct("<BI")
_COUNT = struct.Struct("<I")


# --- tables of geometries -----------------------------------------------------------------------------------------


def _geometry_array(array: Any, sink: Sink) -> tuple[str, object]:
    geometries = np.asarray(array)
    pieces = _written(geometries, array, [f"[{at}]" for at in range(len(geometries))])
    rings = _rings(geometries)
    crs = None if array.crs is None else Inner(array, ".crs", array.crs)
    return "geo.array", [*put_pieces(pieces, sink), sink.put(rings.view(np.uint8).data) if rings.any() else None, crs]


@decodes("geo.array")
def _read_geometry_array(payload: object, source: Source) -> object:
    offsets_at, content_at, absent_at, rings_at, crs = fields(payload, object, object, object, object, object)
    geopandas = _geopandas()
    offsets, content, absent = take_pieces(offsets_at, content_at, absent_at, source)
    count = len(offsets) - 1
    rings = np.frombuffer(bytes(count) if rings_at is None else source.take(rings_at), np.uint8)
    if len(rings) != count:
        raise Malformed("the marks of rings are not one for each geometry")
    if crs is not None and type(crs) is not _pyproj().CRS:
        raise Malformed("a coordinate reference system is none")
    bounds, data = offsets.tolist(), bytes(content)
    pieces: list[bytes | None] = [data[start:stop] for start, stop in pairwise(bounds)]
    if absent is not None:
        pieces = [None if gone else piece for piece, gone in zip(pieces, absent, strict=True)]
    return geopandas.array.GeometryArray(_read_pieces(pieces, rings), crs=crs)


def _geo_series(series: Any, sink: Sink) -> tuple[str, object]:
    return "gpd.series", write_series(series)


@decodes("gpd.series")
def _read_geo_series(payload: object, source: Source) -> object:
    geopandas = _geopandas()
    series = read_series(payload)
    if type(series.array) is not geopandas.array.GeometryArray:
        raise Malformed("a series of geometries holds none")
    made = geopandas.GeoSeries(series)
    return made.__finalize__(series)


def _geo_frame(frame: Any, sink: Sink) -> tuple[str, object]:
    geopandas = _geopandas()
    named = [number for number, name in enumerate(frame.columns) if name == "geometry"]
    if len(named) > 1 or any(type(frame.iloc[:, n].array) is not geopandas.array.GeometryArray for n in named):
        raise Refused(frame, 'its column "geometry" holds no geometries, or is not the only one', at='["geometry"]')
    return "gpd.df", [frame._geometry_column_name, *write_frame(frame)]


@decodes("gpd.df")
def _read_geo_frame(payload: object, source: Source) -> object:
    if type(payload) is not list or not payload:
        raise Malformed("a table of geometries is no table")
    geopandas = _geopandas()
    name, *rest = payload
    hash(name)
    frame = read_frame(rest)
    made = geopandas.GeoDataFrame(frame).__finalize__(frame)
    made._geometry_column_name = name
    return made


# --- coordinate reference systems ---------------------------------------------------------------------------------


def _crs(crs: Any, sink: Sink) -> tuple[str, object]:
    pyproj = _pyproj()
    try:
        text = crs.to_wkt("WKT2_2019")
        exact = len(text) <= _MAX_WKT and pyproj.CRS.from_wkt(text) == crs
    except pyproj.exceptions.ProjError:
        exact = False
    if not exact:
        raise Refused(
            crs, "it has no exact form in WKT2 of at most 65,536 characters", "Use one of a registry, like EPSG"
        )
    return "geo.crs", [text, crs.srs if _CRS_NAME.fullmatch(crs.srs) else None]


@decodes("geo.crs")
def _read_crs(payload: object, source: Source) -> object:
    text, name = fields(payload, str, (str, NoneType))
    pyproj = _pyproj()
    if len(text) > _MAX_WKT or not _WKT2.match(text) or "\0" in text:
        raise Malformed("a coordinate reference system is no WKT2")
    meant = pyproj.CRS.from_wkt(text)
    if name is not None and _CRS_NAME.fullmatch(name):
        try:
            known = pyproj.CRS.from_user_input(name)
        except pyproj.exceptions.ProjError:  # a registry that is not known here
            return meant
        if known == meant:  # so that it is shown under its name
            return known
    return meant
