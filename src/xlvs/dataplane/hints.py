"""Where the flags of an address have their place in the map ``addr_hints``: as `addr_hint()` in ``bpf/find.h``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi

_PER_WORD = 16
_BITS = 4


def hint_bits(addresses: npt.ArrayLike, flags: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return for each address the index of its word, and its flags at their place in it."""
    words = np.frombuffer(np.asarray(addresses, abi.ADDR).tobytes(), "<u4").reshape(-1, 4)
    folded = np.bitwise_xor.reduce(words, axis=1).astype(np.uint64)
    place = (folded * np.uint64(abi.HINT_FACTOR) & np.uint64(0xFFFFFFFF)) >> np.uint64(abi.HINT_SHIFT)
    shift = place % np.uint64(_PER_WORD) * np.uint64(_BITS)
    return place // np.uint64(_PER_WORD), np.asarray(flags, np.uint64) << shift
