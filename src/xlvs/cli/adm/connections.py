"""The table of connections, ``-L -c``: as ipvsadm 1.31 prints it, and with columns of our own if they are asked for.

Input is what the daemon answers to ``GET /v1/flows`` as CSV.
"""

from __future__ import annotations

from xlvs.cli.adm.format import Names, large

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ROW = b"%-3b %-6b %-11b %-18b %-18b %b"
_FIELDS = ("protocol", "expires_s", "state", "client", "virtual", "server")
"""The columns of the daemon that are printed, in their order."""


def fields(options: set[str]) -> tuple[str, ...]:
    """Return the columns to ask the daemon for."""
    idle = ("idle_s",) if "idle" in options else ()
    call = ("call",) if "persistent-conn" in options else ()
    return (*_FIELDS, *idle, *(("in_bytes", "out_bytes") if "bytes" in options else ()), *call)


def format_connections(blocks: Iterable[bytes], options: set[str]) -> Iterator[str]:
    """Yield the table: every flow, in the order of the daemon.

    *blocks* are whole lines of what it answers, with the columns `fields`.
    """
    names = Names(numeric="numeric" in options)
    wanted = fields(options)
    yield "IPVS connection entries\n" + _title(options)
    width = header = len(wanted)
    plain = not options & {"idle", "bytes"}
    row = _ROW if plain else _ROW[:-2] + b"%-18b" + b" %-6b" * ("idle" in options)
    row += b"%b%b" * ("bytes" in options) + b"%b" * ("persistent-conn" in options) + b"\n"
    times = _Times()
    for block in blocks:
        # One format for all rows of a block: a step of Python for each row would take twice as long.
        cells = block.replace(b"\n", b",").split(b",")
        del cells[-1], cells[:header]
        header = 0
        if "numeric" not in options:
            for end in (3, 4, 5):
                pairs = zip(cells[end::width], cells[::width], strict=True)
                cells[end::width] = [names.named(name.decode(), protocol.decode()).encode() for name, protocol in pairs]
        cells[::width] = [protocol.upper() for protocol in cells[::width]]
        for name, column in zip(wanted, range(width), strict=True):
            if name in ("expires_s", "idle_s"):
                cells[column::width] = [times[seconds] for seconds in cells[column::width]]
            elif name == "call":
                cells[column::width] = [
                    b" sip                " + call if call else b"" for call in cells[column::width]
                ]
                if plain:  # before a column that is there, the last one is padded
                    ends = zip(cells[5::width], cells[column::width], strict=True)
                    cells[5::width] = [b"%-16b" % end if call else end for end, call in ends]
            elif name in ("in_bytes", "out_bytes"):
                cells[column::width] = [large(int(n), "exact" in options).encode() for n in cells[column::width]]
        yield (row * (len(cells) // width) % tuple(cells)).decode()


def _title(options: set[str]) -> str:
    title = f"pro expire {'state':11} {'source':18} {'virtual':18} destination"
    title += f"{'':7} idle  " * ("idle" in options)
    if "bytes" in options:
        title += f"{'' if 'idle' in options else '       '} {'InBytes':>8} {'OutBytes':>8}"
    if "persistent-conn" in options:
        title += f"{'' if options & {'idle', 'bytes'} else '       '} {'pe name':16} pe_data"
    return title + "\n"


class _Times(dict[bytes, bytes]):
    """Minutes and seconds as ipvsadm writes them, by seconds."""

    def __missing__(self, seconds: bytes) -> bytes:
        minutes, rest = divmod(int(seconds), 60)
        text = self[seconds] = b"%02d:%02d" % (minutes, rest)
        return text
