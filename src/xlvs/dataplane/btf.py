"""BPF Type Format: what the compiler knew about types, read from an object's .BTF section.

Structs become numpy dtypes, so that Python reads map values in the layout the
programs were compiled with; maps declared in ``.maps`` become `MapDef`.  Unions
read as plain bytes; bit fields, which xlvs never puts into a map, are refused.
Layout: Documentation/bpf/btf.rst in the kernel.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from xlvs.errors import InvalidError

OPAQUE = ("xlvs_addr",)
"""Structs that Python handles as plain bytes: an address is 16 of them."""

_MAGIC = 0xEB9F


class Kind(enum.IntEnum):
    """``BTF_KIND_*`` of include/uapi/linux/btf.h."""

    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


_TAIL = {Kind.INT: 4, Kind.ARRAY: 12, Kind.VAR: 4, Kind.DECL_TAG: 4}
_ROW = {Kind.STRUCT: 12, Kind.UNION: 12, Kind.ENUM: 8, Kind.FUNC_PROTO: 8, Kind.DATASEC: 12, Kind.ENUM64: 12}
_ALIASES = {Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG}


@dataclass(frozen=True, slots=True)
class Type:
    """One record: *target* is a size or a type id, depending on *kind*; *tail* is what follows the header."""

    offset: int
    name: str
    kind: Kind
    flag: bool
    target: int
    tail: bytes

    def rows(self, layout: str) -> list[tuple[int, ...]]:
        """Return the members, values or variables that follow the header."""
        return list(struct.iter_unpack(layout, self.tail))

    def array(self) -> tuple[int, int]:
        """Return the element type's id and the number of elements of an array."""
        element, _, count = struct.unpack("<III", self.tail)
        return element, count


class Upgrade(enum.StrEnum):
    """What becomes of a pinned map of an older schema (see bpf/maps.h)."""

    USER = "user"
    KERNEL = "kernel"
    COUNTS = "counts"
    CACHE = "cache"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class MapDef:
    """A map as the C source declares it; *inner* is the template of a map in map.

    *schema* is the version of its layout, *upgrade* what becomes of older ones.
    """

    name: str
    type: int
    max_entries: int
    flags: int
    key: int
    value: int
    key_size: int
    value_size: int
    inner: MapDef | None
    schema: int = 1
    upgrade: Upgrade = Upgrade.KERNEL


class Btf:
    """A parsed .BTF section.  Raises `InvalidError` when *raw* is not little-endian BTF.

    Structs named in *opaque* become plain bytes (numpy ``V``).
    """

    def __init__(self, raw: bytes, *, opaque: Collection[str] = ()) -> None:
        magic, _, _, header, type_off, type_len, str_off, str_len = struct.unpack_from("<HBBIIIII", raw)
        if magic != _MAGIC:
            raise InvalidError("the object's .BTF section is not little-endian BTF")
        self.raw = raw
        self._opaque = frozenset(opaque)
        self._strings = raw[header + str_off : header + str_off + str_len]
        self.types: list[Type | None] = [None]
        position, end = header + type_off, header + type_off + type_len
        while position < end:
            found = self._read(position)
            self.types.append(found)
            position += 12 + len(found.tail)

    def _read(self, offset: int) -> Type:
        name, info, target = struct.unpack_from("<III", self.raw, offset)
        kind = Kind(info >> 24 & 0x1F)
        length = _TAIL.get(kind, 0) + _ROW.get(kind, 0) * (info & 0xFFFF)
        tail = self.raw[offset + 12 : offset + 12 + length]
        return Type(offset, self.string(name), kind, bool(info >> 31), target, tail)

    def string(self, offset: int) -> str:
        """Return the string at *offset* of the string table."""
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def type(self, type_id: int) -> Type:
        """Return the type with this id; id 0 (void) is refused."""
        found = self.types[type_id]
        if found is None:
            raise InvalidError("void has no layout")
        return found

    def resolve(self, type_id: int) -> tuple[int, Type]:
        """Return the id and type behind typedefs and qualifiers."""
        found = self.type(type_id)
        while found.kind in _ALIASES:
            type_id = found.target
            found = self.type(type_id)
        return type_id, found

    def find(self, kind: Kind, name: str) -> int:
        """Return the id of the type of this kind and name, or 0."""
        return next((i for i, t in enumerate(self.types) if t and t.kind == kind and t.name == name), 0)

    def structs(self) -> dict[str, int]:
        """Return the id of every named struct."""
        return {t.name: i for i, t in enumerate(self.types) if t and t.kind == Kind.STRUCT and t.name}

    def size(self, type_id: int) -> int:
        """Return the size of a type in bytes."""
        _, found = self.resolve(type_id)
        if found.kind == Kind.PTR:
            return 8
        if found.kind == Kind.ARRAY:
            element, count = found.array()
            return self.size(element) * count
        return found.target

    def dtype(self, type_id: int) -> np.dtype[np.void]:
        """Return the numpy dtype of a type; ``__be16`` and ``__be32`` read as big-endian numbers."""
        if self._is_big_endian(type_id):
            return np.dtype(f">u{self.size(type_id)}")
        _, found = self.resolve(type_id)
        if found.kind == Kind.INT:
            signed = found.tail[3] & 1
            return np.dtype(f"<{'i' if signed else 'u'}{found.target}")
        if found.kind in (Kind.ENUM, Kind.PTR):
            return np.dtype(f"<u{self.size(type_id)}")
        if found.kind == Kind.ARRAY:
            element, count = found.array()
            return np.dtype((self.dtype(element), (count,)))
        if found.kind == Kind.STRUCT:
            return self._struct_dtype(found)
        if found.kind == Kind.UNION:
            return np.dtype((np.void, found.target))
        raise InvalidError(f"{found.kind.name.lower()} {found.name} cannot be a numpy dtype")

    def _struct_dtype(self, found: Type) -> np.dtype[np.void]:
        # The kernel's own structs (bpf_timer, bpf_spin_lock) are not ours to look into.
        if found.name in self._opaque or found.name.startswith("bpf_"):
            return np.dtype((np.void, found.target))
        names, formats, offsets = [], [], []
        for name, type_id, offset in found.rows("<III"):
            if found.flag or offset % 8:
                raise InvalidError(f"struct {found.name} has bit fields, which Python does not read")
            names.append(self.string(name))
            formats.append(self.dtype(type_id))
            offsets.append(offset // 8)
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": found.target})

    def _is_big_endian(self, type_id: int) -> bool:
        found = self.type(type_id)
        while found.kind in _ALIASES:
            if found.name in ("__be16", "__be32", "__be64"):
                return True
            found = self.type(found.target)
        return False

    def variables(self, section: str) -> dict[str, tuple[int, int]]:
        """Return the variables of a data section: name to (type id, id of the VAR record)."""
        type_id = self.find(Kind.DATASEC, section)
        if not type_id:
            return {}
        rows = ((self.type(var), var) for var, _, _ in self.type(type_id).rows("<III"))
        return {var.name: (var.target, var_id) for var, var_id in rows}

    def maps(self) -> dict[str, MapDef]:
        """Return every map declared in ``.maps``."""
        return {name: self._map(name, type_id) for name, (type_id, _) in self.variables(".maps").items()}

    def _map(self, name: str, type_id: int) -> MapDef:
        numbers = {"type": 0, "max_entries": 0, "map_flags": 0, "key_size": 0, "value_size": 0}
        types = {"key": 0, "value": 0}
        inner, schema, upgrade = None, 1, Upgrade.KERNEL
        for member, member_id, _ in self.resolve(type_id)[1].rows("<III"):
            field = self.string(member)
            if field in numbers:  # int (*field)[number]
                numbers[field] = self._pointed_array(member_id)[1]
            elif field in types:  # typeof(x) *field
                types[field] = self.resolve(member_id)[1].target
            elif field == "values":  # typeof(x) *values[]
                element, _ = self.resolve(member_id)[1].array()
                inner = self._map(f"{name}_inner", self.resolve(element)[1].target)
            elif field.startswith("schema_"):
                schema, upgrade = self._pointed_array(member_id)[1], Upgrade(field.removeprefix("schema_"))
            else:
                raise InvalidError(f"map {name} has the attribute {field!r}, which the loader does not know")
        return MapDef(
            name,
            numbers["type"],
            numbers["max_entries"],
            numbers["map_flags"],
            types["key"],
            types["value"],
            self.size(types["key"]) if types["key"] else numbers["key_size"],
            4 if inner else self.size(types["value"]) if types["value"] else numbers["value_size"],
            inner,
            schema,
            upgrade,
        )

    def _pointed_array(self, type_id: int) -> tuple[int, int]:
        pointer = self.resolve(type_id)[1]
        return self.resolve(pointer.target)[1].array()

    def fixed(self, sizes: Mapping[str, int], offsets: Mapping[str, int]) -> bytes:
        """Return the section with what clang leaves to the linker filled in.

        clang writes 0 for the *sizes* of data sections and the *offsets* of
        their variables; the kernel refuses both.
        """
        raw = bytearray(self.raw)
        for found in self.types:
            if found is None or found.kind != Kind.DATASEC or found.name not in sizes:
                continue
            struct.pack_into("<I", raw, found.offset + 8, sizes[found.name])
            rows = [(var, offsets.get(self.type(var).name, offset), size) for var, offset, size in found.rows("<III")]
            for i, row in enumerate(sorted(rows, key=lambda row: row[1])):
                struct.pack_into("<III", raw, found.offset + 12 + 12 * i, *row)
        return bytes(raw)
