"""Reading the tree: what is refused, and how the refusal reads."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ManifestError
from mlflow_deploy_plugin.manifests.model import Files, Hold, standing_hold
from mlflow_deploy_plugin.spec import annotations

FOLDER = "stages/production/churn"
ROUTE = f"{FOLDER}/route.yaml"
V4 = f"{FOLDER}/churn-v4.yaml"
LIST = f"{FOLDER}/kustomization.yaml"
STAGE = "stages/production/kustomization.yaml"


def replaced(files: Files, path: str, old: str, new: str) -> Files:
    assert old in files[path]
    return {**files, path: files[path].replace(old, new, 1)}


def refusal(files: Files) -> str:
    with pytest.raises(ManifestError) as caught:
        manifests.parse_stage(files, "production")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "old", "new", "says"),
    [
        (ROUTE, "weight: 100\n", "weight: 200\n", "sum to 1100, not 1000: churn-v4=200, churn=900"),
        (ROUTE, "          weight: 100\n", "", "(churn-v4) has no weight; state it"),
        (ROUTE, "weight: 100\n", "weight: 1e2\n", "not a whole decimal number"),
        (ROUTE, "weight: 100\n", "weight: 0144\n", "not a whole decimal number"),
        (ROUTE, "weight: 100\n", 'weight: "100"\n', "not a whole decimal number"),
        (ROUTE, "weight: 100\n", "weight: 10.0\n", "not a whole decimal number"),
        (ROUTE, "weight: 100\n", "weight: -100\n", "not within 0 to 1000"),
        (ROUTE, "weight: 100\n", "weight: 100\n          weight: 100\n", "'weight' stands twice"),
        (ROUTE, "weight: 100\n", "weight: [\n", "not YAML"),
        (ROUTE, "weight: 100\n", "weight: *w\n", "not YAML: found undefined alias"),
        (ROUTE, "kind: HTTPRoute", "kind: GRPCRoute", "must be 'HTTPRoute'"),
        (ROUTE, "  name: churn\n", "  name: other\n", "metadata.name is 'other', and must be 'churn'"),
        (ROUTE, "  name: churn\n", "  name: yes\n", "put it in quotes"),
        (ROUTE, "name: split", "name: mine", "has no rule named 'split', which holds the weights"),
        (ROUTE, "name: override-churn-v4", "name: redirect", "only 'split', 'split-…' and 'override-DEPLOYMENT'"),
        (ROUTE, "name: override-churn-v4", "name: override-churn", "second rule of the name 'override-churn'"),
        (ROUTE, "name: override-churn-v4", "name: override-x", "leads to churn-v4; an override leads to 'x' alone"),
        (ROUTE, "name: churn-v4\n          port", "name: x\n          port", "must set x-model-assigned to 'x'"),
        (ROUTE, "value: /endpoints/churn", "value: /endpoints/x", "does not hold the path prefix '/endpoints/churn'"),
        (ROUTE, f"{annotations.STABLE}: churn", f"{annotations.STABLE}: x", "stable 'x' of endpoint 'churn' is none"),
        (ROUTE, f"    {annotations.STABLE}: churn\n", "", f"has no '{annotations.STABLE}'"),
        (ROUTE, f"{annotations.SALT}: s1", f"{annotations.SALT}: 's 1'", "a salt has 1 to 64"),
        (ROUTE, f"{annotations.SALT}: s1", f"{annotations.SALT}: s1\n    {annotations.STEP}: 1", "put it in quotes"),
        (ROUTE, f"{annotations.SALT}: s1", f"{annotations.SALT}: s1\n    {annotations.SINCE}: 'now'", "not a time"),
        (ROUTE, f"{annotations.SALT}: s1", f"{annotations.SALT}: s1\n    {annotations.HOLD}: '[]'", "not the JSON"),
        (ROUTE, f"{annotations.SALT}: s1", f"{annotations.SALT}: s1\n    {annotations.OVERRIDE}: 'no'", "write 'on'"),
        (ROUTE, f"{annotations.SALT}: s1", f"{annotations.SALT}: s1\n    {annotations.OVERRIDE}: 'off'", "remove the"),
        (V4, "kind: Service", "kind: ConfigMap", "is of kind 'ConfigMap'"),
        (V4, "port: 8001", "port: 8002", "does not open port 8001, where the gRPC route of 'churn'"),
        (V4, "name: churn-v4", "name: churn-v5", "metadata.name is 'churn-v5', and must be 'churn-v4'"),
        (V4, "modelserve.io/endpoint: churn\n", "modelserve.io/endpoint: other\n", "must be 'churn' here"),
        (V4, "value: production", "value: staging", "sets MODELSERVE_STAGE to 'staging'"),
        (V4, 'value: "1"', "value: 1", "put it in quotes"),
        (V4, 'value: "1"', 'value: "0"', "not a number of processes"),
        (V4, "name: MODELSERVE_STAGE", "name: MODELSERVE_ENDPOINT", "sets MODELSERVE_ENDPOINT a second time"),
        (V4, "name: bento", "name: web", "no container named 'bento'"),
        (V4, "replicas: 1", "replicas: 0", "0 replicas"),
        (V4, "resources: {}", "resources: {limits: {nvidia.com/gpu: 1.5}}", "GPUs are given whole"),
        (V4, "      port: 80\n", "      port: 81\n", "does not open port 80"),
        (V4, "  selector:\n    modelserve.io/deployment: churn-v4", "  selector:\n    modelserve.io/deployment: churn",
         "the pods' label"),
        (LIST, "  - churn-v4.yaml\n", "", "does not list 'churn-v4.yaml'"),
        (LIST, "churn-v4.yaml", "churn-v5.yaml", "churn-v5.yaml does not exist"),
        (LIST, "  - route.yaml\n", "", "does not list route.yaml, the split"),
        (LIST, "resources:", "namePrefix: x\nresources:", "change the manifests for kustomize alone"),
        (STAGE, "- churn", "- churn\n  - churn", "lists 'churn' a second time"),
        (STAGE, "- churn", "- ../dev/churn", "lists the folders of its endpoints"),
        (STAGE, "- churn", "- other", "stages/production/other/ does not exist"),
        (f"{FOLDER}/rollout.yaml", '"true"', '"false"', "must be 'true' here"),
    ],
)  # fmt: skip
def test_a_broken_tree_is_refused_by_path_and_reason(canary: Files, path: str, old: str, new: str, says: str) -> None:
    message = refusal(replaced(canary, path, old, new))
    assert message.startswith(f"{path}: ")
    assert says in message


@pytest.mark.parametrize("missing", [ROUTE, V4, LIST, STAGE])
def test_a_missing_file_is_refused(canary: Files, missing: str) -> None:
    assert missing.rpartition("/")[2] in refusal({path: text for path, text in canary.items() if path != missing})


def test_a_folder_that_nobody_lists_is_refused(one: Files) -> None:
    assert "does not list 'stray'" in refusal({**one, "stages/production/stray/route.yaml": ""})


def test_a_deployment_of_two_endpoints_is_refused(one: Files) -> None:
    moved = {path.replace("/churn/", "/other/"): text.replace("/churn", "/other") for path, text in one.items()}
    route = moved["stages/production/other/route.yaml"]
    moved["stages/production/other/route.yaml"] = (
        route.replace("  name: churn\n", "  name: other\n", 1)
        .replace("  name: churn.grpc", "  name: other.grpc")
        .replace("io/endpoint: churn", "io/endpoint: other")
        .replace("name: x-endpoint\n              value: churn", "name: x-endpoint\n              value: other")
    )
    body = moved["stages/production/other/churn.yaml"].replace("endpoint: churn", "endpoint: other")
    moved["stages/production/other/churn.yaml"] = body.replace("_ENDPOINT\n              value: churn",
                                                               "_ENDPOINT\n              value: other")  # fmt: skip
    both = {**moved, **one, STAGE: one[STAGE] + "  - other\n"}
    assert "deployment 'churn' belongs to endpoint 'churn' already" in refusal(both)


def test_rules_of_the_split_must_agree(canary: Files) -> None:
    rest, mark, grpc = canary[ROUTE].partition("---\n")
    rules = rest.partition("    - name: split\n")[2].partition("    - name: override")[0]
    second = f"    - name: split-more\n{rules}"
    agreed = {**canary, ROUTE: rest + second + mark + grpc}
    assert manifests.parse_stage(agreed, "production").endpoints["churn"].route.weights["churn-v4"] == 100
    other = second.replace("weight: 100\n", "weight: 200\n").replace("weight: 900\n", "weight: 800\n")
    assert "disagrees with the rule 'split'" in refusal({**canary, ROUTE: rest + other + mark + grpc})
    moved = manifests.set_split(agreed, "production", "churn", {"churn": 500, "churn-v4": 500})
    assert moved[ROUTE].count("weight: 500\n") == 6


def test_the_splits_of_rest_and_of_grpc_must_agree(canary: Files) -> None:
    rest, mark, grpc = canary[ROUTE].partition("---\n")
    other = grpc.replace("weight: 100\n", "weight: 200\n").replace("weight: 900\n", "weight: 800\n")
    words = "disagree with those of 'churn' above; the split must have the same slots, weights and shadow"
    assert words in refusal({**canary, ROUTE: rest + mark + other})
    strange = grpc.replace("value: churn\n", "value: other\n", 1)
    assert "must match the metadata x-endpoint with the value 'churn'" in refusal(
        {**canary, ROUTE: rest + mark + strange}
    )
    assert "must be 8001" in refusal({**canary, ROUTE: rest + mark + grpc.replace("port: 8001", "port: 80", 1)})
    assert "must be 'churn.grpc'" in refusal({**canary, ROUTE: rest + mark + grpc.replace("churn.grpc", "churn-grpc")})
    assert "holds 3 YAML documents" in refusal({**canary, ROUTE: canary[ROUTE] + mark + grpc})


def test_a_tree_without_grpc_is_served_and_edited_as_before(
    canary: Files, diff_lines: Callable[..., list[str]]
) -> None:
    rest = canary[ROUTE].partition("---\n")[0]
    service = "    - name: grpc\n      port: 8001\n      targetPort: grpc\n      appProtocol: kubernetes.io/h2c\n"
    variable = '            - name: MODELSERVE_GRPC_ADDRESS\n              value: "0.0.0.0:3001"\n'
    port = "            - name: grpc\n              containerPort: 3001\n"
    earlier = canary[V4]
    for part in (service, variable, port):
        assert part in earlier
        earlier = earlier.replace(part, "")
    old = {**canary, ROUTE: rest, V4: earlier}
    before, now = (manifests.parse_endpoint(files, "production", "churn") for files in (old, canary))
    assert not before.route.has_grpc
    assert before.deployments == now.deployments
    moved = manifests.set_split(old, "production", "churn", {"churn": 750, "churn-v4": 250})
    assert diff_lines(old, moved) == ["-weight: 100", "+weight: 250", "-weight: 900", "+weight: 750"]
    busier = manifests.replace_deployment(old, replace(before.deployments["churn-v4"], replicas=2))
    assert diff_lines(old, busier) == ["-replicas: 1", "+replicas: 2"]


@pytest.mark.parametrize(
    "bad",
    [
        "a: &x 1\nb: *x\n",
        "a: {b: 1}\nc: {<<: {d: 1}}\n",
        "? [1]\n: 2\n",
        "1: 2\n",
        "\x07",
        "\udcff",
        "\ufeffa: 1\n",
        "a: 1\rb: 2\r",
        "a: 1\x85b: 2",
    ],
)
def test_yaml_that_readers_disagree_on_is_refused(one: Files, bad: str) -> None:
    assert refusal({**one, ROUTE: bad}).startswith(f"{ROUTE}: ")


HEAVY = {
    "brackets": "[" * 100_000,
    "dashes": "- " * 50_000,
    "indents": "".join(f"{' ' * depth}a:\n" for depth in range(1200)),
    "huge": "x" * 2_000_000,
    "empty": "",
    "null": "a:\n",
    "nothing": "---\n---\n",
    "two": "a: 1\n---\nb: 2\n",
}


@pytest.mark.parametrize("bad", HEAVY.values(), ids=HEAVY.keys())
def test_no_file_takes_the_reader_down(one: Files, bad: str) -> None:
    assert refusal({**one, ROUTE: bad}).startswith(f"{ROUTE}: ")


def test_a_stage_that_nobody_deployed_to_is_empty(one: Files) -> None:
    assert manifests.parse_stage(one, "staging").endpoints == {}
    assert manifests.parse_stage({}, "production").endpoints == {}
    assert manifests.stages(one) == ("dev", "production", "staging")


def test_the_state_of_a_rollout_is_read(canary: Files) -> None:
    hold = Hold(
        deployment="churn-v4",
        model_digest="sha256:4",
        reason='worse: "errors"\n{{ x }}',
        until=datetime(2026, 2, 1, tzinfo=UTC),
    )
    state = {
        annotations.ROLLOUT: "op1",
        annotations.PHASE: "paused",
        annotations.STEP: "3",
        annotations.SINCE: "2026-01-31T12:00:00Z",
        annotations.HOLD: manifests.holds_text([hold]),
        annotations.GATEWAY_ADDRESS: "http://gateway:80",
    }
    files = manifests.set_split(canary, "production", "churn", {"churn": 900, "churn-v4": 100}, annotations=state)
    route = manifests.parse_stage(files, "production").endpoints["churn"].route
    assert (route.rollout, route.phase, route.step, route.hold) == ("op1", "paused", 3, hold)
    assert route.since == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert route.gateway_address == "http://gateway:80"


def test_several_versions_may_be_held(canary: Files) -> None:
    held = (
        Hold(deployment="churn-v4", model_digest="sha256:4", reason="worse"),
        Hold(deployment="churn-v5", model_digest="sha256:5", reason="slower", until=datetime(2026, 2, 1, tzinfo=UTC)),
    )
    state = {annotations.HOLD: manifests.holds_text(held)}
    files = manifests.set_split(canary, "production", "churn", {"churn": 900, "churn-v4": 100}, annotations=state)
    route = manifests.parse_endpoint(files, "production", "churn").route
    assert route.holds == held
    before, after = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert route.hold == standing_hold(route.holds, "sha256:4", after) == held[0]
    assert standing_hold(route.holds, "sha256:5", before) == held[1]
    assert standing_hold(route.holds, "sha256:5", after) is None, "its time is over"
    assert standing_hold(route.holds, "sha256:6", before) is None


def test_a_baseline_is_one_of_the_backends_beside_stable(canary: Files) -> None:
    def named(baseline: str) -> Files:
        state = {annotations.BASELINE: baseline}
        return manifests.set_split(canary, "production", "churn", {"churn": 900, "churn-v4": 100}, annotations=state)

    assert manifests.parse_endpoint(named("churn-v4"), "production", "churn").route.baseline == "churn-v4"
    for wrong in ("churn", "churn-v9"):
        with pytest.raises(ManifestError, match="must be one of its backends beside stable"):
            named(wrong)


def test_what_a_cluster_wants_besides_is_let_be(canary: Files, diff_lines: Callable[[Files, Files], list[str]]) -> None:
    scaler = "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: churn-v4\n"
    files = replaced(canary, V4, "  replicas: 1\n", "")
    files = {**files, V4: files[V4] + scaler, f"{FOLDER}/notes.md": "ours"}
    assert manifests.parse_stage(files, "production").deployment("churn-v4") is not None
    moved = manifests.set_split(files, "production", "churn", {"churn": 750, "churn-v4": 250})
    assert diff_lines(files, moved) == ["-weight: 100", "+weight: 250", "-weight: 900", "+weight: 750"] * 2
