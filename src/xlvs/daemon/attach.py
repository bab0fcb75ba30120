"""The programs on the interfaces, and the map that tells them about interfaces.

`Attachments.sync` may be called at any time and makes what `choose` says so.
Links stay when the daemon goes; the next one swaps its programs into them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlvs.daemon.host.interfaces import Choice, Wish, can_redirect_to, choose, hands_partial_checksums
from xlvs.daemon.host.netlink import Link, Netlink
from xlvs.daemon.kernel import Kernel
from xlvs.daemon.log import log
from xlvs.dataplane import _abi as abi
from xlvs.dataplane import links as hooks
from xlvs.dataplane import syscalls
from xlvs.dataplane.bpffs import pin_name
from xlvs.dataplane.links import Hook

_SUFFIX = {Hook.XDP: "-xdp", Hook.INGRESS: "-tc", Hook.EGRESS: "-out"}


class Attachments:
    """*directory* holds the pinned links, *programs* the descriptors of the programs by name.

    *wish* is what the operator said; it may be replaced before a `sync`.  *marker* is the name that the device has,
    or will have, by which packets with a firewall mark leave.  While *answers* is set, which a `sync` looks at, what
    the director itself sends as a real server behind nat passes a program on its way out.
    """

    def __init__(
        self,
        directory: Path,
        programs: Mapping[str, int],
        kernel: Kernel,
        netlink: Netlink,
        wish: Wish,
        marker: str = "",
    ) -> None:
        self._directory = directory
        self._programs = programs
        self._kernel = kernel
        self._netlink = netlink
        self.wish = wish
        self.marker = marker
        self.answers = False
        self._links: dict[int, Link] = {}
        self._wanted: dict[int, Choice] = {}
        self._choices: dict[int, Choice] = {}
        self._attached: dict[tuple[int, Hook], Path] = {}

    def start(self) -> None:
        """Take over the links of an earlier daemon, swap our programs in, attach what is missing, drop the rest."""
        self._links = self._netlink.links()
        self._adopt()
        self._kernel_forget()
        for link in self._links.values():
            if link.loopback:
                self._attach(link, Hook.EGRESS, "xlvs_lo")
            elif link.name == self.marker:
                self._attach(link, Hook.EGRESS, "xlvs_mark")
        self._links = {}
        self.sync()
        for (ifindex, hook), pin in list(self._attached.items()):
            if not self._keeps(ifindex, hook):
                self._detach(ifindex, hook, pin)

    def sync(self) -> None:
        """Bring hooks and map in line with the interfaces there are now."""
        links = self._netlink.links()
        wanted = choose(links, self.wish)
        for index in self._links.keys() - links.keys():
            self._gone(index)
        for index, link in links.items():
            if self._links.get(index) != link:
                self._describe(link)
                self._rename(link)
            if link.name == self.marker:
                self._mark(link)
            elif not link.loopback and (self._wanted.get(index) != wanted[index] or self._links.get(index) is None):
                self._take(link, wanted[index])
            self._look_at_answers(link)
        self._links, self._wanted = links, wanted

    def rows(self) -> list[dict[str, Any]]:
        """Return every interface with its hook and why, as clients are told."""
        return [
            {
                "name": link.name,
                "ifindex": index,
                "hook": {"xdp": "xdp+tc"}.get(self._choices[index].hook, self._choices[index].hook),
                "why": self._choices[index].why,
            }
            for index, link in sorted(self._links.items())
            if index in self._choices
        ]

    def names(self) -> list[str]:
        """Return the names of the interfaces with a hook."""
        return [self._links[i].name for i, choice in self._choices.items() if choice.hook != "none"]

    def detach_all(self) -> None:
        """Take every program off."""
        for (ifindex, hook), pin in list(self._attached.items()):
            self._detach(ifindex, hook, pin)

    def _take(self, link: Link, choice: Choice) -> None:
        """Give one interface its hook; what XDP refuses becomes TC."""
        try:
            if choice.hook == "xdp":
                choice = self._take_xdp(link, choice)
            if choice.hook in ("xdp", "tc"):
                self._attach(link, Hook.INGRESS, "xlvs_in")
        except OSError as err:  # it went, or is of a kind without this hook
            choice = Choice("none", f"the kernel refuses: {err.strerror}")
        self._choices[link.index] = choice
        for hook in (Hook.XDP, Hook.INGRESS):
            pin = self._attached.get((link.index, hook))
            if pin and not self._keeps(link.index, hook):
                self._detach(link.index, hook, pin)
        log("interface", name=link.name, hook=choice.hook, why=choice.why)

    def _look_at_answers(self, link: Link) -> None:
        """Have the program there that sees what the host answers, or not."""
        if link.loopback or link.name == self.marker:
            return
        pin = self._attached.get((link.index, Hook.EGRESS))
        wanted = self.answers and self._has_hook(link.index)
        try:
            if wanted and not pin:
                self._attach(link, Hook.EGRESS, "xlvs_out")
            elif pin and not wanted:
                self._detach(link.index, Hook.EGRESS, pin)
        except OSError as err:
            log("failed", why=f"what the host answers as a real server cannot be seen on {link.name}: {err.strerror}")

    def _has_hook(self, ifindex: int) -> bool:
        choice = self._choices.get(ifindex)
        return choice is not None and choice.hook != "none"

    def _mark(self, link: Link) -> None:
        """Put the program on the marker."""
        if (link.index, Hook.EGRESS) not in self._attached:
            self._attach(link, Hook.EGRESS, "xlvs_mark")
            log("interface", name=link.name, hook="egress", why="packets with a firewall mark leave by it")

    def _take_xdp(self, link: Link, choice: Choice) -> Choice:
        try:
            self._attach(link, Hook.XDP, "xlvs_xdp")
        except hooks.HookBusyError:
            return Choice("tc", f"{choice.why}, but another XDP program is on it, so TC is used")
        except (hooks.XdpRefusedError, OSError) as err:
            return Choice("tc", f"{choice.why}, but {err}, so TC is used")
        return choice

    def _keeps(self, ifindex: int, hook: Hook) -> bool:
        if hook is Hook.EGRESS:
            link = self._links[ifindex]
            return link.loopback or link.name == self.marker or (self.answers and self._has_hook(ifindex))
        choice = self._choices.get(ifindex)
        return choice is not None and (choice.hook == "xdp" or (choice.hook == "tc" and hook is Hook.INGRESS))

    def _attach(self, link: Link, hook: Hook, program: str) -> None:
        pin = self._pin(link, hook)
        hooks.attach(hook, link.index, self._programs[program], pin)
        self._attached[link.index, hook] = pin

    def _detach(self, ifindex: int, hook: Hook, pin: Path) -> None:
        with contextlib.suppress(OSError):
            hooks.detach(hook, ifindex, pin)
        del self._attached[ifindex, hook]

    def _gone(self, index: int) -> None:
        self._kernel.drop_interface(index)
        self._choices.pop(index, None)
        for hook in Hook:
            if pin := self._attached.get((index, hook)):
                self._detach(index, hook, pin)
        log("interface gone", name=self._links[index].name)

    def _describe(self, link: Link) -> None:
        """Tell the programs an interface's address and what XDP may do there."""
        if link.loopback:
            return
        flags = abi.IF_XMIT if can_redirect_to(link) else 0
        flags |= abi.IF_HEAL if hands_partial_checksums(link) else 0
        self._kernel.put_interface(link.index, link.mac, flags)

    def _kernel_forget(self) -> None:
        for index in self._kernel.interfaces() - self._links.keys():
            self._kernel.drop_interface(index)

    def _pin(self, link: Link, hook: Hook) -> Path:
        leaves = link.loopback or link.name == self.marker
        return self._directory / (pin_name(link.name) + ("-tc" if leaves else _SUFFIX[hook]))

    def _rename(self, link: Link) -> None:
        """Let an interface's pins carry its present name."""
        for hook in Hook:
            pin, now = self._attached.get((link.index, hook)), self._pin(link, hook)
            if pin and pin != now and pin.exists():  # a clsact filter has no pin
                if now.exists():  # the name's former owner is renamed as well, or gone
                    aside = self._directory / f"{link.index}{_SUFFIX[hook]}"
                    now.rename(aside)
                    self._attached = {key: aside if path == now else path for key, path in self._attached.items()}
                pin.rename(now)
                self._attached[link.index, hook] = now

    def _adopt(self) -> None:
        """Find out which interface each pinned link is on; unpin those whose interface is gone."""
        if not self._directory.is_dir():
            return
        for pin in sorted(self._directory.iterdir()):
            ifindex = _ifindex(pin)
            link = self._links.get(ifindex)
            if link is None:
                pin.unlink()
                continue
            leaves = link.loopback or link.name == self.marker or pin.name.endswith("-out")
            hook = Hook.XDP if pin.name.endswith("-xdp") else Hook.EGRESS if leaves else Hook.INGRESS
            self._attached[ifindex, hook] = pin
        for link in self._links.values():
            self._rename(link)


def live_links(directory: Path) -> bool:
    """Return whether a link pinned in *directory* is still on an interface, of whatever namespace."""
    return directory.is_dir() and any(_ifindex(pin) for pin in directory.iterdir())


def _ifindex(pin: Path) -> int:
    fd = syscalls.obj_get(pin)
    try:
        return syscalls.link_info(fd).ifindex
    finally:
        os.close(fd)
