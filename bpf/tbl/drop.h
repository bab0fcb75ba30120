/*
 * Every reason for which xlvs refuses a packet that was its to forward.
 * One row is the whole change: the C enum, the counters, Python's DropReason
 * and the documentation are made from it.  Numbers are part of the ABI.
 */
/*        number  name              what an operator is told */
XLVS_DROP(0,      no_server,        "The service has no real server that takes new flows.")
XLVS_DROP(1,      server_gone,      "The flow's real server was deleted; the flow is kept until it is back or the flow expires.")
XLVS_DROP(2,      ttl,              "The packet's TTL or hop limit was used up; the sender was told by ICMP.")
XLVS_DROP(3,      too_big,          "The packet does not fit the path to the real server; the sender was told by ICMP.")
XLVS_DROP(4,      no_route,         "The director has no route to the real server.")
XLVS_DROP(5,      no_forwarding,    "IP forwarding is off on the interface; set net.ipv4.ip_forward or net.ipv6.conf.all.forwarding.")
XLVS_DROP(6,      busy,             "Another CPU was replacing the same flow; the sender's retransmission will pass.")
XLVS_DROP(7,      no_headroom,      "The packet could not be grown for the tunnel header or the ICMP answer.")
XLVS_DROP(8,      no_source,        "The director has no address of its own from which to reach the real server.")
XLVS_DROP(9,      icmp_limit,       "The packet was dropped without an ICMP answer: too many were sent this second.")
XLVS_DROP(10,     no_flow,          "A real server sent a reply that is of no connection; with nat_icmp_send it is told by ICMP.")
XLVS_DROP(11,     defence,          "A new connection was refused by drop_packet.")
XLVS_DROP(12,     no_call,          "The service goes by the Call-ID of SIP, and the packet has none that can be read.")
