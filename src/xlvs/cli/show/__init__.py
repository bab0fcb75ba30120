"""``xlvs get`` and ``xlvs describe``: what the director does, for people and for scripts.  Asks, never changes."""
