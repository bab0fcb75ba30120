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
