"""Every layout that a pinned map ever had is remembered: a change that forgets to say so is found here.

``layouts.txt`` has a line for each map and version.  What a release wrote may
be pinned somewhere, so lines are added, never changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.packet import releases
from xlvs.dataplane.btf import OPAQUE, Btf, MapDef
from xlvs.dataplane.elf import Object
from xlvs.dataplane.uapi import MapType

RECORD = Path(__file__).with_name("layouts.txt")


def shape(dtype: np.dtype[np.void]) -> str:
    """Return a layout in one line: names, types and places."""
    if dtype.subdtype:
        base, (count,) = dtype.subdtype
        return f"{count}*{shape(base)}"
    if not dtype.names or not dtype.fields:
        return dtype.str.strip("|<")
    fields = [f"{name}@{dtype.fields[name][1]}:{shape(dtype.fields[name][0])}" for name in dtype.names]
    return f"{dtype.itemsize}({' '.join(fields)})"


def line(btf: Btf, found: MapDef) -> str:
    """Return what is remembered of a map."""
    key = shape(btf.dtype(found.key)) if found.key else "-"
    value = shape(btf.dtype(found.value)) if found.value else "tables"
    type_ = MapType(found.type).name.lower()
    return f"{found.name} {found.schema} {type_} {found.flags:#x} {key} {value}"


def lines(source: str, folder: Path) -> frozenset[str]:
    """Return a line for every map of a C source."""
    btf = Object(releases.compiled(source, folder / "maps.o").read_bytes(), opaque=OPAQUE).btf
    return frozenset(line(btf, found) for found in btf.maps().values())


def test_a_changed_layout_has_a_new_version(tmp_path: Path) -> None:
    """Layouts of this build are those on record: a map that differs must raise its version, and be added there."""
    missing = lines('#include "helpers.h"\n#include "maps.h"\n', tmp_path) - set(RECORD.read_text().splitlines())
    assert sorted(missing) == []


def holes(dtype: np.dtype[np.void]) -> bool:
    """Say whether bytes of a layout belong to no field."""
    if dtype.subdtype:
        return holes(dtype.subdtype[0])
    if not dtype.fields:
        return False
    inner = [field[0] for field in dtype.fields.values()]
    return sum(field.itemsize for field in inner) != dtype.itemsize or any(holes(field) for field in inner)


def test_no_layout_has_holes(tmp_path: Path) -> None:
    """Padding is a field, as numpy keeps nothing else and records are compared as bytes."""
    source = '#include "helpers.h"\n#include "maps.h"\n'
    btf = Object(releases.compiled(source, tmp_path / "maps.o").read_bytes(), opaque=OPAQUE).btf
    types = {name: [t for t in (found.key, found.value) if t] for name, found in btf.maps().items()}
    assert [name for name, some in types.items() if any(holes(btf.dtype(t)) for t in some)] == []


def test_a_version_is_one_layout() -> None:
    """No map has two layouts of one version, and no version is left out."""
    seen = [tuple(row.split()[:2]) for row in RECORD.read_text().splitlines()]
    assert len(set(seen)) == len(seen)
    for name, version in seen:
        assert version == "1" or (name, str(int(version) - 1)) in seen, (name, version)


def test_the_first_release_is_on_record(tmp_path: Path) -> None:
    """The maps that the tests take for those of the first release are the ones on record as version 1."""
    first = lines((releases.HERE / "first.bpf.c").read_text(), tmp_path)
    assert first <= set(RECORD.read_text().splitlines())


def test_every_map_says_what_becomes_of_it() -> None:
    """Each map of the programs has its schema in its definition: one that has none would pass for version 1."""
    text = (releases.HERE.parents[1] / "bpf" / "maps.h").read_text()
    assert text.count("\t__uint(schema_") == text.count('SEC(".maps");')
