"""The SCTP state machine of IPVS, as net/netfilter/ipvs/ip_vs_proto_sctp.c draws it (Linux 6.12, sctp_states).

Written out from that file for the tests alone: rows are what is seen, columns
the state before, cells the state after.
"""

from __future__ import annotations

from tests.packet.tcp_table import read

NAMES = {
    "NO": "NONE",
    "I1": "INIT1",
    "IN": "INIT",
    "CS": "C-SENT",
    "CR": "C-REPLIED",
    "CW": "C-WAIT",
    "CO": "COOKIE",
    "CE": "C-ECHOED",
    "ES": "ESTABLISHED",
    "SS": "S-SENT",
    "SR": "S-RECEIVED",
    "SA": "S-ACK-SENT",
    "RJ": "REJECTED",
    "CL": "CLOSED",
}
_COLUMNS = "NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL"
_ROWS = """
input       data              ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
input       init              I1 IN IN CS CR CW CO CE ES SS SR SA IN IN
input       init-ack          CW CW CW CS CR CO CO CE ES SS SR SA RJ CL
input       cookie-echo       CR IN IN CR CR CW CO CE ES SS SR SA RJ CL
input       cookie-ack        ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL
input       shutdown          SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
input       shutdown-ack      CL IN IN CS CR CW CO CE ES CL SR CL RJ CL
input       shutdown-complete CL CL CL CS CR CW CO CE ES SS SR CL RJ CL
input       error             CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL
input       abort             CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
output      data              ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
output      init              CW CW CW CW CW CW CW CW ES CW CW CW CW CW
output      init-ack          CS CS CS CS CR CW CO CE ES SS SR SA RJ CL
output      cookie-echo       CE CE CE CE CE CE CE CE ES SS SR SA RJ CL
output      cookie-ack        ES ES ES ES ES ES ES ES ES SS SR SA RJ CL
output      shutdown          SS SS SS SS SS SS SS SS SS SS SR SA RJ CL
output      shutdown-ack      SA SA SA SA SA CW CO CE ES SA SA SA RJ CL
output      shutdown-complete CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
output      error             CL CL CL CL CL CW CO CE ES SS SR SA RJ CL
output      abort             CL RJ CL CL CL CL CL CL CL CL CL CL CL CL
input-only  data              ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL
input-only  init              I1 IN IN IN IN IN CO CE ES SS SR SA IN IN
input-only  init-ack          CE CE CE CE CE CE CO CE ES SS SR SA RJ CL
input-only  cookie-echo       ES ES ES ES ES ES CO CE ES SS SR SA RJ CL
input-only  cookie-ack        ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL
input-only  shutdown          SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
input-only  shutdown-ack      CL IN IN CS CR CW CO CE CL CL SR CL RJ CL
input-only  shutdown-complete CL CL CL CL CL CW CO CE ES SS CL CL RJ CL
input-only  error             CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
input-only  abort             CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
"""

CHUNKS = {
    "init": 1, "init-ack": 2, "data": 0, "cookie-echo": 10, "cookie-ack": 11, "shutdown": 7, "shutdown-ack": 8,
    "shutdown-complete": 14, "error": 9, "abort": 6,
}  # fmt: skip
"""Types of chunks (RFC 9260 §3.2), one for each event."""
OF_DATA = (3, 4, 5, 12, 13, 15, 64, 192, 255)
"""Types that count as data, among them those that are not known."""


NEXT = read(_ROWS, _COLUMNS, NAMES)
"""State after, by direction, event and state before."""
