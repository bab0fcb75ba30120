"""file: an integer in a file gives a server more weight or less, or takes it down.

As FILE_CHECK and track_file of keepalived: the integer times `weight`, negated with `reverse`, is added to `base`, the
weight that the server has anyway; -254 or less means that the server is down.  Nobody is asked over the network, so
that a script, a cron job or an operator decides by writing the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Check, Failed, Target, Unable

DOWN = -254
"""keepalived.conf(5), track_file: at this value an instance is at fault."""
MOST_WEIGHT = 65535
_INTEGER = re.compile(r"\s*([+-]?\d{1,18})\s*", re.ASCII)
_READ = 4096


class File(Check, frozen=True, kw_only=True, tag="file"):
    """A file has an integer that is not too low."""

    path: Annotated[str, Meta(description="The file.")]
    weight: Annotated[int, Meta(ge=-254, le=254, description="The integer is multiplied by it.")] = 1
    reverse: Annotated[bool, Meta(description="The product is negated: the more, the worse.")] = False
    base: Annotated[
        int,
        Meta(ge=0, le=MOST_WEIGHT, description="The server's weight, to which the product is added."),
    ] = 0
    missing: Annotated[Literal["down", "up"], Meta(description="What a server without the file is.")] = "down"

    def validate(self) -> None:
        """See that there is a path that means the same everywhere; raises `InvalidError`."""
        super().validate()
        if not self.path.startswith("/"):
            raise InvalidError(f"the path {self.path!r} of a file does not begin with /")

    def prepare(self) -> None:
        """See that the file is there, or need not be; raises `Unable`."""
        super().prepare()
        path = Path(self.path)
        if not path.exists():
            if self.missing == "down":
                raise Unable(f"there is no file {self.path}; write an integer into it, or say missing: up")
        elif not path.is_file():
            raise Unable(f"{self.path} is no regular file; see the path of a check")

    async def probe(self, target: Target) -> Answer | None:
        """Read it once."""
        value = self._read()
        if value is None:
            return None
        product = value * self.weight * (-1 if self.reverse else 1)
        if product <= DOWN:
            raise Failed(f"{self.path} says {value}")
        return Answer(min(max(self.base + product, 0), MOST_WEIGHT))

    def _read(self) -> int | None:
        """Return the integer, None if the file may be missing, and is; raises `Failed` or `OSError`."""
        try:
            if not Path(self.path).is_file():  # opening a pipe would wait for its writer
                raise FileNotFoundError
            with open(self.path, "rb") as file:
                text = file.read(_READ).decode("ascii", "replace")
        except FileNotFoundError:
            if self.missing == "up":
                return None
            raise Failed(f"there is no file {self.path}") from None
        match = _INTEGER.fullmatch(text)
        if match is None:
            raise Failed(f"{self.path} has no integer but {text[:40]!r}")
        return int(match[1])


CHECK = File
