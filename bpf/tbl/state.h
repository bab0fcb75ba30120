/*
 * Flow states with the name ipvsadm prints, the idle timeout in seconds, and
 * whether the flow counts as active.  TCP numbers are those of
 * include/net/ip_vs.h, so that the transition table can be read beside it.
 */
/*         number name         idle  active */
XLVS_STATE(0,     NONE,        2,    0)
XLVS_STATE(1,     ESTABLISHED, 900,  1)
XLVS_STATE(2,     SYN_SENT,    120,  1)
XLVS_STATE(3,     SYN_RECV,    60,   1)
XLVS_STATE(4,     FIN_WAIT,    120,  0)
XLVS_STATE(5,     TIME_WAIT,   120,  0)
XLVS_STATE(6,     CLOSE,       10,   0)
XLVS_STATE(7,     CLOSE_WAIT,  60,   0)
XLVS_STATE(8,     LAST_ACK,    30,   0)
XLVS_STATE(9,     LISTEN,      120,  0)
XLVS_STATE(10,    SYNACK,      120,  1)
XLVS_STATE(11,    UDP,         300,  0)
