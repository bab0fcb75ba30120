"""The bpf(2) system call, one function per command, by ctypes alone.

File descriptors are plain integers (close-on-exec, as the kernel makes them)
and belong to the caller.  A command that fails raises `OSError` with the
kernel's errno, except where the host itself is the reason (not root, no BPF):
that is a `HostError` in one sentence.  Nothing here knows maps, ELF or BTF.
Layouts are those of ``union bpf_attr`` in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence

from xlvs.dataplane.uapi import AttachType, Cmd, LinkInfo, MapInfo, ProgInfo, ProgSpec, Run
from xlvs.errors import HostError

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280}

_libc = ctypes.CDLL(None, use_errno=True)

Buffer = bytes | bytearray | memoryview | ctypes.Array[ctypes.c_char]


class LoadError(HostError):
    """The kernel's verifier refused a program; *log* is what it said."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def address(buffer: Buffer | None) -> int:
    """Return where *buffer* lies in memory; the caller keeps it alive during the call."""
    if buffer is None:
        return 0
    if isinstance(buffer, bytes):
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if len(buffer) else 0


def bpf(cmd: Cmd, attr: bytearray) -> int:
    """Run *cmd*; *attr* is read and written by the kernel.  Raises `OSError`, or `HostError` for a host without BPF."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise HostError(f"xlvs does not know how to call bpf(2) on {platform.machine()}")
    result = int(
        _libc.syscall(
            ctypes.c_long(number), ctypes.c_int(cmd), ctypes.c_void_p(address(attr)), ctypes.c_uint(len(attr))
        )
    )
    if result >= 0:
        return result
    error = ctypes.get_errno()
    if error == errno.EPERM:
        raise HostError("the kernel does not let this user run BPF: start xlvs as root (CAP_BPF and CAP_NET_ADMIN)")
    if error == errno.ENOSYS:
        raise HostError("this kernel was built without BPF: run xlvs on one with CONFIG_BPF_SYSCALL")
    raise OSError(error, f"bpf {cmd.name.lower()}: {os.strerror(error)}")


def _name(name: str) -> bytes:
    return name.encode()[:15]


def map_create(
    type_: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    flags: int = 0,
    name: str = "",
    inner_fd: int = 0,
    btf: tuple[int, int, int] = (0, 0, 0),
) -> int:
    """Create a map and return its descriptor; *btf* is (BTF fd, key type id, value type id)."""
    return bpf(
        Cmd.MAP_CREATE,
        bytearray(
            struct.pack(
                "<7I16s5I",
                *(type_, key_size, value_size, max_entries, flags, inner_fd, 0, _name(name), 0),
                *btf,
                0,
            )
        ),
    )


def _elem(map_fd: int, key: Buffer | None, value: Buffer | None, flags: int = 0) -> bytearray:
    return bytearray(struct.pack("<IIQQQ", map_fd, 0, address(key), address(value), flags))


def map_lookup(map_fd: int, key: bytes, value_size: int) -> bytearray:
    """Return the value of *key*, *value_size* bytes (per-CPU maps: 8-byte rounded size times possible CPUs)."""
    value = bytearray(value_size)
    bpf(Cmd.MAP_LOOKUP_ELEM, _elem(map_fd, key, value))
    return value


def map_update(map_fd: int, key: bytes | None, value: Buffer, flags: int = 0) -> None:
    """Write *value* under *key* (None for stacks and queues)."""
    bpf(Cmd.MAP_UPDATE_ELEM, _elem(map_fd, key, value, flags))


def map_delete(map_fd: int, key: bytes) -> None:
    """Delete *key*."""
    bpf(Cmd.MAP_DELETE_ELEM, _elem(map_fd, key, None))


def map_lookup_batch(
    map_fd: int, cursor: bytes | None, following: bytearray, keys: int, values: int, count: int
) -> tuple[int, int]:
    """Read up to *count* entries after *cursor* into memory at *keys* and *values*.

    Returns (entries read, errno): ENOENT means the map ended, ENOSPC that one
    bucket holds more than *count*.  *following* receives the next cursor.
    """
    attr = bytearray(struct.pack("<QQQQIIQQ", address(cursor), address(following), keys, values, count, map_fd, 0, 0))
    try:
        bpf(Cmd.MAP_LOOKUP_BATCH, attr)
        error = 0
    except OSError as err:
        if err.errno not in (errno.ENOENT, errno.ENOSPC):
            raise
        error = err.errno
    return int.from_bytes(attr[32:36], "little"), error


def map_update_batch(map_fd: int, keys: int, values: int, count: int) -> None:
    """Write *count* entries from memory at *keys* and *values*."""
    bpf(Cmd.MAP_UPDATE_BATCH, bytearray(struct.pack("<QQQQIIQQ", 0, 0, keys, values, count, map_fd, 0, 0)))


def map_delete_batch(map_fd: int, keys: int, count: int) -> tuple[int, int]:
    """Delete *count* keys in memory at *keys*; return how many were gone through before an error, and its errno."""
    attr = bytearray(struct.pack("<QQQQIIQQ", 0, 0, keys, 0, count, map_fd, 0, 0))
    try:
        bpf(Cmd.MAP_DELETE_BATCH, attr)
    except OSError as err:
        return int.from_bytes(attr[32:36], "little"), err.errno or errno.EINVAL
    return count, 0


def map_fd(map_id: int) -> int:
    """Open the map with this id."""
    return bpf(Cmd.MAP_GET_FD_BY_ID, bytearray(struct.pack("<III", map_id, 0, 0)))


def map_freeze(map_fd: int) -> None:
    """Make the map read-only for user space, for ever."""
    bpf(Cmd.MAP_FREEZE, bytearray(struct.pack("<I", map_fd)))


def btf_load(data: bytes) -> int:
    """Hand *data* (a .BTF section) to the kernel; raises `LoadError` with its log."""
    try:
        return bpf(Cmd.BTF_LOAD, bytearray(struct.pack("<QQIII", address(data), 0, len(data), 0, 0)))
    except OSError:
        log = bytearray(1 << 20)
        attr = struct.pack("<QQIII", address(data), address(log), len(data), len(log), 1)
        try:
            return bpf(Cmd.BTF_LOAD, bytearray(attr))
        except OSError as err:
            raise LoadError(f"the kernel refused the type information: {err.strerror}", _text(log)) from err


def btf_data(btf_id: int) -> bytes:
    """Return the type information with this id, as it was handed to the kernel."""
    fd = bpf(Cmd.BTF_GET_FD_BY_ID, bytearray(struct.pack("<III", btf_id, 0, 0)))
    try:
        (size,) = struct.unpack_from("<I", _info(fd, 16), 8)  # struct bpf_btf_info: where to, how much, id
        data = bytearray(size)
        info = bytearray(struct.pack("<QII", address(data), size, 0))
        bpf(Cmd.OBJ_GET_INFO_BY_FD, bytearray(struct.pack("<IIQ", fd, len(info), address(info))))
    finally:
        os.close(fd)
    return bytes(data)


def _text(log: bytearray) -> str:
    return log.partition(b"\0")[0].decode(errors="replace")


def prog_load(spec: ProgSpec) -> int:
    """Load *spec* and return its descriptor; raises `LoadError` with the verifier's log."""
    for _ in range(5):  # EAGAIN: a signal interrupted the verifier
        try:
            return _prog_load(spec, None)
        except BlockingIOError:
            continue
        except OSError:
            break
    log = bytearray(16 << 20)
    try:
        return _prog_load(spec, log)
    except OSError as err:
        text = _text(log)
        last = [line for line in text.splitlines() if line and not line.startswith("processed ")][-1:] or [str(err)]
        raise LoadError(f"the kernel refused program {spec.name}: {last[0]}", text) from err


def _prog_load(spec: ProgSpec, log: bytearray | None) -> int:
    license_ = spec.license.encode()
    attr = struct.pack(
        "<IIQQIIQII16sIIIIQIIQI",
        *(spec.type, len(spec.insns) // 8, address(spec.insns), address(license_)),
        *((1, len(log), address(log)) if log is not None else (0, 0, 0)),
        *(0, spec.flags, _name(spec.name), 0, spec.attach_type, spec.btf_fd),
        *(spec.func_info_size, address(spec.func_info or None), _rows(spec.func_info, spec.func_info_size)),
        *(spec.line_info_size, address(spec.line_info or None), _rows(spec.line_info, spec.line_info_size)),
    )
    return bpf(Cmd.PROG_LOAD, bytearray(attr))


def _rows(data: bytes, size: int) -> int:
    return len(data) // size if size else 0


def prog_test_run(prog_fd: int, data: bytes, *, ctx: bytes = b"", repeat: int = 1, flags: int = 0) -> Run:
    """Run the program on *data* without a network; room is left for the packet to grow by 4 KiB."""
    out = bytearray(len(data) + 4096)
    ctx_out = bytearray(len(ctx))
    attr = bytearray(
        struct.pack(
            "<IIIIQQIIIIQQIIII",
            *(prog_fd, 0, len(data), 0 if flags else len(out), address(data or None), 0 if flags else address(out)),
            *(repeat, 0, len(ctx), 0 if flags else len(ctx), address(ctx or None), 0 if flags else address(ctx_out)),
            *(flags, 0, 0, 0),
        )
    )
    bpf(Cmd.PROG_TEST_RUN, attr)
    _, retval, _, size_out, _, _, _, duration, _, ctx_size = struct.unpack_from("<IIIIQQIIII", attr)
    return Run(retval, bytes(out[:size_out]), bytes(ctx_out[:ctx_size]), duration)


def obj_pin(fd: int, path: str | os.PathLike[str]) -> None:
    """Pin a map, program or link at *path* in a bpffs."""
    name = os.fsencode(path)
    bpf(Cmd.OBJ_PIN, bytearray(struct.pack("<QII", address(name), fd, 0)))


def obj_get(path: str | os.PathLike[str]) -> int:
    """Open what is pinned at *path*."""
    name = os.fsencode(path)
    return bpf(Cmd.OBJ_GET, bytearray(struct.pack("<QII", address(name), 0, 0)))


def link_create(prog_fd: int, ifindex: int, attach_type: AttachType, flags: int = 0) -> int:
    """Attach the program to *ifindex* by a bpf_link (XDP since 5.9, TCX since 6.6)."""
    return bpf(Cmd.LINK_CREATE, bytearray(struct.pack("<IIIIQQ", prog_fd, ifindex, attach_type, flags, 0, 0)))


def link_update(link_fd: int, prog_fd: int) -> None:
    """Swap the link's program atomically; ENOLINK: the interface is gone."""
    bpf(Cmd.LINK_UPDATE, bytearray(struct.pack("<IIII", link_fd, prog_fd, 0, 0)))


def link_detach(link_fd: int) -> None:
    """Detach the link now, whoever else holds it."""
    bpf(Cmd.LINK_DETACH, bytearray(struct.pack("<I", link_fd)))


def _info(fd: int, size: int) -> bytearray:
    info = bytearray(size)
    bpf(Cmd.OBJ_GET_INFO_BY_FD, bytearray(struct.pack("<IIQ", fd, size, address(info))))
    return info


def _c_string(raw: bytearray) -> str:
    return raw.rstrip(b"\0").decode()


def map_info(fd: int) -> MapInfo:
    """Describe the map behind *fd*."""
    info = _info(fd, 80)
    type_, id_, key_size, value_size, max_entries, flags = struct.unpack_from("<6I", info)
    types = struct.unpack_from("<III", info, 64)
    return MapInfo(type_, id_, key_size, value_size, max_entries, flags, _c_string(info[24:40]), *types)


def prog_info(fd: int) -> ProgInfo:
    """Describe the program behind *fd*."""
    info = _info(fd, 232)
    type_, id_, tag, jited, xlated = struct.unpack_from("<II8sII", info)
    (verified,) = struct.unpack_from("<I", info, 216)
    return ProgInfo(type_, id_, tag.hex(), jited, xlated, _c_string(info[64:80]), verified)


def link_info(fd: int) -> LinkInfo:
    """Describe the link behind *fd*."""
    info = _info(fd, 64)
    return LinkInfo(*struct.unpack_from("<III", info), *struct.unpack_from("<II", info, 16))


def close(fds: Sequence[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)
