"""The command lines: ``xlvsadm`` in ipvsadm's words and ``xlvs`` in ours.

They parse, ask the daemon over its socket and print; nothing is decided here.
"""
