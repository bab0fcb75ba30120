"""Turn one program of an object into instructions the kernel takes.

A BPF program is loaded alone, so the subprograms it uses, directly or as
callbacks, are appended to it and every call, callback, map and global variable
is pointed at its place.  Function and line records (.BTF.ext) move along: the
kernel demands the former for subprograms.  Refuses CO-RE relocations, which
nothing in xlvs needs.  The method is libbpf's (``bpf_object__reloc_code``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from xlvs.dataplane.elf import R_BPF_64_32, R_BPF_64_64, Function, Object, Relocation
from xlvs.errors import InvalidError

_INSN = 8
_LD_IMM64, _CALL = 0x18, 0x85
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE, _PSEUDO_CALL, _PSEUDO_FUNC = 1, 2, 1, 4


class Records(NamedTuple):
    """Function or line records of one code section, by byte offset; the payload lacks its offset."""

    size: int
    rows: list[tuple[int, bytes]]


class Code(NamedTuple):
    """A linked program, its function records and its line records, each with its row size."""

    insns: bytes
    func_info: bytes
    func_info_size: int
    line_info: bytes
    line_info_size: int


@dataclass(frozen=True, slots=True)
class _Placed:
    function: Function
    at: int  # instruction index in the linked program


class Assembler:
    """Links the programs of one object; *maps* and *data* give descriptors by map name and section name."""

    def __init__(self, obj: Object, maps: Mapping[str, int], data: Mapping[str, int]) -> None:
        self._obj = obj
        self._maps = maps
        self._data = data
        self._functions = {(f.section, f.start): f for f in obj.functions()}
        self._map_section = section.index if (section := obj.section(".maps")) else 0
        self._func_records, self._line_records = _records(obj)

    def program(self, main: Function) -> Code:
        """Return *main* with all it calls, ready to load."""
        placed: dict[Function, _Placed] = {main: _Placed(main, 0)}
        queue = [main]
        code = bytearray()
        for function in queue:  # grows while we walk it: subprograms of subprograms
            base = placed[function].at
            code += self._body(function)
            for at, target, _ in self._references(function):
                if target not in placed:
                    end = sum(f.size for f in queue) // _INSN
                    placed[target] = _Placed(target, end)
                    queue.append(target)
                self._point(code, base + at, placed[target].at)
            self._data_references(code, function, base)
        return Code(
            bytes(code),
            *_moved(self._func_records, placed),
            *_moved(self._line_records, placed),
        )

    def _body(self, function: Function) -> bytes:
        return self._obj.sections[function.section].data[function.start : function.start + function.size]

    def _relocation(self, function: Function, index: int) -> Relocation | None:
        return self._obj.relocations(function.section).get(function.start + index * _INSN)

    def _references(self, function: Function) -> list[tuple[int, Function, int]]:
        """Return what *function* calls or takes the address of: (instruction, target, opcode)."""
        found = []
        body = self._body(function)
        for index in range(len(body) // _INSN):
            opcode, registers, _, imm = struct.unpack_from("<BBhi", body, index * _INSN)
            relocation = self._relocation(function, index)
            if opcode == _CALL and registers >> 4 == _PSEUDO_CALL:
                if relocation is None:  # a static function of the same section: the compiler resolved it
                    section, start = function.section, function.start + (index + 1 + imm) * _INSN
                else:
                    section = relocation.symbol.section
                    start = relocation.symbol.value + (imm + 1) * _INSN
            elif opcode == _LD_IMM64 and relocation and self._is_code(relocation):
                section, start = relocation.symbol.section, relocation.symbol.value + imm
            else:
                continue
            target = self._functions.get((section, start))
            if target is None:
                name = relocation.symbol.name if relocation else "?"
                raise InvalidError(f"{function.name} refers to {name!r}, which the object does not define")
            found.append((index, target, opcode))
        return found

    def _is_code(self, relocation: Relocation) -> bool:
        return bool(relocation.symbol.section) and self._obj.sections[relocation.symbol.section].code

    def _point(self, code: bytearray, at: int, target: int) -> None:
        offset = at * _INSN
        if code[offset] == _LD_IMM64:
            code[offset + 1] = code[offset + 1] & 0xF | _PSEUDO_FUNC << 4
        struct.pack_into("<i", code, offset + 4, target - at - 1)

    def _data_references(self, code: bytearray, function: Function, base: int) -> None:
        """Put descriptors where *function* refers to maps and global variables."""
        for offset, relocation in self._obj.relocations(function.section).items():
            if not function.start <= offset < function.start + function.size:
                continue
            if relocation.type == R_BPF_64_32 or self._is_code(relocation):
                continue
            if relocation.type != R_BPF_64_64:
                raise InvalidError(f"{function.name} has a relocation of the unknown type {relocation.type}")
            self._place_fd(code, (base * _INSN) + offset - function.start, function, relocation)

    def _place_fd(self, code: bytearray, at: int, function: Function, relocation: Relocation) -> None:
        symbol = relocation.symbol
        section = self._obj.sections[symbol.section].name
        (addend,) = struct.unpack_from("<i", code, at + 4)
        if symbol.section and symbol.section == self._map_section:
            pseudo, fd, rest = _PSEUDO_MAP_FD, self._maps[symbol.name], 0
        elif section in self._data:
            pseudo, fd, rest = _PSEUDO_MAP_VALUE, self._data[section], symbol.value + addend
        else:
            raise InvalidError(
                f"{function.name} refers to {symbol.name or section!r}, which the object does not define"
            )
        code[at + 1] = code[at + 1] & 0xF | pseudo << 4
        struct.pack_into("<i", code, at + 4, fd)
        struct.pack_into("<i", code, at + 12, rest)


def _moved(records: Mapping[int, Records], placed: Mapping[Function, _Placed]) -> tuple[bytes, int]:
    """Return the records of the placed functions at their new instruction offsets, and the row size."""
    out, size = bytearray(), 0
    for place in placed.values():
        function = place.function
        found = records.get(function.section)
        if found is None:
            continue
        size = found.size
        for offset, payload in found.rows:
            if function.start <= offset < function.start + function.size:
                out += struct.pack("<I", place.at + (offset - function.start) // _INSN) + payload
    return bytes(out), size


def _records(obj: Object) -> tuple[dict[int, Records], dict[int, Records]]:
    section = obj.section(".BTF.ext")
    if section is None:
        return {}, {}
    raw = section.data
    header, func_off, func_len, line_off, line_len = struct.unpack_from("<IIIII", raw, 4)
    if header >= 32 and struct.unpack_from("<I", raw, 28)[0] > 4:  # 4: the row size alone
        raise InvalidError("the object needs CO-RE relocations, which the loader does not do")
    index = {s.name: s.index for s in obj.sections}

    def read(offset: int, length: int) -> dict[int, Records]:
        data = raw[header + offset : header + offset + length]
        out: dict[int, Records] = {}
        if not data:
            return out
        (size,) = struct.unpack_from("<I", data)
        at = 4
        while at < len(data):
            name, count = struct.unpack_from("<II", data, at)
            at += 8
            rows = [data[at + i * size : at + (i + 1) * size] for i in range(count)]
            found = [(struct.unpack_from("<I", row)[0], row[4:]) for row in rows]
            out[index[obj.btf.string(name)]] = Records(size, found)
            at += count * size
        return out

    return read(func_off, func_len), read(line_off, line_len)
