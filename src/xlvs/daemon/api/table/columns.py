"""Columns of numbers and addresses as text, thousands of rows at once.

A column is a matrix of characters, a row of it one cell, with zero bytes where
a cell is shorter; they go when all columns are put together.  Building a Python
object for every cell would take ten times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.model import MAPPED, Address

Cells = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

_MAPPED = np.frombuffer(MAPPED, "<u4")
_BASE = 10_000
_SHORT, _LONG = 16, 48
"""Characters that addresses of IPv4, and of either family, have room for."""


def texts(words: Sequence[str]) -> Cells:
    """Return a column of these *words*."""
    found = np.array([word.encode() for word in words])
    return found.view(np.uint8).reshape(len(words), found.itemsize)


def pick(column: Cells, numbers: npt.NDArray[np.intp]) -> Cells:
    """Return a column of the cells that have these *numbers* in *column*."""
    width = column.shape[1]
    return column.view(f"V{width}")[:, 0][numbers].view(np.uint8).reshape(-1, width)


def _four(texts_: Sequence[str]) -> Words:
    """Return texts of up to four characters as one word each."""
    return np.array([text.encode() for text in texts_], "S4").view("<u4")


_DIGITS = np.concatenate([_four([str(n) for n in range(_BASE)]), _four([f"{n:04}" for n in range(_BASE)])])
"""Four digits as they begin a number, and as they go on in one."""

_FIRST_DIGITS = _DIGITS.copy()
_FIRST_DIGITS[0] = 0
"""The same, for where there may be none."""

_OCTETS = _four([f"{n}." for n in range(256)])
_LAST_OCTET = _four([str(n) for n in range(256)])


def decimals(numbers: npt.NDArray[Any]) -> Cells:
    """Return a column of numbers that are not negative."""
    most = int(numbers.max(initial=0))
    rest: npt.NDArray[Any] = numbers.astype(np.uint64 if most >> 32 else np.uint32)
    base: Any = rest.dtype.type(_BASE)
    table = _DIGITS
    found = []
    while most >= _BASE:
        over = rest // base
        found.append(table[(rest - (over - (over != 0)) * base).astype(np.intp)])
        rest, most, table = over, most // _BASE, _FIRST_DIGITS
    found.append(table[rest.astype(np.intp)])
    column = np.empty((len(numbers), len(found)), "<u4")
    for i, digits in enumerate(reversed(found)):
        column[:, i] = digits
    return column.view(np.uint8)


def addresses(words: Words) -> Cells:
    """Return a column of addresses, each given as four words in network order (`xlvs.model.Address`)."""
    short = (words[:, 0] | words[:, 1] | (words[:, 2] ^ _MAPPED[2])) == 0
    if short.all():
        return _ipv4(words[:, 3])
    packed = np.ascontiguousarray(words[~short]).tobytes()
    found = [packed[i : i + 16] for i in range(0, len(packed), 16)]
    spelled = {address: str(Address(address)).encode() for address in set(found)}
    long = np.array([spelled[address] for address in found], f"S{_LONG}").view(np.uint8).reshape(-1, _LONG)
    column = np.zeros((len(words), _LONG), np.uint8)
    column[~short] = long
    column[short, :_SHORT] = _ipv4(words[short, 3])
    return column


def bracketed(column: Cells) -> Cells:
    """Return a column of addresses in which those of IPv6 have brackets."""
    if column.shape[1] == _SHORT:
        return column
    found = np.zeros((len(column), column.shape[1] + 2), np.uint8)
    found[:, 1:-1] = column
    long = (column == ord(":")).any(axis=1)
    found[long, 0], found[long, -1] = ord("["), ord("]")
    return found


def _ipv4(word: Words) -> Cells:
    octets = np.ascontiguousarray(word).view(np.uint8).astype(np.intp).reshape(-1, 4)
    column = _OCTETS[octets]
    column[:, 3] = _LAST_OCTET[octets[:, 3]]
    return column.view(np.uint8)


def lines(pieces: Sequence[bytes | Cells]) -> bytes:
    """Return one text per row, all joined: each *piece* is a column, or the same in every row."""
    rows = max(len(piece) for piece in pieces if not isinstance(piece, bytes))
    sizes = [len(piece) if isinstance(piece, bytes) else piece.shape[1] for piece in pieces]
    names = [f"f{i}" for i in range(len(pieces))]
    row = np.zeros(1, [(name, f"V{size}") for name, size in zip(names, sizes, strict=True)])
    for name, piece in zip(names, pieces, strict=True):
        if isinstance(piece, bytes):
            row[name] = np.void(piece)
    table = np.repeat(row, rows)
    for name, piece, size in zip(names, pieces, sizes, strict=True):
        if not isinstance(piece, bytes):
            table[name] = np.ascontiguousarray(piece).view(f"V{size}")[:, 0]
    return table.tobytes().translate(None, b"\0")
