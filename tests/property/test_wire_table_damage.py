"""Law: damaged tables and geometries give a typed error or a value that can be used, and never crash the interpreter.

The damage is done in a process of its own, with limited memory: bytes that Arrow or GEOS believed without a check
would end it, and so fail the test instead of all tests.
"""

from __future__ import annotations

import random
import resource
import struct
import sys
import warnings
from collections import Counter

import pytest

from property.damage import outcomes_of

EACH = 8000
MEMORY_BYTES = 3 * 2**30
ODD_NUMBERS = [0, 1, 2, 7, 8, 64, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]


@pytest.mark.parametrize("what", ["arrow", "pandas", "geometries", "everything"])
def test_damaged_tables_give_a_typed_error_or_a_value_that_can_be_used(what):
    counts = outcomes_of(__file__, what)
    assert counts["error"] + counts["value"] == EACH
    assert counts["error"] > 100
    assert counts["value"] > 100


def good_values(what: str) -> list[object]:
    from unit.wire.fidelity_cases import DATASETS, GENERAL, Unfit

    words = {
        "arrow": ("Arrow", "polars", "Arrow-backed"),
        "pandas": ("pandas", "Series", "DataFrame", "Index", "Categorical", "Array", "text", "Timestamp", "Period"),
        "geometries": ("points", "lines", "areas", "collections", "Geo"),
        "everything": ("",),
    }[what]
    cases = GENERAL if what != "everything" else {**GENERAL, **DATASETS}
    return [case for name, case in cases.items() if not isinstance(case, Unfit) and any(word in name for word in words)]


def injured(dice: random.Random, frame: bytes) -> bytes:
    """Return the frame with a few bytes of its header or buffers changed; sizes and padding stay as they were."""
    from property.test_wire_damage import damaged

    if dice.random() < 0.25:
        return damaged(dice, [frame])
    broken = bytearray(frame)
    start = 12 + 8 * int.from_bytes(frame[8:12], "little")
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        at = dice.randrange(start, len(broken))
        wound = dice.randrange(5)
        if wound == 0:
            broken[at] = dice.randrange(256)
        elif wound == 1:
            broken[at] ^= 1 << dice.randrange(8)
        elif wound == 2:
            broken[at] = (broken[at] + dice.choice((-1, 1))) % 256
        else:
            at -= (at - start) % 4
            form = dice.choice(["<I", "<Q"])
            odd = struct.pack(form, dice.choice(ODD_NUMBERS) % 2 ** (8 * struct.calcsize(form)))
            broken[at : at + len(odd)] = odd[: len(broken) - at]
    return bytes(broken)


def use(value: object) -> None:
    """Touch all of a value, as a method would that gets it."""
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import shapely
    import xarray as xr

    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for part in value:
            use(part)
    elif isinstance(value, (pa.Table, pa.RecordBatch, pa.Array, pa.ChunkedArray)):
        value.to_pylist()
        str(value)
    elif isinstance(value, (pl.DataFrame, pl.Series)):
        value.to_arrow()
        str(value)
    elif isinstance(value, (pd.DataFrame, pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        repr(value)
        np.asarray(value)
    elif isinstance(value, shapely.Geometry):
        _ = value.area, value.wkt
    elif isinstance(value, (xr.Dataset, xr.DataArray, xr.DataTree)):
        repr(value)
    else:
        repr(value)


def main(what: str, seed: int = 0, count: int = EACH) -> None:
    """Damage frames, and print how many gave what."""
    from polars.exceptions import PanicException

    from landbridge.errors import CannotTravel, Malformed, ProtocolMismatch, TooLarge
    from landbridge.wire import decode, encode

    frames = [b"".join(encode(value)) for value in good_values(what)]
    for frame in frames:
        use(decode(frame))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    dice = random.Random(f"{what} {seed}")
    outcomes: Counter[str] = Counter()
    warnings.simplefilter("ignore")  # libraries warn of odd but possible content
    for _ in range(count):
        frame = injured(dice, dice.choice(frames))
        try:
            value = decode(bytearray(frame))
        except (Malformed, ProtocolMismatch, TooLarge, CannotTravel):
            outcomes["error"] += 1
            continue
        outcomes["value"] += 1
        try:
            use(value)
        except MemoryError:
            raise
        except (Exception, PanicException):  # what a library says of odd dates and the like: no crash
            outcomes["odd"] += 1
    print(*(f"{name}={count}" for name, count in outcomes.items()), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
