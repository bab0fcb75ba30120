/*
 * Flow states with the name ipvsadm prints, the idle timeout in seconds,
 * whether the flow counts as active, and whether a new flow that finds no room
 * may take its place (no connection is in use in such a state).  A number is
 * 16 * class + place: TCP, whose places are those of include/net/ip_vs.h so
 * that the transition table can be read beside it, is class 0, UDP class 1,
 * SCTP class 2, whose names lose the prefix and have dashes where people see them.
 * Class 3 are templates of persistent services; each has its own idle timeout.
 */
/*         number name         idle  active reclaim */
XLVS_STATE(0,     NONE,        2,    0,     1)
XLVS_STATE(1,     ESTABLISHED, 900,  1,     0)
XLVS_STATE(2,     SYN_SENT,    120,  1,     1)
XLVS_STATE(3,     SYN_RECV,    60,   1,     1)
XLVS_STATE(4,     FIN_WAIT,    120,  0,     0)
XLVS_STATE(5,     TIME_WAIT,   120,  0,     1)
XLVS_STATE(6,     CLOSE,       10,   0,     1)
XLVS_STATE(7,     CLOSE_WAIT,  60,   0,     0)
XLVS_STATE(8,     LAST_ACK,    30,   0,     1)
XLVS_STATE(9,     LISTEN,      120,  0,     1)
XLVS_STATE(10,    SYNACK,      120,  1,     1)
XLVS_STATE(16,    UDP,         300,  0,     0)
XLVS_STATE(32,    SCTP_NONE,       2,   0, 1)
XLVS_STATE(33,    SCTP_INIT1,      4,   0, 1)
XLVS_STATE(34,    SCTP_INIT,       61,  0, 1)
XLVS_STATE(35,    SCTP_C_SENT,     61,  0, 1)
XLVS_STATE(36,    SCTP_C_REPLIED,  61,  0, 0)
XLVS_STATE(37,    SCTP_C_WAIT,     61,  0, 1)
XLVS_STATE(38,    SCTP_COOKIE,     61,  0, 0)
XLVS_STATE(39,    SCTP_C_ECHOED,   61,  0, 0)
XLVS_STATE(40,    SCTP_ESTABLISHED, 900, 1, 0)
XLVS_STATE(41,    SCTP_S_SENT,     61,  0, 0)
XLVS_STATE(42,    SCTP_S_RECEIVED, 61,  0, 0)
XLVS_STATE(43,    SCTP_S_ACK_SENT, 61,  0, 0)
XLVS_STATE(44,    SCTP_REJECTED,   4,   0, 1)
XLVS_STATE(45,    SCTP_CLOSED,     61,  0, 1)
XLVS_STATE(48,    ASSURED,     360,  0,     0)
