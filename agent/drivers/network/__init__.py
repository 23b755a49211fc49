"""The network driver: one namespace per VPC as its router, routed taps, nftables filter, DHCP, uplink.

`driver.NetworkDriver` is the whole of it to the outside. Inside:

    netns.py                 namespaces, and a thread that lives in one
    nfnl.py                  netlink attributes, atomic nftables batches
    expressions.py           what rules are made of
    ruleset.py               tables, chains, sets as values; the messages that lead from one to another
    filter.py                FilterSpec -> ruleset: pure
    router.py, tap.py        what is in a VPC's namespace; how a tap is made
    uplink.py                the way out, and the host's own table about it
    dhcp.py, responder.py    the DHCP protocol: pure; and the thread that speaks it
"""
