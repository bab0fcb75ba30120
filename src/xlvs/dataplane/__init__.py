"""The kernel border: compiled programs, their maps and their hooks, by bpf(2) alone.

Needs root and nothing installed.  Decides nothing about load balancing; its
callers say what to write where.  Network order ends here: ports read as host
numbers, addresses are the 16 bytes of `xlvs.model.Address`.

    bpffs.mount(directory)                                       # a bpffs of our own, for the pins
    loader = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"], sizes={"flows": 1 << 20})
    loaded = loader.load(directory)                              # creates, or adopts what is pinned there
    services = loaded.maps["services"]                           # Map; PerCpuMap and TableMap for those kinds
    services.put((vip, 80, 6, 0), record)             # tuple, record or bytes: whatever numpy takes
    keys, values = services.items()                              # two numpy arrays; keys["port"] is 80
    loaded.maps["servers"].write(first, records)                 # a range of an array, one system call
    conns = loaded.maps["server_stats"].totals()["conns"]        # summed over the CPUs
    loaded.maps["tables"].put_tables([2 * number + half], [np.array(places, "u4")])
    link = links.attach(links.Hook.XDP, ifindex, loaded.programs["xlvs_xdp"].fd, directory / "links" / "eth0-xdp")
"""

from xlvs.dataplane.hints import hint_bits
from xlvs.dataplane.loader import OBJECTS, Loaded, Loader, Program
from xlvs.dataplane.maps import Map, PerCpuMap, TableMap
from xlvs.dataplane.syscalls import LoadError

__all__ = [
    "OBJECTS",
    "LoadError",
    "Loaded",
    "Loader",
    "Map",
    "PerCpuMap",
    "Program",
    "TableMap",
    "hint_bits",
]
