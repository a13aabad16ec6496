"""What Envoy starts with, and its one listener. Pure: builds dictionaries, reads and writes nothing.

Traps that are handled here (measured on Envoy 1.40): two Envoys share a port silently unless ``enable_reuse_port`` is
off; loopback clients count as internal and may steer retries and keep a request id of their own, unless no address is
internal; a client that sends its own request id could choose its version where it has no user id.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlflow_deploy_plugin.agent.access_log import unreached_log, upstream_log
from mlflow_deploy_plugin.spec.headers import REQUEST_ID

Json = dict[str, Any]

ROUTES: Final = "gateway"
"""Name of the route configuration, and prefix of the connection manager's statistics."""
ADMIN_SOCKET: Final = "admin.sock"
CLIENT_REQUEST_ID: Final = "x-client-request-id"
"""Where the Bento and the logs behind it find the request id that the client chose, if it chose one."""

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a request's body that are kept for the second attempt; a longer one passes through and has one attempt."""

_REGEX_LIMIT: Final = {"re2.max_program_size.error_level": 2000, "re2.max_program_size.warn_level": 2000}

_NOBODY: Final = {"address_prefix": "255.255.255.255", "prefix_len": 32}
"""An empty list would mean the default, by which loopback is internal and its ``x-envoy-*`` headers steer retries."""

_UNREACHED_FLAGS: Final = ["UH", "UF", "UC", "UR", "UT", "URX", "UO", "NC", "SI", "LR"]
"""Response flags of the gateway's own answers in place of a Bento's."""

_TYPE: Final = "type.googleapis.com/envoy."


def typed(kind: str, **fields: Any) -> Json:  # noqa: ANN401  any protobuf field
    """A protobuf ``Any`` of Envoy's message ``kind``."""
    return {"@type": _TYPE + kind, **fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What differs between two gateways."""

    host: str
    port: int
    stage: str
    folder: Path
    """Holds one folder for each type of resource."""
    attempts_log: Path

    def file(self, kind: str) -> Path:
        """Where the resources of ``kind`` (``lds``, ``rds``, ``cds``) lie.

        >>> Gateway(host="", port=1, stage="s", folder=Path("/e"), attempts_log=Path("/a")).file("rds")
        PosixPath('/e/rds/rds.json')
        """
        return self.folder / kind / f"{kind}.json"


def config_source(path: Path) -> Json:
    """A file that is read anew when another one is renamed onto it."""
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def bootstrap(gateway: Gateway) -> Json:
    """The static part: the admin socket, and where listeners and clusters are read from."""
    return {
        "node": {"id": "modelserve", "cluster": gateway.stage},
        # A relative path: the limit of 108 bytes for a socket's name would forbid deep homes.
        "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": config_source(gateway.file("lds")),
            "cds_config": config_source(gateway.file("cds")),
        },
        "stats_config": {"stats_tags": [_model_version_tag()]},
        # Envoy refuses a regular expression above 100 instructions; an address with a name of 50 letters has more.
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _REGEX_LIMIT}]},
    }


def listener(gateway: Gateway) -> Json:
    """The one address of the gateway."""
    return typed(
        "config.listener.v3.Listener",
        name=f"gateway-{gateway.port}",
        address={"socket_address": {"address": gateway.host, "port_value": gateway.port}},
        enable_reuse_port=False,
        filter_chains=[
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(gateway),
                    }
                ]
            }
        ],
    )


def _connection_manager(gateway: Gateway) -> Json:
    return typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=ROUTES,
        codec_type="AUTO",
        rds={"config_source": config_source(gateway.file("rds")), "route_config_name": ROUTES},
        access_log=unreached_log(str(gateway.attempts_log)),
        use_remote_address=True,
        internal_address_config={"unix_sockets": False, "cidr_ranges": [_NOBODY]},
        generate_request_id=True,
        always_set_request_id_in_response=True,
        early_header_mutation_extensions=[_keep_request_id_of_client()],
        normalize_path=True,
        strip_any_host_port=True,
        server_header_transformation="PASS_THROUGH",
        local_reply_config={"mappers": [_own_errors_as_json()]},
        # The Bento's own limit answers 504; a stream may idle for long between two tokens.
        stream_idle_timeout="0s",
        request_headers_timeout="30s",  # a client that sends a byte now and then would hold its connection for ever
        common_http_protocol_options={"idle_timeout": "3600s"},
        http2_protocol_options={"max_concurrent_streams": 1024},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": _router(gateway)}],
    )


def _router(gateway: Gateway) -> Json:
    return typed(
        "extensions.filters.http.router.v3.Router",
        suppress_envoy_headers=True,
        upstream_log=upstream_log(str(gateway.attempts_log)),
    )


def _keep_request_id_of_client() -> Json:
    copy = {"key": CLIENT_REQUEST_ID, "value": f"%REQ({REQUEST_ID})%"}
    mutations = [
        {"remove": CLIENT_REQUEST_ID},
        {"append": {"header": copy, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD", "keep_empty_value": False}},
        {"remove": REQUEST_ID},
    ]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": typed(
            "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=mutations
        ),
    }


def _own_errors_as_json() -> Json:
    """Envoy's ``no healthy upstream`` and its like, in the form of every other error."""
    return {
        "filter": {"response_flag_filter": {"flags": _UNREACHED_FLAGS}},
        "body_format_override": {
            "json_format": {
                "error": "%LOCAL_REPLY_BODY%",
                "request_id": f"%REQ({REQUEST_ID})%",
                "deployment": "%METADATA(ROUTE:modelserve:override)%",
                "endpoint": "%METADATA(ROUTE:modelserve:endpoint)%",
            }
        },
    }


def _model_version_tag() -> Json:
    """Label ``model_version`` (the deployment) on the statistics of a unit's cluster."""
    return {"tag_name": "model_version", "regex": r"^cluster\.(([a-z0-9-]+)@[0-9a-f]+(?:\+grpc)?)\."}
