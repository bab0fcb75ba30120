"""What the kernel is asked by trying."""

from __future__ import annotations

import errno
import os

import pytest

from xlvs.dataplane import probe, syscalls
from xlvs.dataplane.uapi import ProgType

UNKNOWN_FLAG = 1 << 11
FLAGS_AT = 28
"""Where the immediate of the fourth instruction, the flags, is in the probe's program."""


def test_this_kernel_loads_the_programs() -> None:
    """Nothing is said against a kernel on which all other tests of this folder run."""
    probe.require_bpf()


def test_a_flag_that_no_kernel_knows_is_told_from_one_it_takes() -> None:
    """The probe for BPF_F_IPV6 gets an error for a flag that does not exist, and none without the flag."""
    answers = {}
    for flag in (0, UNKNOWN_FLAG):
        program = bytearray(probe._CSUM_IPV6)
        assert int.from_bytes(program[FLAGS_AT : FLAGS_AT + 4], "little") & probe.BPF_F_IPV6
        program[FLAGS_AT : FLAGS_AT + 4] = (0x10 | flag).to_bytes(4, "little")
        fd = probe._load(ProgType.SCHED_CLS, bytes(program))
        answers[flag] = syscalls.prog_test_run(fd, bytes(64)).retval
        os.close(fd)
    assert answers[0] == 0
    assert answers[UNKNOWN_FLAG] != 0


@pytest.mark.parametrize(("number", "known"), [(errno.ENODEV, True), (errno.EINVAL, False), (errno.EOPNOTSUPP, False)])
def test_only_a_kernel_that_looks_for_the_interface_has_tcx(
    monkeypatch: pytest.MonkeyPatch, number: int, known: bool
) -> None:
    """A hook the kernel does not know is refused before it looks for the interface."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(syscalls, "link_create", refuse)
    assert probe.has_tcx() is known
