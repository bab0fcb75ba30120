"""Where an address has its place in the map ``addr_hints``: the same hash as `addr_hint()` in ``bpf/find.h``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi


def hint_slots(addresses: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the slots of *addresses*, as `pack_addr` gives them."""
    words = np.frombuffer(np.asarray(addresses, abi.ADDR).tobytes(), "<u4").reshape(-1, 4)
    folded = np.bitwise_xor.reduce(words, axis=1).astype(np.uint64)
    slots: npt.NDArray[Any] = (folded * np.uint64(abi.HINT_FACTOR) & np.uint64(0xFFFFFFFF)) >> np.uint64(abi.HINT_SHIFT)
    return slots
