"""The model's values as records of the maps, and back: the layouts are those of ``bpf/abi.h``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi
from xlvs.model import MARK, Address, ServiceKey

Array = npt.NDArray[Any]

VIP, SERVER, DIRECTOR, FTP = abi.ADDR_VIP, abi.ADDR_SERVER, abi.ADDR_DIRECTOR, abi.ADDR_FTP

FTP_PORT = 21
"""Connections to it tell of data connections (ip_vs_ftp.c, ``ports``)."""

PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132, MARK: abi.PROTO_MARK}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}

FORWARD_NUMBERS = {fwd.label: int(fwd) for fwd in abi.Fwd}
FORWARD_NAMES = {int(fwd): fwd.label for fwd in abi.Fwd}
NAT = int(abi.Fwd.NAT)

LIVE = abi.LIFE_LIVE
NO_ADDRESS = bytes(16)

FEW = 64
"""So many addresses are looked for one by one."""

EPOCHS = (1 << 31) - 1
"""Epochs are 1..EPOCHS: 31 bits, as many as a server's row has room for."""

ENGINE_NUMBERS = {"": abi.ENGINE_NONE, "sip": abi.ENGINE_SIP}
ENGINE_NAMES = {number: name for name, number in ENGINE_NUMBERS.items()}

CHECKSUM_FLAGS = {"none": 0, "full": abi.TUNNEL_CSUM, "remote": abi.TUNNEL_REMCSUM}
CHECKSUM_NAMES = {flag: name for name, flag in CHECKSUM_FLAGS.items()}

_FLAG_BITS = {"flag-1": abi.SCHED_F_FALLBACK, "flag-2": abi.SCHED_F_PORT, "flag-3": abi.SCHED_F_3}


def epoch_of(generation: int) -> int:
    """Return the epoch that puts *generation* in force."""
    return generation % EPOCHS + 1


def turning(live: bool, epoch: int) -> int:
    """Return the life of a server that is *live* until *epoch*, or is from then on."""
    return int(live) | epoch << abi.LIFE_TURN_SHIFT


def speaks_ftp(rows: Array) -> Array:
    """Say which server rows may get control connections of FTP: their service is at its port, or at every port."""
    keeps_port = (rows["port"] == 0) | (rows["flags"] & abi.SERVER_ANY_PORT != 0)
    is_tcp = rows["proto"] == PROTOCOL_NUMBERS["tcp"]
    every_port = (rows["vport"] == 0) & keeps_port & (is_tcp | (rows["proto"] == abi.PROTO_MARK))
    found: Array = (rows["fwd"] == NAT) & (is_tcp & (rows["vport"] == FTP_PORT) | every_port)
    return found


def ftp_addresses(rows: Array) -> list[bytes]:
    """Return the virtual addresses of server rows that may get control connections; a mark has none."""
    ftp = (rows["flags"] & abi.SERVER_FTP != 0) & (rows["proto"] != abi.PROTO_MARK)
    return as_bytes(np.unique(rows["virt"][ftp]))


def flag_bits(flags: frozenset[str]) -> int:
    """Return scheduler flags as the bits of a service's value."""
    return sum(_FLAG_BITS[flag] for flag in flags) if flags else 0


def flag_names(bits: int) -> frozenset[str]:
    """Return the scheduler flags of these bits."""
    return frozenset(name for name, bit in _FLAG_BITS.items() if bits & bit)


def service_keys(keys: Sequence[ServiceKey]) -> Array:
    """Return the keys of services in the map."""
    return np.array([(k.address, k.port, PROTOCOL_NUMBERS[k.protocol], 0) for k in keys], abi.SERVICE_KEY)


def read_service_keys(keys: Array) -> list[ServiceKey]:
    """Return the services of these keys in the map."""
    columns = zip(keys["addr"].tolist(), keys["port"].tolist(), keys["proto"].tolist(), strict=True)
    return [ServiceKey(PROTOCOL_NAMES[proto], Address(addr), port) for addr, port, proto in columns]


def numbers(values: Sequence[int] | Array) -> Array:
    """Return array indices as keys."""
    return np.asarray(values, np.uint32)


def addresses(values: Sequence[bytes]) -> Array:
    """Return addresses as an array of keys or fields."""
    return np.frombuffer(b"".join(values), abi.ADDR)


def as_words(rows: Array) -> npt.NDArray[np.uint64]:
    """Return records of a multiple of eight bytes as rows of words, for comparing."""
    return np.ascontiguousarray(rows).view(np.uint64).reshape(len(rows), rows.dtype.itemsize // 8)


def nat_keys(rows: Array) -> Array:
    """Return what replies of these server rows come from: keys of ``nat_servers``."""
    keys = np.zeros(len(rows), abi.SERVICE_KEY)
    keys["addr"], keys["port"], keys["proto"] = rows["addr"], rows["port"], rows["proto"]
    return keys


def among(rows: Array, name: str, addresses: Collection[bytes]) -> npt.NDArray[np.bool_]:
    """Say of each record whether the second half of its address *name* is that of one of a few *addresses*."""
    at = rows.dtype.fields[name][1] // 8 + 1  # type: ignore[index]
    return np.isin(as_words(rows)[:, at], [int.from_bytes(address[8:], "little") for address in addresses])


def as_bytes(records: Array) -> list[bytes]:
    """Return each record as bytes, to be a dictionary's key."""
    size, packed = records.dtype.itemsize, np.ascontiguousarray(records).tobytes()
    return [packed[i : i + size] for i in range(0, len(packed), size)]
