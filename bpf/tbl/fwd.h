/* The forwarding methods, by the name that operators write. */
XLVS_FWD(0, nat)
XLVS_FWD(1, route)
XLVS_FWD(2, ipip)
XLVS_FWD(3, gue)
XLVS_FWD(4, gre)
