"""What is particular to geometries on the wire: binary from elsewhere, names of reference systems, eccodes."""

from __future__ import annotations

import struct
import subprocess
import sys

import geopandas as gpd
import msgpack
import numpy as np
import pyproj
import pytest
import shapely

from landbridge.errors import Malformed
from landbridge.wire import decode, encode


def there_and_back(value):
    return decode(bytearray(b"".join(encode(value))))


def frame(tag, payload) -> bytes:
    header = msgpack.packb(msgpack.ExtType(1, msgpack.packb([tag, payload])))
    return b"LB\x01\x00" + len(header).to_bytes(4, "little") + bytes(4) + header


def nested(kind: int, levels: int) -> bytes:
    return struct.pack("<BII", 1, kind, 1) * levels + shapely.to_wkb(shapely.Point(0, 0), byte_order=1)


def test_collections_in_collections_are_read():
    assert decode(frame("geo", [nested(7, 30), False])).geom_type == "GeometryCollection"


BAD = {
    "nothing": b"",
    "cut": shapely.to_wkb(shapely.box(0, 0, 1, 1), byte_order=1)[:-1],
    "bytes at the end": shapely.to_wkb(shapely.Point(0, 0), byte_order=1) + b"\0",
    "other byte order": shapely.to_wkb(shapely.Point(0, 0), byte_order=0),
    "curve": struct.pack("<BII", 1, 8, 0),
    "kind 0": struct.pack("<BII", 1, 0, 0),
    "kind by another name": struct.pack("<BII", 1, 0x10007, 0),
    "ISO flavour": shapely.to_wkb(shapely.Point(0, 0, 1), byte_order=1, flavor="iso"),
    "four thousand million points": struct.pack("<BII", 1, 2, 2**32 - 1),
    "four thousand million rings": struct.pack("<BII", 1, 3, 2**32 - 1),
    "four thousand million parts": struct.pack("<BII", 1, 7, 2**32 - 1),
    "polygon among points": nested(4, 1)[:9] + shapely.to_wkb(shapely.box(0, 0, 1, 1), byte_order=1),
    "open ring": struct.pack("<BIII8d", 1, 3, 1, 4, *range(8)),
    "nested without end": nested(7, 100_000),  # GEOS follows until its stack ends
    "points without end": nested(4, 100_000),
    "line of one point": struct.pack("<BIIdd", 1, 2, 1, 0.0, 0.0),
}


@pytest.mark.parametrize("name", BAD)
def test_hostile_binary_is_malformed(name):
    with pytest.raises(Malformed):
        decode(frame("geo", [BAD[name], False]))


@pytest.mark.parametrize(
    "geometry", [shapely.Point(0, 0), shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])]
)
def test_ring_that_is_none_is_malformed(geometry):
    with pytest.raises(Malformed):
        decode(frame("geo", [shapely.to_wkb(geometry, byte_order=1), True]))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("EPSG:4326", None),
        ("+proj=longlat", None),
        ("GEOGCRS[", None),
        ("GEOGCRS[" * 100_000, None),
        ("GEOGCRS[" * 5000, None),
        ("PROJCRS[\0]", None),
        ("x" * 70_000, None),
    ],
)
def test_hostile_reference_system_is_malformed(text, name):
    with pytest.raises(Malformed):
        decode(frame("geo.crs", [text, name]))


def test_reference_system_is_shown_by_its_name_only_if_it_is_that():
    text = pyproj.CRS("EPSG:4326").to_wkt("WKT2_2019")
    assert decode(frame("geo.crs", [text, "EPSG:4326"])).srs == "EPSG:4326"
    for other in ("EPSG:3857", "EPSG:999999", "NOBODY:1", "+proj=longlat", "/etc/passwd"):
        back = decode(frame("geo.crs", [text, other]))
        assert (back.to_epsg(), back.srs) == (4326, back.to_wkt("WKT2_2019"))


def test_many_points_arrive():
    points = gpd.GeoSeries(shapely.points(np.random.default_rng(1).random((5000, 2))), crs="EPSG:4326")
    back = there_and_back(points)
    assert shapely.equals_identical(back.values, points.values).all()
    assert back.crs == points.crs


def test_geographic_tables_are_refused_where_eccodes_would_end_the_process():
    code = f"""
import sys, types
sys.modules["gribapi"] = types.ModuleType("gribapi")  # stands for eccodes, which aborts beside PROJ
from landbridge.errors import CannotTravel
from landbridge.wire import decode
try: decode({b"".join(encode(gpd.GeoSeries([shapely.Point(0, 0)])))!r})
except CannotTravel as error: print(error)
print("pyproj" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "eccodes" in said
    assert said.endswith("False\n")
