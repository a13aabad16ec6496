"""What Envoy is told, as values: names, order, and the rules that were learned the hard way."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.agent.envoy.bootstrap import Gateway, bootstrap, listener
from mlflow_deploy_plugin.agent.envoy.clusters import COPIES, Host, cluster, endpoints, fallback_pair, members
from mlflow_deploy_plugin.agent.envoy.routes import Served, clusters_of, route_configuration
from mlflow_deploy_plugin.agent.units import Unit, deployment_of, grpc_cluster, shadow_cluster, wanted_of
from mlflow_deploy_plugin.manifests.model import Backend, Deployment, Mirror

Make = Callable[..., Deployment]
MakeServed = Callable[..., Served]


@pytest.fixture
def split(make_deployment: Make, make_served: MakeServed) -> Served:
    stable = make_deployment("a", environment={"MODELSERVE_TIMEOUT_S": "100"})
    return make_served(stable, make_deployment("b"), b=250)


def hosts(served: Served) -> dict[str, Any]:
    name = served.endpoint.route.endpoint
    return {host["name"]: host for host in route_configuration({name: served})["virtual_hosts"]}


def test_an_endpoint_has_overrides_then_a_refusal_then_the_split_by_user_then_by_request(split: Served) -> None:
    routes = hosts(split)["*"]["routes"]
    headers = [route["match"].get("headers", [{}])[0] for route in routes[:5]]
    assert [header.get("name") for header in headers] == [
        "x-model-version",
        "x-model-version",
        "x-model-version",
        "x-user-id",
        None,
    ]
    assert [header["string_match"].get("exact") for header in headers[:3]] == ["a", "b", None]
    assert routes[2]["direct_response"]["status"] == 404


def test_where_the_header_is_not_heard_only_the_split_is_left(split: Served) -> None:
    route = replace(split.endpoint.route, hears_override=False)
    deaf = replace(split, endpoint=replace(split.endpoint, route=route))
    for heard, left in zip(hosts(split).values(), hosts(deaf).values(), strict=True):
        named = [one for one in heard["routes"] if "x-model-version" not in str(one["match"])]
        assert left["routes"] == named
        assert len(left["routes"]) < len(heard["routes"])


def test_the_split_keeps_slots_in_order_and_says_who_was_meant(split: Served) -> None:
    route = hosts(split)["*"]["routes"][3]["route"]
    arms = route["weighted_clusters"]["clusters"]
    assert [(arm["name"].split("@")[0], arm["weight"]) for arm in arms] == [("b", 250), ("a", 750)]
    assert [arm["response_headers_to_add"][0]["header"]["value"] for arm in arms] == ["b", "a"]
    assert route["weighted_clusters"]["use_hash_policy"]


def test_an_arm_that_is_not_stable_falls_back_to_stable_and_an_override_never_does(split: Served) -> None:
    routes = hosts(split)["*"]["routes"]
    a, b = (Unit.of(split.endpoint.deployments[name]).key for name in "ab")
    assert [arm["name"] for arm in routes[3]["route"]["weighted_clusters"]["clusters"]] == [fallback_pair(b, a), a]
    assert [route["route"]["cluster"] for route in routes[:2]] == [a, b]
    rest = {a, b, fallback_pair(b, a)}
    grpc = {grpc_cluster(a), grpc_cluster(b), fallback_pair(grpc_cluster(b), grpc_cluster(a))}
    assert clusters_of([split]) == rest | grpc
    assert clusters_of([without_grpc(split)]) == rest


def test_copies_go_to_a_cluster_of_their_own_that_ends_them_and_bounds_them(split: Served) -> None:
    alone = replace(
        split.endpoint.route,
        backends=(Backend(deployment="a", weight=1000),),
        mirror=Mirror(deployment="b", share=500),
    )
    shadowed = replace(split, endpoint=replace(split.endpoint, route=alone))
    name = shadow_cluster(Unit.of(split.endpoint.deployments["b"]).key, limit_s=65.0)
    (policy,) = hosts(shadowed)["*"]["routes"][3]["route"]["request_mirror_policies"]
    assert policy["cluster"] == name
    assert name in clusters_of([shadowed])
    copies = cluster(name, eds=Path("/e"))
    (options,) = copies["typed_extension_protocol_options"].values()
    assert options["common_http_protocol_options"]["max_stream_duration"] == "65s"
    assert copies["circuit_breakers"]["thresholds"][0]["max_requests"] == COPIES


def test_the_gateway_waits_longer_than_the_slowest_deployment(split: Served) -> None:
    routes = hosts(split)["*"]["routes"]
    waits = [route["route"]["retry_policy"]["per_try_timeout"] for route in (*routes[:2], routes[3])]
    assert waits == ["105.000s", "65.000s", "105.000s"]


def test_a_timeout_that_does_not_read_is_left_to_the_worker_to_refuse(make_deployment: Make) -> None:
    assert Unit.of(make_deployment("a", environment={"MODELSERVE_TIMEOUT_S": "soon"})).timeout_s == 60.0


@pytest.mark.parametrize(
    ("path", "is_meant"),
    [
        ("/endpoints/churn", True),
        ("/endpoints/churn/invocations", True),
        ("/v2/models/churn/versions/1/infer", True),
        ("/v1/models/churn:classify", True),
        ("/v1/models/churn/metadata", True),
        ("/explanations/churn", True),
        ("/endpoints/churn-v2", False),
        ("/v1/models/churn:delete", False),
        ("/v2/models/churn:predict", False),
        ("/x/endpoints/churn", False),
    ],
)
def test_addresses(split: Served, path: str, is_meant: bool) -> None:  # noqa: FBT001
    pattern = hosts(split)["*"]["routes"][0]["match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(pattern, path)) is is_meant


def test_a_host_name_takes_every_path(split: Served) -> None:
    host = hosts(split)["churn"]
    assert host["domains"] == ["churn.localhost"]
    grpc, rest = host["routes"][:5], host["routes"][5:]
    assert {route["match"]["prefix"] for route in rest} == {"/"}
    assert [route["match"].get("headers", []) for route in grpc] == [
        route["match"].get("headers", []) for route in rest
    ]
    assert all("grpc" in route["match"] for route in grpc)


def test_grpc_takes_the_same_ways_by_metadata(split: Served) -> None:
    rest, grpc = (hosts(split)["*"]["routes"][start : start + 5] for start in (0, 5))
    for plain, other in zip(rest, grpc, strict=True):
        endpoint, *headers = other["match"]["headers"]
        assert endpoint == {"name": "x-endpoint", "string_match": {"exact": "churn"}}
        assert headers == plain["match"].get("headers", [])
        assert other.get("metadata") == plain.get("metadata")
    weights = [
        [(arm["name"].split("@")[0], arm["weight"]) for arm in routes[3]["route"]["weighted_clusters"]["clusters"]]
        for routes in (rest, grpc)
    ]
    assert weights[0] == weights[1]
    assert grpc[2]["response_headers_to_add"][0]["header"] == {"key": "grpc-status", "value": "5"}


def test_grpc_s_health_and_server_calls_are_answered_by_an_endpoint_that_has_grpc(
    split: Served, make_deployment: Make, make_served: MakeServed
) -> None:
    without = replace(without_grpc(split), commit="other")
    price = make_served(make_deployment("price", endpoint="price"))
    routes = route_configuration({"churn": without, "price": price})["virtual_hosts"][-1]["routes"]
    (found,) = [route for route in routes if "Health" in route["match"].get("safe_regex", {}).get("regex", "")][-1:]
    assert found["route"]["cluster"] == grpc_cluster(Unit.of(price.endpoint.deployments["price"]).key)
    assert found["match"]["headers"] == [{"name": "x-endpoint", "present_match": False}]
    pattern = found["match"]["safe_regex"]["regex"]
    paths = ("/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/ServerLive")
    assert all(re.fullmatch(pattern, path) for path in paths)
    assert not re.fullmatch(pattern, "/inference.GRPCInferenceService/ModelInfer")


@pytest.mark.parametrize(
    ("path", "is_meant"),
    [
        ("/inference.GRPCInferenceService/ModelInfer", True),
        ("/tensorflow.serving.PredictionService/Predict", True),
        ("/inference.GRPCInferenceService", False),
        ("/inferenceXGRPCInferenceService/ModelInfer", False),
        ("/other.Service/ModelInfer", False),
    ],
)
def test_addresses_of_grpc(split: Served, path: str, is_meant: bool) -> None:  # noqa: FBT001
    pattern = hosts(split)["*"]["routes"][5]["match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(pattern, path)) is is_meant


def without_grpc(served: Served) -> Served:
    route = replace(served.endpoint.route, has_grpc=False)
    return replace(served, endpoint=replace(served.endpoint, route=route))


def test_a_tree_of_before_has_no_route_of_grpc(split: Served) -> None:
    routes = hosts(without_grpc(split))["*"]["routes"]
    assert ["grpc" in route["match"] for route in routes] == [False] * 8 + [True, False]
    assert routes[-2]["direct_response"]["status"] == 404


def test_a_cluster_is_the_same_as_long_as_the_unit_is(make_deployment: Make) -> None:
    assert Unit.of(make_deployment("a", replicas=3, workers=2)).key == Unit.of(make_deployment("a")).key
    changed = [
        make_deployment("a", digest="other"),
        make_deployment("a", environment={"MODELSERVE_LOG": "off"}),
        make_deployment("a", endpoint="other"),
    ]
    keys = {Unit.of(one).key for one in (make_deployment("a"), *changed)}
    assert len(keys) == 4
    assert {deployment_of(key) for key in keys} == {"a"}


def test_a_unit_that_two_states_want_runs_as_often_as_the_hungrier_says(
    make_deployment: Make, make_served: MakeServed
) -> None:
    two = make_served(make_deployment("a", replicas=2)).endpoint
    six = make_served(make_deployment("a", replicas=3, workers=2)).endpoint
    assert [one.processes for one in wanted_of([two, six]).values()] == [6]
    assert [one.processes for one in wanted_of([six, two]).values()] == [6]


def test_a_unit_s_cluster_reads_its_own_hosts_and_a_pair_names_its_members() -> None:
    one = cluster("a@1", eds=Path("/e"))
    assert one["eds_cluster_config"]["eds_config"]["path_config_source"]["path"] == "/e/a@1.json"
    assert one["ignore_health_on_host_removal"]
    assert one["common_lb_config"] == {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"}
    protocols = {
        name: next(iter(cluster(name, eds=Path("/e"))["typed_extension_protocol_options"].values()))[
            "explicit_http_config"
        ]
        for name in ("a@1", "a@1+grpc")
    }
    assert protocols == {"a@1": {"http_protocol_options": {}}, "a@1+grpc": {"http2_protocol_options": {}}}
    pair = cluster("b@2|a@1", eds=Path("/e"))
    assert pair["cluster_type"]["typed_config"]["clusters"] == [{"name": "b@2"}, {"name": "a@1"}]
    assert members("a@1") == ("a@1",)


def test_a_draining_host_is_given_nothing_new_and_tells_whose_it_is() -> None:
    told = endpoints("a@1", [Host(port=2, is_draining=True), Host(port=1)])["endpoints"][0]["lb_endpoints"]
    assert [(host["endpoint"]["address"]["socket_address"]["port_value"], host["health_status"]) for host in told] == [
        (1, "UNKNOWN"),
        (2, "DRAINING"),
    ]
    assert told[0]["endpoint"]["hostname"] == "a"


def test_a_worker_with_a_socket_is_reached_by_it() -> None:
    (told,) = endpoints("a@1", [Host(port=18000, socket="modelserve-18000")])["endpoints"][0]["lb_endpoints"]
    assert told["endpoint"]["address"] == {"pipe": {"path": "@modelserve-18000"}}


def test_a_host_of_grpc_is_asked_at_the_worker_s_own_port() -> None:
    (told,) = endpoints("a@1+grpc", [Host(port=2, asked_port=1)])["endpoints"][0]["lb_endpoints"]
    assert told["endpoint"]["health_check_config"] == {"port_value": 1}
    assert told["endpoint"]["hostname"] == "a"


def test_the_listener_shares_its_port_with_nobody_and_the_admin_address_is_a_file() -> None:
    gateway = Gateway(host="127.0.0.1", port=8080, stage="s", folder=Path("/e"), attempts_log=Path("/e/raw/a.log"))
    assert listener(gateway)["enable_reuse_port"] is False
    assert listener(gateway)["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8080}
    assert bootstrap(gateway)["admin"]["address"]["pipe"]["mode"] == 0o600
