"""The rim: asyncio, sockets, netlink, files, the clock.  Thin; decisions are made in `xlvs.plan` and `xlvs.model`."""
