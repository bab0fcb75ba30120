/*
 * Events of the whole director that belong to no single service.
 * One row is the whole change, as in drop.h.
 */
/*           number  name           what it counts */
XLVS_COUNTER(0,      xdp_forwarded, "Packets forwarded by the XDP hook.")
XLVS_COUNTER(1,      tc_forwarded,  "Packets forwarded by the TC ingress hook.")
XLVS_COUNTER(2,      local_forwarded, "Packets of clients on the director itself, forwarded by the TC egress hook.")
XLVS_COUNTER(3,      xdp_punted,    "Packets of a service that XDP left to the TC hook.")
XLVS_COUNTER(4,      flow_opened,   "Flows that entered the table.")
XLVS_COUNTER(5,      flow_expired,  "Flows that left the table: idle too long, or replaced by a new connection.")
XLVS_COUNTER(6,      flow_full,     "New flows that found the table full and were forwarded by a stateless choice.")
XLVS_COUNTER(7,      stateless,     "Packets forwarded by a stateless choice, without a flow.")
XLVS_COUNTER(8,      icmp_sent,     "ICMP errors that the director sent.")
XLVS_COUNTER(9,      icmp_relayed,  "ICMP errors of others that were relayed to a flow's other side.")
XLVS_COUNTER(10,     healed,        "Packets whose partial checksum XDP completed.")
XLVS_COUNTER(11,     decapsulated,  "Tunnelled packets unwrapped on a real server.")
XLVS_COUNTER(12,     sweeps,        "Slices of the flow table that the expiry timer went through.")
XLVS_COUNTER(13,     flow_beside,   "New flows that found their bucket of the flow table full and went to the one beside it.")
XLVS_COUNTER(14,     flow_spilled,  "New flows that found both buckets full and went to the spill.")
XLVS_COUNTER(15,     flow_reclaimed, "New flows that found the spill full, too, and took the place of a flow in which no connection was in use.")
XLVS_COUNTER(16,     flow_shed,     "Flows that drop_entry ended.")
