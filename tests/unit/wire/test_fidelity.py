"""The fidelity matrix: each value arrives exactly, or is refused before it is sent, with its place."""

from __future__ import annotations

import pytest

from landbridge.errors import CannotTravel
from landbridge.wire import decode, encode
from unit.wire.exactness import assert_exact
from unit.wire.fidelity_cases import ARRAYS, DATASETS, GENERAL, Unfit

CASES = {f"{group}: {name}": case
         for group, cases in (("array", ARRAYS), ("data set", DATASETS), ("value", GENERAL))
         for name, case in cases.items()}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_value_arrives_exactly_or_is_refused_with_its_place(name):
    case = CASES[name]
    if isinstance(case, Unfit):
        with pytest.raises(CannotTravel) as caught:
            encode(case.value)
        assert caught.value.where == case.where
    else:
        assert_exact(decode(b"".join(encode(case))), case)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not isinstance(case, Unfit)])
def test_value_arrives_exactly_as_a_view_of_writable_memory(name):
    assert_exact(decode(bytearray(b"".join(encode([CASES[name]]))))[0], CASES[name])


def test_the_matrix_is_as_large_as_it_has_to_be():
    assert len(ARRAYS) >= 39
    assert len(DATASETS) >= 18
    assert len(GENERAL) >= 105
