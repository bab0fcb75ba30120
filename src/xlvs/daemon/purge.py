"""Removing every trace of an instance: hooks, pins, devices, virtual addresses, sysctls, files; needs no daemon."""

from __future__ import annotations

import contextlib
import shutil

from xlvs.daemon.host import netns, sysctls, vips
from xlvs.daemon.host.devices import marks, segmenter
from xlvs.daemon.host.netlink import Netlink
from xlvs.daemon.lock import Lock
from xlvs.daemon.paths import Paths
from xlvs.dataplane import bpffs, links, probe
from xlvs.dataplane.bpffs import pin_name


def purge(paths: Paths) -> None:
    """Remove everything but the lock; the caller holds it.  May leave this thread in the namespace of the instance."""
    # Whatever an earlier purge that was cut short has left, the lock still says where.
    inode = Lock.kept_netns(paths)
    is_there = inode != 0 and netns.enter_by_identity(inode)
    if bpffs.is_mounted(paths.bpffs):
        if is_there and not probe.has_tcx():
            _remove_filters(paths)
        bpffs.purge(paths.bpffs)
    elif paths.bpffs.is_dir():
        paths.bpffs.rmdir()
    segmenter.remove(paths.name)
    marks.remove(paths.name)
    vips.take_back(paths.vips)
    sysctls.restore(paths.sysctls)
    shutil.rmtree(paths.state_dir, ignore_errors=True)
    paths.socket.unlink(missing_ok=True)


def purge_alone(paths: Paths) -> None:
    """Remove every trace of an instance that has no daemon; raises `HostError` if it has one."""
    with Lock(paths):
        purge(paths)
        paths.lock.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # other instances may be in there
        paths.run.rmdir()


def _remove_filters(paths: Paths) -> None:
    """Take off TC filters, which, unlike links, outlive their pins."""
    netlink = Netlink()
    for link in netlink.links().values():
        hook = links.Hook.EGRESS if link.loopback else links.Hook.INGRESS
        links.detach(hook, link.index, paths.links / f"{pin_name(link.name)}-tc")
        if not link.loopback:
            links.detach(links.Hook.EGRESS, link.index, paths.links / f"{pin_name(link.name)}-out")
    netlink.close()
