"""The demonstration: a client, a director and three real servers in network namespaces, and real traffic between them.

`topology` builds the network, `servers` runs what answers, `director` runs
xlvs itself, `traffic` asks, `report` prints.  The netns tests stand on the
same modules, so that what is shown is what is tested.
"""
