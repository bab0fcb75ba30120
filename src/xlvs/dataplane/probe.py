"""What this kernel can do, found out by trying; never by comparing versions.

Loads programs of two instructions and attaches nothing.
"""

from __future__ import annotations

import errno
import os

from xlvs.dataplane import syscalls
from xlvs.dataplane.uapi import AttachType, ProgSpec, ProgType
from xlvs.errors import HostError

_PASS = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit
_NO_INTERFACE = 0x7FFFFFFF


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


def _load(type_: ProgType) -> int:
    return syscalls.prog_load(ProgSpec("xlvs_probe", type_, _PASS, "GPL"))
