"""What this kernel can do, found out by trying; never by comparing versions.

Loads programs of a few instructions and attaches nothing.
"""

from __future__ import annotations

import errno
import os

from xlvs.dataplane import syscalls
from xlvs.dataplane.uapi import AttachType, ProgSpec, ProgType
from xlvs.errors import HostError

_PASS = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit
_NO_INTERFACE = 0x7FFFFFFF
BPF_F_IPV6 = 1 << 7  # include/uapi/linux/bpf.h

# return bpf_l4_csum_replace(skb, 32, 0, 0, BPF_F_PSEUDO_HDR | BPF_F_IPV6)
_CSUM_IPV6 = bytes.fromhex(
    "b702000020000000 b703000000000000 b704000000000000 b705000090000000 850000000b000000 9500000000000000"
)


def require_bpf() -> None:
    """Raise `HostError`, in one sentence, unless this process may load XDP and TC programs."""
    for type_ in (ProgType.XDP, ProgType.SCHED_CLS):
        try:
            os.close(_load(type_))
        except syscalls.LoadError as err:
            raise HostError(f"this kernel loads no {type_.name.lower()} programs: {err.__cause__}") from err


def has_tcx() -> bool:
    """Return whether TC programs attach by a bpf_link (TCX); otherwise they go on a clsact filter."""
    fd = _load(ProgType.SCHED_CLS)
    try:
        syscalls.link_create(fd, _NO_INTERFACE, AttachType.TCX_INGRESS)
    except OSError as err:
        return err.errno == errno.ENODEV  # it looked for the interface, so it knows the hook
    finally:
        os.close(fd)
    return True


def has_csum_ipv6() -> bool:
    """Return whether checksum helpers take BPF_F_IPV6, and so keep a sum that a NIC took over a whole IPv6 packet."""
    fd = _load(ProgType.SCHED_CLS, _CSUM_IPV6)
    try:
        return syscalls.prog_test_run(fd, bytes(64)).retval == 0
    finally:
        os.close(fd)


def _load(type_: ProgType, instructions: bytes = _PASS) -> int:
    return syscalls.prog_load(ProgSpec("xlvs_probe", type_, instructions, "GPL"))
