"""The outer shape of a value on the wire: preamble, header, raw buffers.

::

    magic "LB" | major u8 | minor u8 | u32 header_len | u32 n_buffers | n x u64 length
    | header | zeros to 64 | buffer 0 | zeros to 64 | buffer 1 ...

A frame with compressed buffers is of minor version 1 and has, behind the lengths, n x (codec u8 | u64 length before),
with codec 0 for a buffer that lies there as it is. All other frames are of minor version 0.

All numbers are little-endian. Every buffer begins at a multiple of 64 bytes from the start of the frame, so that a
receiver who puts the frame into aligned memory can use the arrays where they lie. Nothing follows the last buffer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..errors import Malformed, ProtocolMismatch, TooLarge
from .room import room

__all__ = [
    "DEFAULT",
    "INLINE_BYTES",
    "Limits",
    "Part",
    "Sink",
    "Source",
    "Squeezed",
    "buffers_of",
    "frame_parts",
    "header_of",
    "joined",
    "saved_bytes",
    "size_bytes",
    "split_frame",
]

Part: TypeAlias = bytes | memoryview

MAJOR, MINOR = 1, 1
INLINE_BYTES = 512
"""Binary data below this size stands in the header; a buffer of its own would cost more than it saves."""

_ALIGN = 64
_PREAMBLE = struct.Struct("<2sBBII")
_MAGIC = b"LB"
_ZEROS = bytes(_ALIGN)
_START = _MAGIC + bytes((MAJOR, 0))
_START_COMPRESSED = _MAGIC + bytes((MAJOR, 1))
_PACKED = struct.Struct("<BQ")
_COUNTS = struct.Struct("<II")
_NO_BUFFERS = bytes(4)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a receiver accepts; every limit is checked before memory is taken for what it guards.

    Attributes
    ----------
    frame_bytes : int
        Size of the whole frame. Whoever receives one has bounded it before: by now it is in memory.
    header_bytes : int
        Size of the header: everything but the raw buffers.
    depth : int
        Nesting of lists, dicts and tagged values.
    buffers : int
        Number of raw buffers.
    items : int
        Number of entries in all lists and dicts together (a dict entry counts twice: key and value).
    raw_bytes : int
        What all compressed buffers of a frame may be together, once they are decompressed. None by default: only who
        has said which codecs it reads is sent such frames, and knows how much it can hold.
    """

    frame_bytes: int = 2**40
    header_bytes: int = 2**20
    depth: int = 64
    buffers: int = 4096
    items: int = 2**20
    raw_bytes: int = 0


DEFAULT = Limits()


def size_bytes(parts: Iterable[Part]) -> int:
    """Return the number of bytes of a frame given as parts.

    Examples
    --------
    >>> size_bytes([b"abc", memoryview(b"de")])
    5
    """
    return sum(map(len, parts))


def joined(parts: Sequence[Part]) -> memoryview:
    """Return the parts of a frame as one, in memory that is aligned and may be written to.

    Examples
    --------
    >>> bytes(joined([b"abc", memoryview(b"de")]))
    b'abcde'
    """
    whole = room(size_bytes(parts))
    begin = 0
    for part in parts:
        whole[begin : begin + len(part)] = part
        begin += len(part)
    return whole


class Squeezed(NamedTuple):
    """A buffer in its compressed form.

    Attributes
    ----------
    codec : int
        How it was compressed.
    raw_bytes : int
        Its length before.
    size : int
        Its length now, in bytes.
    parts : list of bytes or memoryview
        What it is now.
    """

    codec: int
    raw_bytes: int
    size: int
    parts: Sequence[Part]


def frame_parts(header: bytes, buffers: Sequence[Part], squeezed: Sequence[Squeezed | None] = ()) -> list[Part]:
    """Return the parts of one frame; they are not joined, because joining would copy every array.

    Parameters
    ----------
    header : bytes
        Everything but the raw buffers.
    buffers : sequence of bytes or memoryview
        The raw buffers.
    squeezed : sequence of Squeezed or None
        For each buffer its compressed form, if it is to have one; empty: none has.
    """
    if not buffers:
        return [b"%b%b%b%b" % (_START, len(header).to_bytes(4, "little"), _NO_BUFFERS, header)]
    bodies = squeezed or [None] * len(buffers)
    sizes = [len(raw) if body is None else body.size for raw, body in zip(buffers, bodies, strict=True)]
    lengths = struct.pack(f"<{len(buffers)}Q", *sizes)
    table = b"".join(
        _PACKED.pack(0, len(raw)) if body is None else _PACKED.pack(body.codec, body.raw_bytes)
        for raw, body in zip(buffers, squeezed, strict=True)
    ) if squeezed else b""  # fmt: skip
    start = _START_COMPRESSED if squeezed else _START
    first = b"".join((start, _COUNTS.pack(len(header), len(buffers)), lengths, table, header))
    parts: list[Part] = [first + _ZEROS[: -len(first) % _ALIGN]]
    padding = 0
    for raw, body, size in zip(buffers, bodies, sizes, strict=True):
        if padding:
            parts.append(_ZEROS[:padding])
        parts.extend((raw,) if body is None else body.parts)
        padding = -size % _ALIGN
    return parts


def buffers_of(parts: Sequence[Part]) -> tuple[bytes, list[Part]]:
    """Return header and buffers of a frame, given the parts that `frame_parts` made of them, none compressed."""
    first = parts[0]
    header_len, n_buffers = _COUNTS.unpack_from(first, 4)
    start = 12 + 8 * n_buffers
    buffers: list[Part] = []
    place = 1
    for length in struct.unpack_from(f"<{n_buffers}Q", first, 12):
        buffers.append(parts[place])
        place += 2 if length % _ALIGN else 1
    return bytes(first[start : start + header_len]), buffers


def header_of(frame: bytes | bytearray | memoryview) -> bytes:
    """Return where the header of a frame must be, without any check: what is not a frame gives anything or nothing."""
    header_len, n_buffers = int.from_bytes(frame[4:8], "little"), int.from_bytes(frame[8:12], "little")
    begin = 12 + (8 if frame[3:4] == b"\x00" else 17) * n_buffers
    return bytes(frame[begin : begin + min(header_len, len(frame))])


def saved_bytes(frame: bytes | bytearray | memoryview) -> int:
    """Return how many bytes compression has saved on the way of a frame; 0 for what is no such frame.

    Examples
    --------
    >>> saved_bytes(b"".join(frame_parts(b"header", [bytes(600)])))
    0
    """
    if len(frame) < _PREAMBLE.size:
        return 0
    magic, major, minor, _, n_buffers = _PREAMBLE.unpack_from(frame)
    table = 12 + 8 * n_buffers
    if (magic, major) != (_MAGIC, MAJOR) or not minor or not n_buffers or len(frame) < table + 9 * n_buffers:
        return 0
    lengths = struct.unpack_from(f"<{n_buffers}Q", frame, 12)
    saved: int = sum(raw - length for length, (_, raw) in zip(lengths, _packed_of(frame, n_buffers), strict=True))
    return max(saved, 0)


def _packed_of(frame: bytes | bytearray | memoryview, n_buffers: int) -> list[tuple[int, int]]:
    start = 12 + 8 * n_buffers
    return [_PACKED.unpack_from(frame, start + _PACKED.size * index) for index in range(n_buffers)]


class Sink:
    """The raw buffers of one frame that is being written."""

    __slots__ = ("buffers", "itemsizes")

    def __init__(self) -> None:
        self.buffers: list[Part] = []
        self.itemsizes: list[int] = []

    def put(self, data: Part, itemsize: int = 1) -> bytes | int:
        """Return what a payload holds for binary data: the bytes, if they are few, or the index of a new buffer.

        Parameters
        ----------
        data : bytes or memoryview
            The binary data.
        itemsize : int
            Size of the numbers that they are, in bytes: such compress better when it is known.
        """
        if len(data) < INLINE_BYTES:
            return bytes(data)
        self.buffers.append(data)
        self.itemsizes.append(itemsize)
        return len(self.buffers) - 1


class Source:
    """The raw buffers of one received frame, each to be taken exactly once.

    Taking a buffer twice would let a short frame become any number of large arrays (a read-only frame is copied
    array by array), and a buffer nobody takes is data that no rule has looked at; both are refused.
    """

    __slots__ = ("_left", "_packed", "_spans", "_view", "read_only")

    def __init__(self, view: memoryview, spans: list[tuple[int, int]], packed: Sequence[tuple[int, int]] = ()) -> None:
        self._view, self._spans, self._left = view, spans, set(range(len(spans)))
        self._packed = packed  # codec and length before, for each buffer; empty: none is compressed
        self.read_only = False  # whether arrays may be left as views that cannot be written to

    def take(self, reference: object) -> bytes | memoryview:
        """Return the binary data that a payload refers to: bytes as they are, or a buffer by its index."""
        if type(reference) is bytes:
            return reference
        if type(reference) is not int or reference not in self._left:
            raise Malformed(f"{reference!r:.40} is not the index of a buffer that is still to be used")
        self._left.remove(reference)
        start, stop = self._spans[reference]
        data = self._view[start:stop]
        if not self._packed or not self._packed[reference][0]:
            return data
        from .compression import decompressed

        return decompressed(self._packed[reference][0], data, self._packed[reference][1])

    def check_all_taken(self) -> None:
        """Refuse a frame with buffers that belong to no value."""
        if self._left:
            raise Malformed(f"{len(self._left)} of {len(self._spans)} buffers belong to no value")


_EMPTY = memoryview(b"")


def split_frame(frame: bytes | bytearray | memoryview, limits: Limits) -> tuple[bytes, Source | None]:
    """Return the header of a frame and its buffers (None if it has none), after checking its outer shape.

    Raises
    ------
    Malformed
        When lengths, padding or magic are wrong.
    ProtocolMismatch
        When the frame is of another version.
    TooLarge
        When the frame or its header is beyond `limits`.
    """
    size = len(frame) if type(frame) is not memoryview else frame.nbytes
    if size > limits.frame_bytes:
        raise TooLarge("A received frame", size, limits.frame_bytes, _ADVICE)
    if size < _PREAMBLE.size:
        raise Malformed(f"a frame of {size} bytes is shorter than its preamble")
    if type(frame) is memoryview and not (frame.format == "B" and frame.ndim == 1 and frame.c_contiguous):
        raise Malformed("the frame is not one run of bytes")
    magic, major, minor, header_len, n_buffers = _PREAMBLE.unpack_from(frame)
    if magic != _MAGIC:
        raise Malformed(f"it begins with {bytes(magic)!r}, not {_MAGIC!r}")
    if major != MAJOR or minor > MINOR + 1:
        raise ProtocolMismatch(f"{MAJOR}.{MINOR}", f"{major}.{minor}")
    if header_len > limits.header_bytes:
        raise TooLarge("The header of a received frame", header_len, limits.header_bytes, _ADVICE)
    if not n_buffers:
        if 12 + header_len != size:
            raise Malformed(f"a frame of {size} bytes names a header of {header_len} bytes and no buffers")
        return bytes(frame[12:]), None
    if n_buffers > limits.buffers:
        raise Malformed(f"{n_buffers} buffers, the limit is {limits.buffers}")
    start = 12 + (17 if minor else 8) * n_buffers
    if start + header_len > size:
        raise Malformed(f"the header ends at byte {start + header_len} of a frame of {size}")
    packed = _packed_of(frame, n_buffers) if minor else []
    raw_bytes = sum(raw for codec, raw in packed if codec)
    if raw_bytes > limits.raw_bytes:
        raise TooLarge("What the compressed buffers of a received frame were", raw_bytes, limits.raw_bytes, _ADVICE)
    return _spans(frame if type(frame) is memoryview else memoryview(frame), n_buffers, start, header_len, packed)


def _spans(
    view: memoryview, n_buffers: int, start: int, header_len: int, packed: list[tuple[int, int]]
) -> tuple[bytes, Source]:
    end = start + header_len
    spans = []
    for length in struct.unpack_from(f"<{n_buffers}Q", view, 12):
        begin = end + -end % _ALIGN
        if begin + length > len(view):  # Python integers: no sum can wrap round
            raise Malformed(f"a buffer ends at byte {begin + length} of a frame of {len(view)}")
        if view[end:begin] != _ZEROS[: begin - end]:
            raise Malformed("the padding between two buffers is not zero")
        spans.append((begin, end := begin + length))
    if end != len(view):
        raise Malformed(f"{len(view) - end} bytes follow the last buffer")
    for (codec, raw), (begin, stop) in zip(packed, spans, strict=False):
        if raw != stop - begin if not codec else not raw:
            raise Malformed(f"a buffer of codec {codec} and {stop - begin} bytes says that it was {raw}")
    return bytes(view[start : start + header_len]), Source(view, spans, packed)


_ADVICE = "Let the sender reduce or slice the data, or raise the limit of this side"
