"""Type information: what Python believes about the programs' memory."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.unit.dataplane import sample
from xlvs.dataplane.btf import Btf, Kind
from xlvs.dataplane.elf import Object
from xlvs.errors import InvalidError


@pytest.fixture(scope="module")
def btf() -> Btf:
    """The type information of the sample."""
    return Object(sample.compiled(), opaque=sample.OPAQUE).btf


def test_a_struct_keeps_names_types_and_places(btf: Btf) -> None:
    """Nested structs, arrays, signed numbers and enums land where the compiler put them."""
    dtype = btf.dtype(btf.structs()["sample_value"])
    inner = np.dtype([("port", ">u2"), ("mark", "u1", (6,))])
    assert dtype == np.dtype(
        {
            "names": ["inner", "opaque", "either", "signed_number", "number", "address", "color"],
            "formats": [(inner, (2,)), "V16", "V4", "<i4", "<u8", ">u4", "<u4"],
            "offsets": [0, 16, 32, 36, 40, 48, 52],
            "itemsize": 56,
        }
    )


def test_network_order_reads_as_host_numbers(btf: Btf) -> None:
    """A __be16 field that holds the bytes 0 80 is the number 80."""
    record = np.frombuffer(b"\0\x50" + bytes(6), btf.dtype(btf.structs()["sample_inner"]))[0]
    assert record["port"] == 80


def test_a_map_is_what_its_declaration_says(btf: Btf) -> None:
    """Type, size, flags, key and value come out of the anonymous struct in .maps."""
    values = btf.maps()["values"]
    assert (values.type, values.max_entries, values.flags, values.key_size, values.value_size) == (1, 20000, 0, 8, 56)


def test_a_stack_has_no_key(btf: Btf) -> None:
    """A map without a key has key size 0, as the kernel demands of stacks."""
    spare = btf.maps()["spare"]
    assert (spare.key, spare.key_size, spare.value_size) == (0, 0, 4)


def test_a_map_of_maps_brings_its_template(btf: Btf) -> None:
    """The inner map's shape is known, its value in the outer map is a descriptor."""
    tables = btf.maps()["tables"]
    assert tables.value_size == 4
    assert tables.inner is not None
    assert (tables.inner.type, tables.inner.flags, tables.inner.max_entries) == (2, 1 << 12 | 1 << 10, 1)


def test_data_sections_get_the_sizes_and_offsets_that_clang_leaves_out() -> None:
    """The fixed section says how large .maps is and where each map lies in it, in order."""
    obj = Object(sample.compiled())
    section = obj.section(".maps")
    assert section is not None
    fixed = Btf(obj.fixed_btf())
    datasec = fixed.type(fixed.find(Kind.DATASEC, ".maps"))
    assert datasec.target == len(section.data)
    offsets = {fixed.type(var).name: offset for var, offset, _ in datasec.rows("<III")}
    assert offsets == {s.name: s.value for s in obj.symbols if s.section == section.index and s.name}
    assert list(offsets.values()) == sorted(offsets.values())


def test_foreign_bytes_are_refused() -> None:
    """What does not begin with the magic number of BTF is not read as BTF."""
    with pytest.raises(InvalidError, match="not little-endian BTF"):
        Btf(struct.pack(">HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 0))
