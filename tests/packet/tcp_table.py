"""The TCP state machine of IPVS, as net/netfilter/ipvs/ip_vs_proto_tcp.c draws it (Linux 6.12, tcp_states).

Written out from that file for the tests alone: rows are what is seen, columns
the state before, cells the state after.
"""

from __future__ import annotations

NAMES = {
    "NO": "NONE",
    "ES": "ESTABLISHED",
    "SS": "SYN_SENT",
    "SR": "SYN_RECV",
    "FW": "FIN_WAIT",
    "TW": "TIME_WAIT",
    "CL": "CLOSE",
    "CW": "CLOSE_WAIT",
    "LA": "LAST_ACK",
    "LI": "LISTEN",
    "SA": "SYNACK",
}
ACTIVE = {"ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"}
"""States that ActiveConn counts; the others are InActConn's."""

_COLUMNS = "NO ES SS SR FW TW CL CW LA LI SA"
_ROWS = """
input       syn  SR  ES  ES  SR  SR  SR  SR  SR  SR  SR  SR
input       fin  CL  CW  SS  TW  TW  TW  CL  CW  LA  LI  TW
input       ack  ES  ES  SS  ES  FW  TW  CL  CW  CL  LI  ES
input       rst  CL  CL  CL  SR  CL  CL  CL  CL  LA  LI  SR
output      syn  SS  ES  SS  SR  SS  SS  SS  SS  SS  LI  SR
output      fin  TW  FW  SS  TW  FW  TW  CL  TW  LA  LI  TW
output      ack  ES  ES  SS  ES  FW  TW  CL  CW  LA  ES  ES
output      rst  CL  CL  SS  CL  CL  TW  CL  CL  CL  CL  CL
input-only  syn  SR  ES  ES  SR  SR  SR  SR  SR  SR  SR  SR
input-only  fin  CL  FW  SS  TW  FW  TW  CL  CW  LA  LI  TW
input-only  ack  ES  ES  SS  ES  FW  TW  CL  CW  CL  LI  ES
input-only  rst  CL  CL  CL  SR  CL  CL  CL  CL  LA  LI  CL
"""


def read(rows: str, columns: str, names: dict[str, str]) -> dict[tuple[str, str, str], str]:
    """Return the state after, by direction, event and state before, of a state machine written out as here."""
    found = {}
    for line in rows.strip().splitlines():
        direction, event, *cells = line.split()
        for before, after in zip(columns.split(), cells, strict=True):
            found[direction, event, names[before]] = names[after]
    return found


NEXT = read(_ROWS, _COLUMNS, NAMES)
"""State after, by direction, event and state before."""


def event(flags: str) -> str:
    """Return the event of a segment's flags, as scapy writes them: RST before SYN before FIN before ACK."""
    return next(name for letter, name in (("R", "rst"), ("S", "syn"), ("F", "fin"), ("A", "ack")) if letter in flags)
