"""What the kernel is asked by trying."""

from xlvs.dataplane import probe


def test_this_kernel_is_found_able():
    """The probes load their programs and come to an answer, whichever it is."""
    probe.require_bpf()
    assert isinstance(probe.has_tcx(), bool)
    assert isinstance(probe.has_csum_ipv6(), bool)
