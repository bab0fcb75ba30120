"""Devices of our own: pairs of veth, and what goes through them."""
