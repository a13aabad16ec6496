"""Envoy's files: one folder for each type of resource, each file replaced by one rename, with a version to prove it.

Traps that are handled here (measured on Envoy 1.40): a file written in place is not seen; any rename within a watched
folder reads all its subscriptions anew, so each type has its own; a file must exist before Envoy subscribes to it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mlflow_deploy_plugin.agent.atomic import replace_text
from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway, bootstrap, listener
from mlflow_deploy_plugin.agent.envoy.clusters import PAIR, Host, cluster, endpoints, endpoints_file
from mlflow_deploy_plugin.agent.envoy.routes import Served, route_configuration

Json = dict[str, Any]

KINDS: Final = ("lds", "rds", "cds", "eds")
NO_COMMIT: Final = "none"
SEPARATOR: Final = "+"


@dataclass(slots=True, kw_only=True)
class EnvoyFiles:
    """What Envoy reads."""

    gateway: Gateway
    _texts: dict[Path, str] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)
    _clusters: frozenset[str] = frozenset()

    @property
    def bootstrap(self) -> Path:
        """Envoy's ``--config-path``."""
        return self.gateway.folder / "bootstrap.json"

    @property
    def clusters(self) -> frozenset[str]:
        """Names that CDS says now."""
        return self._clusters

    def version(self, kind: str) -> str:
        """``version_info`` of the newest file of ``kind``."""
        return self._versions.get(kind, "")

    def prepare(self) -> None:
        """Make the folders; write bootstrap and listener anew; keep routes and clusters of an earlier agent."""
        for kind in KINDS:
            (self.gateway.folder / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._replace(self.bootstrap, json.dumps(bootstrap(self.gateway), indent=1))
        self._publish("lds", [listener(self.gateway)], label="listener")
        for kind in ("rds", "cds"):
            if self.gateway.file(kind).exists():
                self._read(kind)
        if not self.version("cds"):
            self.publish_clusters(())
        if not self.version("rds"):
            self.publish_routes({}, commit=NO_COMMIT)

    def publish_routes(self, served: Mapping[str, Served], *, commit: str) -> str:
        """Let RDS say ``served``; the version, which begins with ``commit``, proves it once Envoy says it."""
        return self._publish("rds", [route_configuration(served)], label=commit)

    def publish_clusters(self, names: Iterable[str]) -> None:
        """Let CDS say exactly ``names``; remove the files of hosts that no cluster reads any more."""
        self._clusters = frozenset(names)
        eds = self.gateway.folder / "eds"
        # Pairs last: Envoy looks their members up when a request comes, but a reader expects them defined before.
        ordered = sorted(self._clusters, key=lambda name: (PAIR in name, name))
        self._publish("cds", [cluster(name, eds=eds) for name in ordered], label="clusters")

    def publish_hosts(self, name: str, hosts: Iterable[Host]) -> None:
        """Let EDS of a unit's cluster ``name`` say ``hosts``."""
        path = endpoints_file(self.gateway.folder / "eds", name)
        self._replace(path, _response([endpoints(name, hosts)], version=name))

    def sweep(self, *, keep: AbstractSet[str]) -> None:
        """Remove the host files of units that are not in ``keep``."""
        for path in [path for path in self._texts if path.parent.name == "eds" and path.stem not in keep]:
            path.unlink(missing_ok=True)
            del self._texts[path]

    def repeat_listener(self) -> None:
        """Have Envoy read the listener once more."""
        path = self.gateway.file("lds")
        replace_text(path, self._texts[path])

    def _publish(self, kind: str, resources: list[Json], *, label: str) -> str:
        digest = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:12]
        version = f"{label}{SEPARATOR}{digest}"
        if self._versions.get(kind) != version:
            self._replace(self.gateway.file(kind), _response(resources, version=version))
            self._versions[kind] = version
        return version

    def _replace(self, path: Path, text: str) -> None:
        if self._texts.get(path) == text:
            return
        replace_text(path, text)
        self._texts[path] = text

    def _read(self, kind: str) -> None:
        try:
            document = json.loads(self.gateway.file(kind).read_text(encoding="utf-8"))
            self._versions[kind] = document["version_info"]
            if kind == "cds":
                self._clusters = frozenset(one["name"] for one in document["resources"])
        except (ValueError, KeyError, TypeError):
            self._versions.pop(kind, None)  # not ours or torn: written anew


def _response(resources: list[Json], *, version: str) -> str:
    """A ``DiscoveryResponse``."""
    return json.dumps({"version_info": version, "resources": resources}, indent=1)
