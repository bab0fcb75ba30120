"""ipvsadm 1.31 as values and text: its options, its checks, its messages, its tables.

Everything here is import-light on purpose: scripts call ``xlvsadm`` hundreds of times.
"""
