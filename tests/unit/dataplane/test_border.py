"""The small things of the kernel border that need no kernel."""

from __future__ import annotations

import ctypes
import errno
import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlvs.dataplane import _abi as abi
from xlvs.dataplane import bpffs, syscalls
from xlvs.dataplane.uapi import Cmd
from xlvs.errors import HostError
from xlvs.model import Address

V6_BUT_MAPPED = st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None)  # type: ignore[union-attr]


@given(st.one_of(st.ip_addresses(v=4), V6_BUT_MAPPED))
def test_an_address_survives_the_border(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Any address of either family comes back as it was, also out of a numpy record."""
    parsed = Address.parse(str(address))
    record = np.zeros((), abi.SERVICE_KEY)
    record["addr"] = parsed
    found = Address(bytes(record["addr"]))
    assert (len(found), found, str(found), found.version) == (16, parsed, str(address), address.version)
    assert found.packed == address.packed


def test_ipv4_is_mapped() -> None:
    """An IPv4 address is ::ffff:a.b.c.d in the maps."""
    assert Address.parse("192.0.2.1") == ipaddress.ip_address("::ffff:192.0.2.1").packed


@given(st.lists(st.text(st.sampled_from("ab.%2E5-"), min_size=1), unique=True))
def test_pin_names_have_no_dots_and_never_collide(names: list[str]) -> None:
    """bpffs refuses dots, and two interfaces must not share a pin."""
    pins = [bpffs.pin_name(name) for name in names]
    assert not any("." in pin for pin in pins)
    assert len(set(pins)) == len(names)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.EPERM, "start xlvs as root"), (errno.ENOSYS, "built without BPF")],
)
def test_a_host_that_cannot_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, number: int, sentence: str) -> None:
    """No permission and no BPF are the host's fault, and the message says the way out."""

    class Libc:
        @staticmethod
        def syscall(*_arguments: object) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(syscalls, "_libc", Libc)
    with pytest.raises(HostError, match=sentence):
        syscalls.bpf(Cmd.MAP_CREATE, bytearray(8))


def test_other_failures_keep_the_errno(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full map is for the caller to handle, by its errno."""

    class Libc:
        @staticmethod
        def syscall(*_arguments: object) -> int:
            ctypes.set_errno(errno.E2BIG)
            return -1

    monkeypatch.setattr(syscalls, "_libc", Libc)
    with pytest.raises(OSError) as caught:
        syscalls.map_update(3, b"key", b"value")
    assert caught.value.errno == errno.E2BIG


def test_rows_carry_what_their_table_says() -> None:
    """A drop reason knows its sentence, a state its idle time and whether it is active."""
    assert abi.DropReason.TTL.label == "ttl"
    assert abi.DropReason(abi.DropReason.TTL).text.endswith(".")
    assert (abi.FlowState.ESTABLISHED.idle_s, abi.FlowState.ESTABLISHED.active) == (900, True)
    assert (abi.FlowState.CLOSE.idle_s, abi.FlowState.CLOSE.active) == (10, False)
