"""Linking: a program, its subprograms, and everything they point at."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.unit.dataplane import sample
from xlvs.dataplane.assemble import Assembler, Code
from xlvs.dataplane.elf import Object
from xlvs.errors import InvalidError

CALL, LD_IMM64 = 0x85, 0x18
MAP_FD, MAP_VALUE, PSEUDO_CALL, PSEUDO_FUNC = 1, 2, 1, 4

MAPS = {name: 100 + i for i, name in enumerate(("values", "numbers", "hits", "tables", "spare", "ticker"))}


@pytest.fixture(scope="module")
def obj() -> Object:
    """The sample."""
    return Object(sample.compiled())


def link(obj: Object, name: str) -> Code:
    """Return the program *name*, linked with made-up descriptors."""
    data = {section.name: 200 + section.index for section in obj.data_sections()}
    main = next(f for f in obj.functions() if f.name == name)
    return Assembler(obj, MAPS, data).program(main)


def instructions(code: Code) -> list[tuple[int, int, int, int]]:
    """Return (index, opcode, source register, immediate) of each instruction."""
    rows = struct.iter_unpack("<BBhi", code.insns)
    return [(i, op, registers >> 4, imm) for i, (op, registers, _, imm) in enumerate(rows)]


def starts(code: Code) -> list[int]:
    """Return the instruction indices at which the function records say a function begins."""
    size = code.func_info_size
    return [struct.unpack_from("<I", code.func_info, at)[0] for at in range(0, len(code.func_info), size)]


def names(obj: Object, code: Code) -> list[str]:
    """Return the names of the functions of a linked program, in order."""
    size = code.func_info_size
    ids = [struct.unpack_from("<I", code.func_info, at + 4)[0] for at in range(0, len(code.func_info), size)]
    return [obj.btf.type(type_id).name for type_id in ids]


def test_a_program_brings_just_the_subprograms_it_reaches(obj: Object) -> None:
    """Callbacks and calls are followed through each other; what is not reached stays behind."""
    assert names(obj, link(obj, "sum_up")) == ["sum_up", "each", "step", "deep"]
    assert names(obj, link(obj, "call_count")) == ["call_count"]


def test_calls_and_callbacks_lead_to_the_start_of_a_function(obj: Object) -> None:
    """Every call between functions, and every pointer to one, is relative and meets a function's first instruction."""
    code = link(obj, "sum_up")
    targets = [
        i + 1 + imm
        for i, op, source, imm in instructions(code)
        if (op == CALL and source == PSEUDO_CALL) or (op == LD_IMM64 and source == PSEUDO_FUNC)
    ]
    assert sorted(targets) == starts(code)[1:]


def test_maps_become_descriptors(obj: Object) -> None:
    """A reference to a map carries the descriptor of that map."""
    found = [imm for _, op, source, imm in instructions(link(obj, "look_up")) if op == LD_IMM64 and source == MAP_FD]
    assert found == [MAPS["tables"]]


def test_variables_become_a_place_in_their_section(obj: Object) -> None:
    """A reference to a global variable carries its section's descriptor and its offset there."""
    rows = instructions(link(obj, "call_count"))
    section, symbol = obj.section(".bss"), next(s for s in obj.symbols if s.name == "calls")
    assert section is not None
    found = [(imm, rows[i + 1][3]) for i, op, source, imm in rows if op == LD_IMM64 and source == MAP_VALUE]
    assert found == [(200 + section.index, symbol.value)]


def test_every_function_has_a_line_record_at_its_first_instruction(obj: Object) -> None:
    """The kernel refuses line records that leave out the beginning of a subprogram."""
    code = link(obj, "sum_up")
    size = code.line_info_size
    lines = [struct.unpack_from("<I", code.line_info, at)[0] for at in range(0, len(code.line_info), size)]
    assert set(starts(code)) <= set(lines)
    assert lines == sorted(lines)


def test_a_program_that_needs_what_is_not_there_is_refused(obj: Object) -> None:
    """A reference to a section that was not given is named in the error."""
    main = next(f for f in obj.functions() if f.name == "call_count")
    with pytest.raises(InvalidError, match="'.bss', which the object does not define"):
        Assembler(obj, MAPS, {}).program(main)


def test_only_bpf_objects_are_read() -> None:
    """An object file for another machine is refused."""
    with pytest.raises(InvalidError, match="not a little-endian BPF object"):
        Object(Path("/proc/self/exe").read_bytes())
