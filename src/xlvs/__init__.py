"""xlvs: the Linux Virtual Server on an eBPF data plane with a Python control plane."""

__version__ = "0.2.0"
