"""What every kind of check has: when it is made, when its verdict changes, and the probe.

The words are those of HAProxy: a server that answered `rise` times in a row is up, one that failed `fall` times
is down.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from xlvs.errors import InvalidError, XlvsError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Duration = Annotated[
    Annotated[float, Meta(gt=0, le=86400)] | Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)?$")], Meta()
]
Count = Annotated[int, Meta(ge=1, le=1000)]


class Failed(Exception):
    """The server did not answer as it should; the text says how, in one sentence without its name."""


class Unable(XlvsError):
    """The check cannot be made at all: a library or a program is missing, a user is unknown."""


class Target(NamedTuple):
    """Where a probe goes: a numeric address and a port; *name* is what messages call the server."""

    address: str
    port: int
    name: str = ""

    @property
    def host(self) -> str:
        """The address as it is written in front of a port."""
        return f"[{self.address}]" if ":" in self.address else self.address


class Answer(NamedTuple):
    """What a good answer may say besides: the weight that the server asks for; None: the configured one."""

    weight: int | None = None


def seconds(given: float | str) -> float:
    """Return the seconds of ``2``, ``0.5``, ``500ms``, ``2s``, ``5m`` or ``1h``; raises `InvalidError`."""
    if isinstance(given, str):
        match = _DURATION.fullmatch(given)
        if match is None:
            raise InvalidError(f"{given!r} is no duration; write one as 2s or 500ms")
        given = float(match[1]) * _UNITS[match[2] or "s"]
    if not 0 < given <= 86400:
        raise InvalidError(f"{given:g} seconds are outside 0..86400")
    return float(given)


class Check(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", omit_defaults=True
):
    """What all kinds can be told.  Raises `InvalidError` where options contradict each other."""

    interval: Annotated[Duration, Meta(description="Between two probes: seconds, or 2s, 500ms, 1m.")] = 2
    timeout: Annotated[Duration, Meta(description="For the whole probe.")] = 1
    rise: Annotated[Count, Meta(description="So many good answers in a row, and the server is up.")] = 2
    fall: Annotated[Count, Meta(description="So many failures in a row, and it is down.")] = 3
    jitter: Annotated[
        float, Meta(ge=0, le=1, description="Each interval is longer or shorter by up to this part of it.")
    ] = 0.1
    address: Annotated[str, Meta(description="Ask there instead of at the real server's address.")] = ""
    port: Annotated[int, Meta(ge=0, le=65535, description="Ask at this port instead of at the real server's.")] = 0

    def __post_init__(self) -> None:
        if self.interval_s < self.timeout_s / 10:
            raise InvalidError(
                f"a timeout of {self.timeout_s:g} s is more than ten times the interval of {self.interval_s:g} s"
            )
        self.validate()

    @property
    def interval_s(self) -> float:
        """Seconds between two probes."""
        return seconds(self.interval)

    @property
    def timeout_s(self) -> float:
        """Seconds that a probe may take."""
        return seconds(self.timeout)

    def validate(self) -> None:
        """See that the options make sense together; raises `InvalidError`."""

    def prepare(self) -> None:
        """See that probes can run here, when the configuration is loaded; raises `Unable` in one sentence."""

    async def probe(self, target: Target) -> Answer | None:
        """Ask *target* once; raises `Failed` or `OSError` if it is not well.

        The prober ends it after `timeout_s`: what was opened must be closed when it is cancelled.
        """
        raise NotImplementedError

    @property
    def asks(self) -> bool:
        """Whether there is anything to ask: `none` is always good."""
        return True

    def plain(self) -> dict[str, Any]:
        """Return the check as plain values, as a file has them."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found
