"""Which callers get compressed values, and what is known of the line to them."""

from __future__ import annotations

import pytest

from landbridge.backend.squeezing import squeezing_for
from landbridge.backend.usage import Usage


@pytest.mark.parametrize("asked", [None, "", "brotli snappy", ["lz4"], 3, "LZ4", "lz4,zstd"])
def test_who_names_no_codec_that_is_known_here_gets_what_is_not_compressed(asked):
    assert squeezing_for(asked, lambda: 0.0) is None


def test_of_what_a_caller_names_the_known_ones_are_used_the_quickest_first():
    assert squeezing_for("snappy zstd lz4", lambda: 0.0).codecs == ("lz4", "zstd")
    assert squeezing_for("zstd", lambda: 0.0).codecs == ("zstd",)


def test_a_rate_rises_faster_than_it_falls():
    usage = Usage(1000)
    assert usage.bytes_per_s == 0
    usage.learn_rate(8e6)
    assert usage.bytes_per_s == 8e6
    usage.learn_rate(16e6)
    assert usage.bytes_per_s == 12e6
    usage.learn_rate(8e6)
    assert usage.bytes_per_s == 11e6
