"""What a service asks of its servers before they get traffic, and what becomes of it when too few can.

The words are keepalived's (keepalived.conf(5), virtual_server and real_server) where it has one.  Checks are plain
values here, as a file has them; `xlvs.health` knows what they mean.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xlvs.errors import InvalidError

PlainCheck = dict[str, Any]


class Notify(msgspec.Struct, frozen=True, omit_defaults=True):
    """Commands that are run when a server's state or the quorum changes; empty: none."""

    up: str = ""
    down: str = ""
    quorum_up: str = ""
    quorum_down: str = ""


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a service.  Raises `InvalidError`.

    *checks*: all of them must be good.  *alpha*: a server is down until its first good answer, else up until it fails.
    *omega*: a daemon that ends runs the down commands.  *quorum*: so much weight must be up, or the sorry server
    answers; *hysteresis*: so much more for the quorum to be gained, and less for it to be lost.  *inhibit*: a server
    that is down gets weight 0, else it is taken out.  *slow_start*: for so many seconds after it came up a server's
    weight grows to what it should be.  *maintenance*: a directory; a server for which there is a file takes no new
    connections.
    """

    checks: tuple[PlainCheck, ...] = ()
    alpha: bool = False
    omega: bool = False
    quorum: int = 1
    hysteresis: int = 0
    inhibit: bool = False
    slow_start: float = 0
    notify: Notify = Notify()
    maintenance: str = ""

    def __post_init__(self) -> None:
        if self.quorum < 1 or self.hysteresis < 0 or self.hysteresis >= self.quorum:
            raise InvalidError(
                f"a quorum of {self.quorum} with a hysteresis of {self.hysteresis} cannot be; "
                "the quorum is at least 1, and more than the hysteresis"
            )
        if not 0 <= self.slow_start <= 86400:
            raise InvalidError(f"a slow start of {self.slow_start:g} seconds is outside 0..86400")


class ServerHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one server, instead of what its service says; None: as the service has it."""

    checks: tuple[PlainCheck, ...] | None = None
    alpha: bool | None = None
    inhibit: bool | None = None
    notify: Notify | None = None
