"""Hooks for real, in a network namespace without a name: attach, swap, adopt, detach.

+--- the test's namespace ---+
|  lo     left.7 --- right   |   a veth pair, both ends here
+----------------------------+
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from xlvs.dataplane import bpffs, links, probe, syscalls
from xlvs.dataplane.links import Hook, HookBusyError, XdpRefusedError
from xlvs.dataplane.uapi import AttachType, ProgSpec, ProgType

PASS = bytes.fromhex("b7000000020000009500000000000000")  # r0 = 2 (XDP_PASS); exit
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True)


def tc_filters(parent: str) -> str:
    """Return what tc(8) shows of the filters on left.7."""
    command = ["tc", "filter", "show", "dev", "left.7", parent]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_veth() -> int:
    """Make the pair and return the ifindex of left.7."""
    ip("link", "add", "left.7", "type", "veth", "peer", "name", "right")
    return socket.if_nametoindex("left.7")


@pytest.fixture
def veth() -> Iterator[int]:
    """The ifindex of left.7, in a namespace that is gone after the test."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        yield make_veth()
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    """The directory for pins."""
    bpffs.mount(tmp_path / "bpf")
    yield tmp_path / "bpf" / "links"
    bpffs.purge(tmp_path / "bpf")


@pytest.fixture
def programs() -> Iterator[dict[Hook, tuple[int, int]]]:
    """Two programs for each hook."""
    made = {hook: (load(hook), load(hook)) for hook in Hook}
    yield made
    syscalls.close([fd for pair in made.values() for fd in pair])


def load(hook: Hook) -> int:
    """Load a program that lets everything pass."""
    if hook is Hook.XDP:
        return syscalls.prog_load(ProgSpec("pass", ProgType.XDP, PASS, "GPL", attach_type=AttachType.XDP))
    return syscalls.prog_load(ProgSpec("pass", ProgType.SCHED_CLS, PASS, "GPL"))


def pinned(pin: Path) -> tuple[int, int, int]:
    """Return link id, program id and ifindex of the link at *pin*."""
    fd = syscalls.obj_get(pin)
    info = syscalls.link_info(fd)
    os.close(fd)
    return info.id, info.prog_id, info.ifindex


@pytest.mark.parametrize("hook", Hook)
def test_a_second_start_swaps_the_program_in_place(
    hook: Hook, veth: int, pins: Path, programs: dict[Hook, tuple[int, int]]
) -> None:
    """The same link stays on the interface and runs the new program; detaching leaves no pin."""
    pin = pins / bpffs.pin_name(f"left.7-{hook}")
    old, new = programs[hook]
    links.attach(hook, veth, old, pin)
    first = pinned(pin)
    link = links.attach(hook, veth, new, pin)
    second = pinned(pin)
    assert first == (second[0], syscalls.prog_info(old).id, veth)
    assert second == (first[0], syscalls.prog_info(new).id, veth)
    link.detach()
    link.detach()
    assert not pin.exists()


@pytest.mark.parametrize("hook", Hook)
def test_an_interface_that_came_back_is_attached_anew(
    hook: Hook, veth: int, pins: Path, programs: dict[Hook, tuple[int, int]]
) -> None:
    """The pin of an interface that was deleted is replaced by a link on the new one of that name."""
    pin = pins / "left"
    links.attach(hook, veth, programs[hook][0], pin)
    ip("link", "delete", "left.7")
    assert pinned(pin)[2] == 0
    again = make_veth()
    links.attach(hook, again, programs[hook][0], pin)
    assert pinned(pin)[2] == again


@pytest.mark.parametrize("hook", Hook)
def test_detaching_from_a_deleted_interface_is_fine(
    hook: Hook, veth: int, pins: Path, programs: dict[Hook, tuple[int, int]]
) -> None:
    """What an interface took with it when it went needs no detaching."""
    link = links.attach(hook, veth, programs[hook][0], pins / "left")
    ip("link", "delete", "left.7")
    link.detach()
    assert not (pins / "left").exists()


@pytest.mark.parametrize("hook", Hook)
def test_attaching_to_a_deleted_interface_says_so(
    hook: Hook, veth: int, pins: Path, programs: dict[Hook, tuple[int, int]]
) -> None:
    """The caller learns by ENODEV that there is nothing to attach to."""
    ip("link", "delete", "left.7")
    with pytest.raises(OSError) as caught:
        links.attach(hook, veth, programs[hook][0], pins / "left")
    assert caught.value.errno == errno.ENODEV


def test_a_foreign_xdp_program_is_left_alone(veth: int, pins: Path, programs: dict[Hook, tuple[int, int]]) -> None:
    """An interface that runs XDP already refuses ours by a specific error, and keeps its own."""
    links.attach(Hook.XDP, veth, programs[Hook.XDP][0], pins / "theirs")
    theirs = pinned(pins / "theirs")
    with pytest.raises(HookBusyError, match="interface left.7 has an XDP program of someone else"):
        links.attach(Hook.XDP, veth, programs[Hook.XDP][1], pins / "ours")
    assert pinned(pins / "theirs") == theirs


def test_an_interface_without_native_xdp_refuses_it(
    veth: int, pins: Path, programs: dict[Hook, tuple[int, int]]
) -> None:
    """The loopback has no driver for XDP: native is refused, generic works when asked for."""
    with pytest.raises(XdpRefusedError, match="interface lo refuses native XDP"):
        links.attach(Hook.XDP, 1, programs[Hook.XDP][0], pins / "lo")
    assert links.attach(Hook.XDP, 1, programs[Hook.XDP][0], pins / "lo", generic=True).how == "xdp"


def test_the_probe_knows_tcx(veth: int, pins: Path, programs: dict[Hook, tuple[int, int]]) -> None:
    """The probe foretells how a TC program gets attached."""
    link = links.attach(Hook.INGRESS, veth, programs[Hook.INGRESS][0], pins / "left")
    assert link.how == ("tcx" if probe.has_tcx() else "clsact")


@pytest.mark.parametrize(("hook", "parent"), [(Hook.INGRESS, "ingress"), (Hook.EGRESS, "egress")])
def test_without_tcx_a_filter_does(
    hook: Hook,
    parent: str,
    veth: int,
    pins: Path,
    programs: dict[Hook, tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a kernel that does not know TCX there is one filter, swapped in place, and none after detaching."""

    def unknown(*_arguments: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(syscalls, "link_create", unknown)
    old, new = programs[hook]
    assert not probe.has_tcx()
    assert links.attach(hook, veth, old, pins / "left").how == "clsact"
    assert f"id {syscalls.prog_info(old).id} " in tc_filters(parent)
    link = links.attach(hook, veth, new, pins / "left")
    assert f"id {syscalls.prog_info(new).id} " in tc_filters(parent)
    assert tc_filters(parent).count("direct-action") == 1
    link.detach()
    link.detach()
    assert tc_filters(parent) == ""
