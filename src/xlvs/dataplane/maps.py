"""Typed access to BPF maps: keys and values are numpy scalars and arrays in the programs' own layout.

A key or value is anything numpy can put into the map's dtype: a number, a
tuple in field order, a record, bytes for an address.  Bulk reads and writes are
one system call.  Refuses nothing of its own: the kernel's errno passes through
as `OSError` (``E2BIG``: full, ``ENOENT``: no such key).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import syscalls
from xlvs.dataplane.btf import MapDef
from xlvs.dataplane.uapi import MapType

Array = npt.NDArray[Any]

_CHUNK = 4096
_U32 = np.dtype("<u4")


def possible_cpus() -> int:
    """Return for how many CPUs a per-CPU map holds values (Documentation/admin-guide/cputopology.rst)."""
    text = Path("/sys/devices/system/cpu/possible").read_text()
    return int(text.strip().replace(",", "-").split("-")[-1]) + 1


class Map:
    """One map.  *key* is None for stacks; per-CPU maps are `PerCpuMap`, maps of tables `TableMap`."""

    def __init__(self, name: str, fd: int, key: np.dtype[Any] | None, value: np.dtype[Any]) -> None:
        self.name = name
        self.fd = fd
        self.key_dtype = key if key is not None else np.dtype((np.void, 0))
        self.value_dtype = value
        info = syscalls.map_info(fd)
        self.type = MapType(info.type)
        self.max_entries = info.max_entries
        self._stored = value
        """The dtype of what one system call reads or writes for one key."""

    def get(self, key: Any) -> Any:
        """Return the value of *key* as a numpy scalar, or None."""
        try:
            raw = syscalls.map_lookup(self.fd, self._key(key), self._stored.itemsize)
        except FileNotFoundError:
            return None
        return np.frombuffer(raw, self._stored)[0]

    def put(self, key: Any, value: Any) -> None:
        """Write *value* under *key*, whether there is one or not."""
        syscalls.map_update(self.fd, self._key(key), self._value(value))

    def delete(self, key: Any) -> bool:
        """Delete *key*; return whether it was there."""
        try:
            syscalls.map_delete(self.fd, self._key(key))
        except FileNotFoundError:
            return False
        return True

    def items(self) -> tuple[Array, Array]:
        """Return all keys and all values, in the same order; entries that come or go meanwhile may be in or not."""
        keys: list[Array] = [np.empty(0, self.key_dtype)]
        values: list[Array] = [np.empty(0, self._stored)]
        chunk, cursor, error = _CHUNK, None, 0
        while error != errno.ENOENT:
            some_keys, some_values = np.empty(chunk, self.key_dtype), np.empty(chunk, self._stored)
            count, error, following = self._batch(cursor, some_keys, some_values)
            if error == errno.ENOSPC:  # a hash bucket with more than chunk entries: read it again, whole
                chunk *= 2
                continue
            keys.append(some_keys[:count])
            values.append(some_values[:count])
            cursor = following
        # Left to itself numpy makes the byte order of the result the machine's own.
        return np.concatenate(keys, dtype=self.key_dtype), np.concatenate(values, dtype=self._stored)

    def read(self, start: int = 0, count: int | None = None) -> Array:
        """Return *count* values of an array from index *start* on (default: to its end)."""
        if count is None:
            count = self.max_entries - start
        keys, values = np.empty(count, _U32), np.empty(count, self._stored)
        # The cursor of an array is the index before (generic_map_lookup_batch).
        cursor = (start - 1).to_bytes(4, "little") if start else None
        found = self._batch(cursor, keys, values)[0] if count else 0
        return values[:found]

    def write(self, start: int, values: npt.ArrayLike) -> None:
        """Write consecutive values of an array from index *start* on."""
        data = np.ascontiguousarray(values, self._stored)
        self.write_at(np.arange(start, start + len(data)), data)

    def write_at(self, keys: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Write many values under as many keys."""
        some_keys = np.ascontiguousarray(keys, self.key_dtype)
        some_values = np.ascontiguousarray(values, self._stored)
        if len(some_keys):
            syscalls.map_update_batch(self.fd, some_keys.ctypes.data, some_values.ctypes.data, len(some_keys))

    def delete_many(self, keys: npt.ArrayLike) -> None:
        """Delete many keys of a hash; those that are not there are left out."""
        left = np.ascontiguousarray(keys, self.key_dtype)
        while len(left):
            done, error = syscalls.map_delete_batch(self.fd, left.ctypes.data, len(left))
            if error == errno.ENOENT:  # the batch ends at a key that is not there
                done += 1
            elif error:
                raise OSError(error, os.strerror(error))
            left = left[done:]

    def store(self, index: int, value: int) -> None:
        """Set one 32-bit value of an array made with ``BPF_F_MMAPABLE``, in one store that no CPU sees half of."""
        with mmap.mmap(self.fd, 8 * self.max_entries) as memory:
            np.frombuffer(memory, np.uint32, 2 * self.max_entries)[2 * index] = value

    def clear(self) -> None:
        """Delete every key."""
        self.delete_many(self.items()[0])

    def close(self) -> None:
        """Close the descriptor; a pinned map lives on."""
        os.close(self.fd)

    def _batch(self, cursor: bytes | None, keys: Array, values: Array) -> tuple[int, int, bytes]:
        following = bytearray(max(4, self.key_dtype.itemsize))
        count, error = syscalls.map_lookup_batch(
            self.fd, cursor, following, keys.ctypes.data, values.ctypes.data, len(keys)
        )
        return count, error, bytes(following)

    def _key(self, key: Any) -> bytes:
        return np.asarray(key, self.key_dtype).tobytes()

    def _value(self, value: Any) -> bytes:
        return np.asarray(value, self._stored).tobytes()


class PerCpuMap(Map):
    """A map with one value per CPU: what is read has the CPUs as its last axis."""

    def __init__(self, name: str, fd: int, key: np.dtype[Any] | None, value: np.dtype[Any]) -> None:
        super().__init__(name, fd, key, value)
        stride = -(-value.itemsize // 8) * 8
        padded = np.dtype({"names": ["value"], "formats": [value], "offsets": [0], "itemsize": stride})
        self._stored = np.dtype([("cpu", padded, (possible_cpus(),))])

    def get(self, key: Any) -> Any:
        """Return the values of *key*, one per CPU, or None."""
        found = super().get(key)
        return None if found is None else found["cpu"]["value"]

    def items(self) -> tuple[Array, Array]:
        """Return all keys and all values; values have one column per CPU."""
        keys, values = super().items()
        return keys, values["cpu"]["value"]

    def read(self, start: int = 0, count: int | None = None) -> Array:
        """Return the values of an array from index *start* on; one column per CPU."""
        return super().read(start, count)["cpu"]["value"]

    def totals(self, start: int = 0, count: int | None = None) -> Array:
        """Return the same, summed over the CPUs."""
        return _sum_last(self.read(start, count))

    def sums(self, start: int = 0, count: int | None = None) -> npt.NDArray[np.uint64]:
        """Return the same of a map whose values are 64-bit words: one row of sums for each value."""
        cpus = possible_cpus()
        words = super().read(start, count).view(np.uint64).reshape(-1, cpus, self.value_dtype.itemsize // 8)
        found: npt.NDArray[np.uint64] = words[:, 0].copy()
        for cpu in range(1, cpus):  # a sum over an axis this short takes many times as long
            found += words[:, cpu]
        return found

    def total(self, key: Any) -> Any:
        """Return the value of *key* summed over the CPUs, or None."""
        found = self.get(key)
        return None if found is None else _sum_last(found)[()]

    def _value(self, value: Any) -> bytes:
        stored = np.zeros((), self._stored)
        stored["cpu"]["value"] = np.asarray(value, self.value_dtype)
        return stored.tobytes()


def _sum_last(values: Array) -> Array:
    """Sum over the last axis, field by field."""
    if values.dtype.names is None:
        return np.asarray(values.sum(axis=-1, dtype=values.dtype))
    out = np.zeros(values.shape[:-1], values.dtype)
    for name in values.dtype.names:
        out[name] = values[name].sum(axis=-1)
    return out


class TableMap(Map):
    """An array whose every value is itself an array of u32: one table per index.

    Tables are written through mmap(2), 18 times as fast as by system calls at
    4093 entries, so the template must have ``BPF_F_MMAPABLE``.
    """

    def __init__(self, name: str, fd: int, key: np.dtype[Any] | None, inner: MapDef) -> None:
        super().__init__(name, fd, key, _U32)
        self._inner = inner

    def put_table(self, index: int, table: npt.ArrayLike) -> None:
        """Make *table* the table of *index*, whole at once."""
        self.put_tables([index], [table])

    def put_tables(self, indices: Sequence[int], tables: Sequence[npt.ArrayLike]) -> None:
        """Make these tables those of *indices*: the kernel waits for running programs once, not once each."""
        fds: list[int] = []
        try:
            for table in tables:
                fds.append(self._make(np.ascontiguousarray(table, _U32)))
            self.write_at(indices, fds)
        finally:
            syscalls.close(fds)

    def table(self, index: int) -> Array | None:
        """Return the table of *index*, or None."""
        map_id = self.get(index)
        if map_id is None:
            return None
        inner = Map(self._inner.name, syscalls.map_fd(int(map_id)), _U32, _U32)
        try:
            return inner.read()
        finally:
            inner.close()

    def _make(self, table: Array) -> int:
        fd = syscalls.map_create(self._inner.type, 4, 4, len(table), flags=self._inner.flags, name=self._inner.name)
        try:
            with mmap.mmap(fd, 8 * len(table)) as memory:  # an array's values lie 8 bytes apart
                np.frombuffer(memory, "<u8", len(table))[:] = table
        except BaseException:
            os.close(fd)
            raise
        return fd
