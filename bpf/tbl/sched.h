/*
 * The schedulers, by the name that operators write.  A row needs
 * sched/NAME.h here and src/xlvs/sched/NAME.py.
 */
XLVS_SCHED(0, rr)
XLVS_SCHED(1, wrr)
XLVS_SCHED(2, lc)
XLVS_SCHED(3, wlc)
XLVS_SCHED(4, sh)
XLVS_SCHED(5, mh)
XLVS_SCHED(6, dh)
XLVS_SCHED(7, fo)
XLVS_SCHED(8, lblc)
XLVS_SCHED(9, lblcr)
XLVS_SCHED(10, nq)
XLVS_SCHED(11, ovf)
XLVS_SCHED(12, sed)
XLVS_SCHED(13, twos)
