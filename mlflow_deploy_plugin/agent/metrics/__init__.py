"""What Prometheus can learn from the agent, and where it finds the rest: the Bentos and the gateway.

- :mod:`.families` names every series, :mod:`.collecting` fills them from one :class:`~.collecting.Snapshot`, pure;
- :mod:`.decisions` reads from commits what was decided last on each endpoint, pure;
- :mod:`.discovery` lists the addresses to scrape, in the form of Prometheus' HTTP service discovery, pure;
- :mod:`.evidence` is the door to what the drift and label jobs leave in the home, so that it is computed once;
- :mod:`.exporter` answers on one loopback address.

Nothing here decides or changes anything: an agent whose exporter fails serves as before.
"""
