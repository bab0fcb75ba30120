"""Want and have in, ordered writes out.

Pure: no map, clock or socket.  `writes` are the words, `layout` is what is in
the maps, `planner` decides.  The daemon makes the writes, notes each one in
the layout, and so never has to ask the kernel what it did.
"""
