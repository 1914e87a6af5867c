"""Compression of the buffers of a frame: whether it pays, how, and back.

A compressed buffer is one byte, the size of the items whose bytes were put together before (see `_shuffled`), and then
pieces: u32 length of what follows, and the piece. A piece stands for 1 MiB of the buffer, the last for what is left.
Pieces bound what is needed beside the buffer and its compressed form, and how long nobody can interrupt the work.

`numcodecs` does the work, and is imported when there is some: both of its decoders used here bound what they read and
write, and each is given exactly the memory of its piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import Malformed, MissingExtra, TooLarge
from .frame import Part, Squeezed, buffers_of, frame_parts
from .room import room

if TYPE_CHECKING:
    import numpy as np

    Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

__all__ = ["COMPRESSED_FROM", "UNKNOWN_RATE", "compressed", "decompressed", "pays", "readable", "squeezed"]

COMPRESSED_FROM = 64 * 1024
"""Buffers below this size stay as they are, in bytes."""

UNKNOWN_RATE = 100e6
"""What a line is taken to carry as long as nobody knows, in bytes per second."""

_NUMBERS = {"lz4": 1, "zstd": 2}
_NAMES = {number: name for name, number in _NUMBERS.items()}
_PIECE_BYTES = 1024 * 1024
_ITEMSIZES = frozenset({1, 2, 4, 8, 16})
_PROBED_SHARE = 16
_PROBED_BYTES = 256 * 1024
_PROBED_PLACES = 4
_SMALLEST_RATIO = 1.1
_GAIN = 0.95  # of the time that it takes as it is
_ZSTD_BELOW = 50e6  # on faster lines the time that zstd takes beyond lz4 is more than what its ratio saves
_NEVER_ABOVE = 300e6  # there lz4 and back takes longer than what it could save, so that not even a sample is worth it
# Decompression, into memory that is touched for the first time, takes about as long as compression; and half of both
# more, as what was measured on a sample takes longer when others compute, too.
_WORK = 3.0
_GIVEN_UP_AFTER = 8 * _PIECE_BYTES
_JOINED_BYTES = 16 * 1024 * 1024


@lru_cache(1)
def readable() -> tuple[str, ...]:
    """Return the names of the codecs that this side can read and write, the quickest first; nothing is imported."""
    try:
        found = find_spec("numcodecs") is not None
    except ValueError:  # somebody put a module there that was never imported
        found = False
    return tuple(_NUMBERS) if found else ()


def pays(
    raw: Part,
    itemsize: int,
    codecs: Sequence[str],
    bytes_per_s: float,
    clock: Callable[[], float],
) -> str | None:
    """Return the codec with which a buffer arrives soonest; None when that is without one.

    A sample from several places is compressed, and the time that it takes is measured.

    Parameters
    ----------
    raw : bytes or memoryview
        The buffer.
    itemsize : int
        Size of its items, in bytes.
    codecs : sequence of str
        Those that both sides know.
    bytes_per_s : float
        What the line to the receiver carries; 0 if that is not known.
    clock : callable
        Tells the time, in seconds.
    """
    rate = bytes_per_s or UNKNOWN_RATE
    if len(raw) < COMPRESSED_FROM or rate > _NEVER_ABOVE:
        return None
    import numpy as np

    sample = _sample(np.frombuffer(raw, np.uint8))
    best, best_s = None, _GAIN / rate
    for codec in codecs:
        if codec not in _NUMBERS or (codec == "zstd" and rate > _ZSTD_BELOW and "lz4" in codecs):
            continue
        pack = _packer(codec)
        began = clock()
        packed = pack(_shuffled(sample, itemsize))
        spent_s = (clock() - began) / len(sample)
        ratio = len(sample) / len(packed)
        seconds = 1 / (rate * ratio) + spent_s * _WORK
        if ratio >= _SMALLEST_RATIO and seconds < best_s:
            best, best_s = codec, seconds
    return best


def compressed(
    parts: Sequence[Part],
    itemsizes: Sequence[int],
    codecs: Sequence[str],
    bytes_per_s: float,
    clock: Callable[[], float],
    go_on: Callable[[], object],
) -> list[Part]:
    """Return the parts of a frame with those buffers compressed for which that pays.

    Parameters
    ----------
    parts : sequence of bytes or memoryview
        As `encode` gives them, or copied.
    itemsizes : sequence of int
        Size of the items of each buffer, in bytes; `encode` tells.
    codecs : sequence of str
        Those that the receiver can read.
    bytes_per_s : float
        What the line to the receiver carries; 0 if that is not known.
    clock : callable
        Tells the time, in seconds: what compressing costs is measured.
    go_on : callable
        Asked before each piece; raises what is to end the work.
    """
    header, buffers = buffers_of(parts)
    bodies: list[Squeezed | None] = [None] * len(buffers)
    for index, (raw, itemsize) in enumerate(zip(buffers, itemsizes, strict=True)):
        if itemsize not in _ITEMSIZES or len(raw) % itemsize:
            itemsize = 1
        codec = pays(raw, itemsize, codecs, bytes_per_s, clock)
        if codec is not None:
            bodies[index] = squeezed(raw, itemsize, codec, go_on)
    return frame_parts(header, buffers, bodies) if any(bodies) else list(parts)


def squeezed(raw: Part, itemsize: int, codec: str, go_on: Callable[[], object]) -> Squeezed | None:
    """Return a compressed buffer; None when the sample promised too much.

    Parameters
    ----------
    raw : bytes or memoryview
        The buffer.
    itemsize : int
        1, 2, 4, 8 or 16: size of its items, in bytes; it is a multiple of it long.
    codec : str
        One of `readable`.
    go_on : callable
        Asked before each piece; raises what is to end the work.
    """
    import numpy as np

    data, pack = np.frombuffer(raw, np.uint8), _packer(codec)
    done: list[bytes] = []
    pending = [bytes((itemsize,))]
    pending_bytes = size = 1
    for begin in range(0, len(data), _PIECE_BYTES):
        go_on()
        packed = pack(_shuffled(data[begin : begin + _PIECE_BYTES], itemsize))
        pending += len(packed).to_bytes(4, "little"), packed
        pending_bytes += 4 + len(packed)
        size += 4 + len(packed)
        if begin >= _GIVEN_UP_AFTER and size * _SMALLEST_RATIO > begin + _PIECE_BYTES:
            return None
        if pending_bytes > _JOINED_BYTES:
            done.append(b"".join(pending))
            pending, pending_bytes = [], 0
    if size >= len(data):
        return None
    done.append(b"".join(pending))
    return Squeezed(_NUMBERS[codec], len(data), size, done)


def decompressed(codec: int, data: memoryview, size: int) -> memoryview:
    """Return the buffer of `size` bytes that was compressed to `data`, in memory of its own.

    Raises
    ------
    Malformed
        When it does not give exactly so many bytes.
    MissingExtra
        When `numcodecs` is not installed here.
    """
    name = _NAMES.get(codec)
    if name is None:
        raise Malformed(f"a buffer is compressed by codec {codec}, which is unknown")
    itemsize = data[0] if data else 0
    if itemsize not in _ITEMSIZES or size % itemsize:
        raise Malformed(f"a compressed buffer of {size} bytes has items of {itemsize} bytes")
    unpack = _unpacker(name)
    # Each piece has a length of its own: so much cannot come out of so little, whatever the codec.
    if size > (len(data) // 5) * _PIECE_BYTES:
        raise Malformed(f"{len(data)} compressed bytes cannot be {size}")
    import numpy as np

    try:
        whole = room(size)
        target, scratch = np.frombuffer(whole, np.uint8), np.empty(min(size, _PIECE_BYTES), np.uint8)
    except (MemoryError, OSError):
        advice = "This process cannot get so much memory at once now: ask for less, or free some"
        raise TooLarge("A compressed buffer", size, size - 1, advice) from None
    at = 1
    for begin in range(0, size, _PIECE_BYTES):
        length = int.from_bytes(data[at : at + 4], "little")
        piece = data[at + 4 : at + 4 + length]
        if len(piece) != length or not length:
            raise Malformed("a piece of a compressed buffer is cut off")
        at += 4 + length
        into = target[begin : begin + _PIECE_BYTES]
        if itemsize == 1:
            unpack(piece, into)
        else:
            planes = scratch[: len(into)]
            unpack(piece, planes)
            _unshuffle(planes, into, itemsize)
    if at != len(data):
        raise Malformed(f"{len(data) - at} bytes follow the last piece of a compressed buffer")
    return whole


def _sample(data: Bytes) -> Bytes:
    """Return bytes from several places: little beside the whole, or looking would cost more than it could save."""
    import numpy as np

    length = min(_PROBED_BYTES, max(len(data) // _PROBED_SHARE, 8192)) // _PROBED_PLACES // 16 * 16
    step = (len(data) - length) // (_PROBED_PLACES - 1) // 16 * 16
    return np.concatenate([data[place * step : place * step + length] for place in range(_PROBED_PLACES)])


def _shuffled(data: Bytes, itemsize: int) -> Bytes:
    """Return the first bytes of all items, then the second ones, and so on: those are more alike."""
    if itemsize == 1:
        return data
    import numpy as np

    return np.ascontiguousarray(data.reshape(-1, itemsize).T).reshape(-1)


def _unshuffle(planes: Bytes, into: Bytes, itemsize: int) -> None:
    items = into.reshape(-1, itemsize)
    for place, plane in enumerate(planes.reshape(itemsize, -1)):  # twice as quick as one transposed copy
        items[:, place] = plane


def _packer(codec: str) -> Callable[[Bytes], bytes]:
    lz4, zstd = _codecs()
    if codec == "lz4":
        return lambda data: lz4.compress(data)
    return lambda data: zstd.compress(data, 1)


def _unpacker(codec: str) -> Callable[[memoryview, Bytes], None]:
    lz4, zstd = _codecs()
    said, decompress = (_lz4_size, lz4.decompress) if codec == "lz4" else (_zstd_size, zstd.decompress)

    def unpack(piece: memoryview, into: Bytes) -> None:
        if said(piece) != len(into):
            raise Malformed("a piece of a compressed buffer does not say that it has the length it must have")
        try:
            decompress(piece, into)
        except (RuntimeError, ValueError) as error:
            raise Malformed(f"a compressed buffer cannot be read ({error!s:.60})") from None

    return unpack


def _codecs() -> tuple[Any, Any]:
    try:
        from numcodecs import lz4, zstd
    except ImportError:
        raise MissingExtra("A compressed value", "compress") from None
    return lz4, zstd


def _lz4_size(piece: memoryview) -> int:
    return int.from_bytes(piece[:4], "little") if len(piece) > 4 else -1


def _zstd_size(piece: memoryview) -> int:
    """Return the length that a Zstandard frame says it has (RFC 8878, section 3.1.1.1); -1 if it says none.

    A library may take a frame for something shorter than the memory that it is given, and leave the rest as it was.
    """
    if len(piece) < 6 or bytes(piece[:4]) != b"\x28\xb5\x2f\xfd":
        return -1
    described = piece[4]
    has_window = not described & 0x20
    size_flag, dictionary_flag = described >> 6, described & 3
    if dictionary_flag or (not size_flag and has_window):
        return -1
    at, length = 5 + has_window, 1 << size_flag
    if len(piece) < at + length:
        return -1
    return int.from_bytes(piece[at : at + length], "little") + (256 if length == 2 else 0)
