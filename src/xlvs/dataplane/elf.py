"""A compiled BPF object: the sections, symbols and relocations of one ELF file.

Reads exactly what clang writes for ``bpfel``: ELF64, little-endian, relocatable.
Refuses anything else, and externs (kfuncs, kconfig), which xlvs does not use.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from xlvs.dataplane.btf import Btf
from xlvs.errors import InvalidError

_EM_BPF = 247
_SHT_SYMTAB, _SHT_NOBITS, _SHT_REL = 2, 8, 9
_SHF_EXECINSTR = 4
_STT_FUNC = 2

R_BPF_64_64, R_BPF_64_32 = 1, 10


@dataclass(frozen=True, slots=True)
class Section:
    """One section; *data* of .bss is zeros."""

    index: int
    name: str
    data: bytes
    code: bool


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol; *section* is 0 for an extern."""

    name: str
    section: int
    value: int
    size: int
    function: bool


@dataclass(frozen=True, slots=True)
class Function:
    """One function: where its instructions lie."""

    name: str
    section: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Relocation:
    """The instruction at *offset* of a section refers to *symbol*."""

    offset: int
    type: int
    symbol: Symbol


class Object:
    """A parsed object file.  Raises `InvalidError` for anything that is not one.

    Structs named in *opaque* read as plain bytes (see `Btf`).
    """

    def __init__(self, data: bytes, *, opaque: Collection[str] = ()) -> None:
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 18)[0] != _EM_BPF:
            raise InvalidError("not a little-endian BPF object file")
        (table,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
        strings = _content(data, headers[names])
        self.sections = [
            Section(i, _string(strings, h[0]), _content(data, h), bool(h[2] & _SHF_EXECINSTR))
            for i, h in enumerate(headers)
        ]
        self.symbols: list[Symbol] = []
        for header in headers:
            if header[1] == _SHT_SYMTAB:
                self.symbols = list(_symbols(_content(data, header), self.sections[header[6]].data))
        self._relocations: dict[int, dict[int, Relocation]] = {}
        for header in headers:
            if header[1] == _SHT_REL:
                rows = struct.iter_unpack("<QQ", _content(data, header))
                found = (Relocation(at, info & 0xFFFFFFFF, self.symbols[info >> 32]) for at, info in rows)
                self._relocations[header[7]] = {r.offset: r for r in found}
        btf = self.section(".BTF")
        if btf is None:
            raise InvalidError("the object has no .BTF section: compile it with -g")
        self.btf = Btf(btf.data, opaque=opaque)

    def section(self, name: str) -> Section | None:
        """Return the section with this name, or None."""
        return next((s for s in self.sections if s.name == name), None)

    def relocations(self, section: int) -> dict[int, Relocation]:
        """Return the relocations of a section by the offset they apply to."""
        return self._relocations.get(section, {})

    def functions(self) -> list[Function]:
        """Return every function, programs and subprograms alike."""
        return [Function(s.name, s.section, s.value, s.size) for s in self.symbols if s.function and s.section]

    def license(self) -> str:
        """Return what the object's ``license`` section says."""
        section = self.section("license")
        return section.data.rstrip(b"\0").decode() if section else ""

    def data_sections(self) -> list[Section]:
        """Return the sections that hold global variables."""
        kinds = (".rodata", ".data", ".bss")
        return [s for s in self.sections if s.data and s.name.startswith(kinds)]

    def fixed_btf(self) -> bytes:
        """Return the type information as the kernel wants it."""
        sizes = {s.name: len(s.data) for s in self.sections}
        return self.btf.fixed(sizes, {s.name: s.value for s in self.symbols if s.name})


def _string(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


def _content(data: bytes, header: tuple[int, ...]) -> bytes:
    offset, size = header[4], header[5]
    return bytes(size) if header[1] == _SHT_NOBITS else data[offset : offset + size]


def _symbols(table: bytes, strings: bytes) -> Iterator[Symbol]:
    for name, info, _, section, value, size in struct.iter_unpack("<IBBHQQ", table):
        yield Symbol(_string(strings, name), section, value, size, info & 0xF == _STT_FUNC)
