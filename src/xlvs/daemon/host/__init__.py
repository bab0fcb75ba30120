"""The host around the director: its interfaces, addresses, routes, namespaces and sysctls.

Knows nothing about maps or clients, but for the values of `xlvs.model`.
"""
