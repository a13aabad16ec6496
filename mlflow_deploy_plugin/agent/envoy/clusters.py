"""Clusters and their hosts: two immutable clusters for each unit, REST and gRPC, and the pairs for fallback. Pure.

A shadow has clusters of its own, whose requests end after a time and are not more than so many: nobody waits for a
copy, and Envoy would keep those of a shadow that hangs for ever.

A pair lets a canary fall back to stable. The hosts of gRPC are the same workers at the port beside, and ready when the
worker says so at its first port.

Traps that are handled here (measured on Envoy 1.40): a host that leaves EDS keeps its traffic while it is healthy
unless ``ignore_health_on_host_removal`` is set; an idle cluster is checked every 60 s unless ``no_traffic_interval``
says otherwise; three retries at once is the default limit, and a killed worker needs more; a worker that starts lies
in EDS already, so the panic threshold must be 0 or it would be given traffic.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlflow_deploy_plugin.agent.envoy.bootstrap import config_source, typed
from mlflow_deploy_plugin.agent.units import deployment_of, is_grpc, shadow_limit_s

Json = dict[str, Any]

PAIR: Final = "|"
READY_PATH: Final = "/readyz"
_UNLIMITED: Final = 1_000_000
COPIES: Final = 512
"""Copies that a shadow may have under way; while it has them, no further ones are made."""
_PROTOCOL: Final = {False: "http_protocol_options", True: "http2_protocol_options"}
_HTTP: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One worker's address. A draining one finishes what it has and is given nothing new."""

    port: int
    socket: str = ""
    """Abstract Unix socket that is asked in the port's place; empty: none."""
    is_draining: bool = False
    asked_port: int | None = None
    """Where the worker is asked whether it is ready; ``None``: at ``port``."""


def fallback_pair(first: str, then: str) -> str:
    """Name of the cluster whose first attempt goes to ``first`` and whose second goes to ``then``.

    >>> fallback_pair("v2@1", "v1@0")
    'v2@1|v1@0'
    """
    return f"{first}{PAIR}{then}"


def members(cluster: str) -> tuple[str, ...]:
    """The units' clusters that ``cluster`` stands on: itself, or both of a pair."""
    return tuple(cluster.split(PAIR))


def cluster(name: str, *, eds: Path) -> Json:
    """The resource of the unit's cluster or the pair ``name``; a unit's hosts are read from ``eds/<name>.json``."""
    return _pair(name) if PAIR in name else _unit(name, endpoints_file(eds, name))


def endpoints_file(eds: Path, unit: str) -> Path:
    """Where the hosts of ``unit`` lie. One file each: Envoy wants one resource in it."""
    return eds / f"{unit}.json"


def endpoints(unit: str, hosts: Iterable[Host]) -> Json:
    """The hosts of a unit's cluster."""
    return typed(
        "config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=unit,
        endpoints=[{"lb_endpoints": [_host(unit, host) for host in sorted(hosts, key=lambda host: host.port)]}],
    )


def _host(unit: str, host: Host) -> Json:
    asked = {} if host.asked_port is None else {"health_check_config": {"port_value": host.asked_port}}
    port = {"socket_address": {"address": "127.0.0.1", "port_value": host.port}}
    address = {"pipe": {"path": f"@{host.socket}"}} if host.socket else port
    return {
        # The host's name is what the log knows the deployment by.
        "endpoint": {"address": address, "hostname": deployment_of(unit), **asked},
        "health_status": "DRAINING" if host.is_draining else "UNKNOWN",
    }


def _unit(name: str, hosts_file: Path) -> Json:
    limit_s = shadow_limit_s(name)
    lasting = {} if limit_s is None else {"max_stream_duration": f"{limit_s}s"}
    return typed(
        "config.cluster.v3.Cluster",
        name=name,
        type="EDS",
        eds_cluster_config={"eds_config": config_source(hosts_file)},
        connect_timeout="2s",
        lb_policy="LEAST_REQUEST",
        ignore_health_on_host_removal=True,
        common_lb_config={"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        health_checks=[_health_check()],
        circuit_breakers={"thresholds": [_limits() if limit_s is None else _limits(COPIES)]},
        typed_extension_protocol_options={
            _HTTP: typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                explicit_http_config={_PROTOCOL[is_grpc(name)]: {}},
                # Below the hour after which the launcher closes one: whoever closes first loses no request.
                common_http_protocol_options={"idle_timeout": "60s", **lasting},
            )
        },
    )


def _health_check() -> Json:
    """Lenient once ready, since a busy worker answers late and the agent sees a dead one itself; eager until then."""
    return {
        "timeout": "5s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_interval": "0.1s",
        "no_traffic_healthy_interval": "1s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {"path": READY_PATH},
    }


def _limits(requests: int = _UNLIMITED) -> Json:
    """None but for copies: a Bento answers 429 by its own queue, and retries are limited to one for each request.

    Over HTTP/1 as many requests wait for a connection as have one, so each may be half.
    """
    return {
        "max_connections": requests // 2,
        "max_pending_requests": requests // 2,
        "max_requests": requests,
        "max_retries": _UNLIMITED,
    }


def _pair(name: str) -> Json:
    return typed(
        "config.cluster.v3.Cluster",
        name=name,
        connect_timeout="2s",
        lb_policy="CLUSTER_PROVIDED",
        circuit_breakers={"thresholds": [_limits()]},
        cluster_type={
            "name": "envoy.clusters.composite",
            "typed_config": typed(
                "extensions.clusters.composite.v3.ClusterConfig",
                clusters=[{"name": member} for member in members(name)],
            ),
        },
    )
