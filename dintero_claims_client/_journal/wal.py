"""Whether SQLite's write-ahead log has lost a transaction that was on disk.

On opening, SQLite takes the first frame that does not fit for the end of what was written, and forgets all
that follows. That is right for a write that was cut short, and wrong for a frame that was damaged later. The
difference shows behind it: each commit is on disk before the next transaction begins, so that only the last
one can be cut short. The format is described at https://www.sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Literal

import attrs

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_VERSION = 3007000
_MAGICS: dict[int, Literal["<", ">"]] = {0x377F0682: "<", 0x377F0683: ">"}
"""The magic number says in which byte order checksums read; all numbers are big-endian."""
_PAGE_SIZES = frozenset(2**power for power in range(9, 17))
_MASK = 0xFFFFFFFF

_Sums = tuple[int, int]


def find_damage(file: BinaryIO) -> str | None:
    """Say what is damaged in front of something that was written later; None where nothing is."""
    start = file.read(_HEADER.size)
    if len(start) < _HEADER.size:
        return None
    header = _read_header(start)
    if header is None:
        # It is on disk before any frame is.
        return "the header of its write-ahead log" if _has_content(file) else None
    number, sums = 0, header.sums
    while (frame := _read_frame(file, header)) is not None:
        expected = _checksum(frame.page, _checksum(frame.head, sums, header.order), header.order)
        if frame.sums == expected and frame.salts == header.salts:
            number, sums = number + 1, expected
            continue
        # Checksums do not cover the salts, and only what was written here matches the sum of all before it.
        if frame.sums == expected:
            return f"frame {number} of its write-ahead log"
        commits = int(frame.is_commit and frame.salts == header.salts)
        while (later := _read_frame(file, header)) is not None:
            # Left from before the log was begun anew.
            if later.salts == header.salts:
                commits += later.is_commit
        return f"frame {number} of its write-ahead log" if commits > 1 else None
    return None


@attrs.frozen
class _Header:
    order: Literal["<", ">"]
    page_size: int
    salts: tuple[int, int]
    sums: _Sums


@attrs.frozen
class _Frame:
    head: bytes
    is_commit: bool
    salts: tuple[int, int]
    sums: _Sums
    page: bytes


def _read_header(data: bytes) -> _Header | None:
    magic, version, page_size, _, salt1, salt2, sum1, sum2 = _HEADER.unpack(data)
    order = _MAGICS.get(magic)
    if order is None or version != _VERSION or page_size not in _PAGE_SIZES:
        return None
    if _checksum(data[:24], (0, 0), order) != (sum1, sum2):
        return None
    return _Header(order, page_size, (salt1, salt2), (sum1, sum2))


def _read_frame(file: BinaryIO, header: _Header) -> _Frame | None:
    data = file.read(_FRAME.size + header.page_size)
    if len(data) < _FRAME.size + header.page_size:
        return None
    _, pages_after_commit, salt1, salt2, sum1, sum2 = _FRAME.unpack_from(data)
    return _Frame(data[:8], pages_after_commit != 0, (salt1, salt2), (sum1, sum2), data[_FRAME.size :])


def _checksum(data: bytes, sums: _Sums, order: Literal["<", ">"]) -> _Sums:
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second


def _has_content(file: BinaryIO) -> bool:
    while chunk := file.read(1 << 20):
        if any(chunk):
            return True
    return False
