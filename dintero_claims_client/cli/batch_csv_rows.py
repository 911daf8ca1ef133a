"""The rows of a CSV as bytes: where one ends, which its quotes decide, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import BinaryIO

from dintero_claims_client.cli.batch_rows import BOM, ROW_MAX

_QUOTE = b'"'


@dataclass(frozen=True, slots=True)
class RowPart:
    """A row, or a part of one that is longer than `ROW_MAX` bytes."""

    line: int
    """The number of the line on which the row begins."""
    last_line: int
    content: bytes
    ended: bool
    """Whether nothing of the row follows."""
    unclosed: bool
    """Whether it ended because the input did, within quotes."""


class RowParts(Iterator[RowPart]):
    """Tells rows apart as the csv module does, without holding what is too long for a row.

    All parts of a row but the last say that it has not ended. What is within quotes is never taken for
    rows, however long it is: claims would be made of what is only text.
    """

    def __init__(self, stream: BinaryIO, delimiters: str) -> None:
        self._stream = stream
        self._quotes = _Quotes(delimiters)
        self._begun = False
        self._ended = True
        self._line = 1
        """The line on which the row began."""
        self._last_line = 1
        """The line on which the last byte was."""
        self._next_line = 1

    def expect(self, delimiter: str) -> None:
        """Let cells of the rows from here on end at this delimiter only."""
        self._quotes = _Quotes(delimiter)

    def __next__(self) -> RowPart:
        if self._ended:
            self._line = self._next_line
            self._quotes.begin_row()
        content = bytearray()
        at_end = ended = False
        while not ended and len(content) <= ROW_MAX:
            piece = self._read(ROW_MAX + 1 - len(content))
            if not piece:
                at_end = ended = True
                break
            self._last_line = self._next_line
            content += piece
            self._quotes.follow(piece)
            if piece.endswith(b"\n"):
                self._next_line += 1
                ended = not self._quotes.are_open
        if at_end and self._ended and not content:
            raise StopIteration
        self._ended = ended
        return RowPart(self._line, self._last_line, bytes(content), ended, at_end and self._quotes.are_open)

    def _read(self, size: int) -> bytes:
        piece = self._stream.readline(size)
        if not self._begun:
            piece = piece.removeprefix(BOM)
        self._begun = True
        return piece


class _At(Enum):
    """Where in a cell the next byte is."""

    BEGINNING = auto()
    PLAIN = auto()
    QUOTED = auto()
    AFTER_QUOTE = auto()
    """After a quote within quotes: another one would make both a character."""


class _Quotes:
    """Whether quotes are open: they open at the beginning of a cell only."""

    def __init__(self, delimiters: str) -> None:
        self._delimiter = re.compile(b"[" + re.escape(delimiters.encode()) + b"]")
        self._at = _At.BEGINNING

    @property
    def are_open(self) -> bool:
        return self._at is _At.QUOTED

    def begin_row(self) -> None:
        self._at = _At.BEGINNING

    def follow(self, piece: bytes) -> None:
        if _QUOTE not in piece and piece.endswith(b"\n"):
            # Most pieces: nothing opens or closes, and a row that is not within quotes is at its end.
            return
        at = 0
        while at < len(piece):
            match self._at:
                case _At.BEGINNING:
                    opens = piece.startswith(_QUOTE, at)
                    self._at = _At.QUOTED if opens else _At.PLAIN
                    at += opens
                case _At.PLAIN:
                    found = self._delimiter.search(piece, at)
                    if found is None:
                        return
                    self._at = _At.BEGINNING
                    at = found.end()
                case _At.QUOTED:
                    at = piece.find(_QUOTE, at) + 1
                    if not at:
                        return
                    self._at = _At.AFTER_QUOTE
                case _At.AFTER_QUOTE:
                    doubled = piece.startswith(_QUOTE, at)
                    self._at = _At.QUOTED if doubled else _At.PLAIN
                    at += doubled
