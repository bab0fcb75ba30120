"""The part of include/uapi/linux/bpf.h that xlvs speaks: numbers, and what the kernel tells about its objects.

Values only; the calls are in `syscalls`.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Cmd(enum.IntEnum):
    """Commands of bpf(2) (``enum bpf_cmd``)."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    BTF_LOAD = 18
    BTF_GET_FD_BY_ID = 19
    MAP_FREEZE = 22
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_UPDATE = 29
    LINK_DETACH = 34


class MapType(enum.IntEnum):
    """Map types that xlvs uses (``enum bpf_map_type``)."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    STACK = 23


MAP_RDONLY_PROG = 1 << 7
"""Flag of a map that programs may only read (``BPF_F_RDONLY_PROG``)."""


class ProgType(enum.IntEnum):
    """Program types that xlvs uses (``enum bpf_prog_type``)."""

    SCHED_CLS = 3
    XDP = 6


class AttachType(enum.IntEnum):
    """Hooks of a bpf_link (``enum bpf_attach_type``)."""

    XDP = 37
    TCX_INGRESS = 46
    TCX_EGRESS = 47


class MapInfo(NamedTuple):
    """What the kernel says about a map (``struct bpf_map_info``); *btf_id* is 0 when it knows no types of it."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    btf_id: int
    key_type: int
    value_type: int


class ProgInfo(NamedTuple):
    """What the kernel says about a program (``struct bpf_prog_info``); *verified_insns* is 0 before 5.16."""

    type: int
    id: int
    tag: str
    jited_size: int
    xlated_size: int
    name: str
    verified_insns: int


class LinkInfo(NamedTuple):
    """What the kernel says about a link; *ifindex* is 0 when its interface is gone."""

    type: int
    id: int
    prog_id: int
    ifindex: int
    attach_type: int


class Run(NamedTuple):
    """One BPF_PROG_TEST_RUN: verdict, packet and context afterwards, mean time of a run in ns."""

    retval: int
    data: bytes
    ctx: bytes
    duration_ns: int


class ProgSpec(NamedTuple):
    """A program ready for the verifier: relocated instructions and its debug information."""

    name: str
    type: ProgType
    insns: bytes
    license: str
    attach_type: int = 0
    flags: int = 0
    btf_fd: int = 0
    func_info: bytes = b""
    func_info_size: int = 0
    line_info: bytes = b""
    line_info_size: int = 0
