"""From one flow table to another while traffic flows: a new size, or a new layout after an upgrade.

    begin    copy what there is; what is not in the new table goes to the program before, in the kernel
    ...      the new programs are attached, interface by interface
    finish   new flows begin in the new table, copy what has changed since, until nothing changes any more

A daemon that dies in between leaves both tables in use; the next start finishes.
"""

from __future__ import annotations

import time

from xlvs.daemon.kernel import Kernel
from xlvs.daemon.log import log
from xlvs.dataplane import Loaded
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.upgrade.takeover import Takeover
from xlvs.errors import HostError

_STEPS = 50
"""So often the table before is looked through at most; what still changes there then is left to the last look."""


class Handover:
    """The flow tables that *loaded* found beside its own; none: nothing happens."""

    def __init__(self, loaded: Loaded, kernel: Kernel) -> None:
        self._kernel = kernel
        self._previous = loaded.previous
        program = loaded.programs["xlvs_import"]
        self._takeovers = [Takeover(loaded.maps, left, program) for left in loaded.left]

    def _require_room(self) -> None:
        """Refuse a table that is smaller than what is to go in; raises `HostError`."""
        for takeover in self._takeovers:
            for family, flows in takeover.live().items():
                if flows > self._kernel.flows.room[family]:
                    raise HostError(
                        f"there are {flows} IPv{family} flows, which do not fit a table for "
                        f"{self._kernel.flows.room[family]}: start xlvs with --flows {flows} or more, "
                        "or end the flows with `xlvs stop --purge`"
                    )

    def begin(self) -> None:
        """Copy all flows; a new program that does not know a packet now asks the one before.  Raises `HostError`."""
        if not self._takeovers:
            return
        self._require_room()
        begin = time.monotonic()
        flows = sum(takeover.step() for takeover in self._takeovers)
        # Not before: an earlier takeover that was broken off may be what these flows live by until now.
        self._kernel.hand_over(abi.HANDOVER_ALL, self._previous)
        log("flows copied to a new table", flows=flows, seconds=round(time.monotonic() - begin, 2))

    def finish(self) -> None:
        """Copy the rest, once all interfaces have the new programs, and let the table before go."""
        if not self._takeovers:
            return
        for mode in (abi.HANDOVER_ALL, abi.HANDOVER_KNOWN):
            self._kernel.hand_over(mode, {})
            for _ in range(_STEPS):
                if not sum(takeover.step() for takeover in self._takeovers):
                    break
                time.sleep(0.01)  # a tick later what was just copied is seen to be old
        for takeover in self._takeovers:
            takeover.carry_overflow()
        self._kernel.hand_over(0, {})
        for takeover in self._takeovers:  # what the program before entered last: datagrams' flows
            takeover.step()
        failed = sum(takeover.failed for takeover in self._takeovers)
        log("the new flow table has taken over", flows=self._kernel.live_flows(), lost=failed)
