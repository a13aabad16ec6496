"""One machine, production behaviour: brings the newest commit to life as Bento processes behind Envoy.

Level-triggered. Twenty times a second: look (repository, processes, Envoy), :func:`~.plan.plan` what would make the
difference smaller, do it, say so in ``status.json``. No step waits for another, so an agent that is killed anywhere
and started again goes on where the world stands. Envoy and the workers are sessions of their own and outlive it.

- :mod:`.units`, :mod:`.plan`, :mod:`.envoy.routes`, :mod:`.envoy.clusters`, :mod:`.envoy.bootstrap` decide, and are
  pure; :mod:`.processes` and :mod:`.envoy.admin` are the doors to processes and to Envoy.
- A commit is applied endpoint by endpoint: each moves whole or not at all. One that never becomes ready is refused and
  keeps its last good state, while the other endpoints of the same commit move.
- Does not package, does not write to the repository, and imports neither mlflow nor bentoml.
"""
