"""A shadow in ``route.yaml``: the Gateway API's own filter, edited in place."""

import re
from collections.abc import Callable

import pytest

from mlflow_deploy_plugin import manifests
from mlflow_deploy_plugin.errors import ManifestError, NotFoundError
from mlflow_deploy_plugin.manifests.model import Deployment, Files, Mirror

ROUTE = "stages/production/churn/route.yaml"
SHADOW = Mirror(deployment="churn-v4", share=125)


@pytest.fixture
def pair(one: Files, make_deployment: Callable[..., Deployment]) -> Files:
    return manifests.add_deployment(one, make_deployment("churn-v4", version="4"), weight=0)


def mirrored(files: Files, mirror: Mirror | None = SHADOW) -> Files:
    return manifests.set_mirror(files, "production", "churn", mirror)


def route(files: Files) -> manifests.model.Route:
    return manifests.parse_endpoint(files, "production", "churn").route


def test_a_shadow_is_a_filter_of_the_split_and_goes_without_a_trace(pair: Files) -> None:
    shadowed = mirrored(pair)
    assert route(shadowed).mirror == SHADOW
    assert shadowed[ROUTE].count("RequestMirror") == 2
    assert "fraction:\n              numerator: 125\n              denominator: 1000" in shadowed[ROUTE]
    assert mirrored(shadowed) == shadowed
    assert mirrored(shadowed, None) == pair


def test_a_larger_share_changes_one_number(pair: Files, diff_lines: Callable[[Files, Files], list[str]]) -> None:
    before = mirrored(pair)
    after = mirrored(before, Mirror(deployment="churn-v4", share=500))
    assert diff_lines(before, after) == ["-numerator: 125", "+numerator: 500"] * 2


def test_a_per_cent_is_read_too(pair: Files) -> None:
    fraction = "fraction:\n              numerator: 125\n              denominator: 1000"
    text = mirrored(pair)[ROUTE]
    assert route({**pair, ROUTE: text.replace(fraction, "percent: 20")}).mirror == Mirror(
        deployment="churn-v4", share=200
    )


def test_a_shadow_that_gets_users_is_one_no_more(pair: Files) -> None:
    after = manifests.set_split(mirrored(pair), "production", "churn", {"churn": 900, "churn-v4": 100})
    assert route(after).mirror is None


def test_a_shadow_that_is_removed_takes_its_filter_with_it(pair: Files, one: Files) -> None:
    assert manifests.remove_deployment(mirrored(pair), "production", "churn-v4")[ROUTE] == one[ROUTE]


def test_a_new_shadow_is_told_by_its_diff(pair: Files) -> None:
    stages = [manifests.parse_stage(files, "production") for files in (pair, mirrored(pair))]
    assert manifests.diff.describe(*stages) == ("churn: shadow none → churn-v4 12.5%",)


def test_an_unknown_shadow_is_refused(pair: Files) -> None:
    with pytest.raises(NotFoundError, match="'v9' is none of endpoint 'churn'; known: churn, churn-v4"):
        mirrored(pair, Mirror(deployment="v9", share=10))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("denominator: 1000", "denominator: 100", "is 100, and must be 1000"),
        ("numerator: 125", "numerator: 1001", "not within 1 to 1000"),
        ("type: RequestMirror", "type: URLRewrite", "must be 'RequestMirror' here"),
    ],
)
def test_a_filter_that_only_a_cluster_would_understand_is_refused(
    pair: Files, before: str, after: str, said: str
) -> None:
    text = mirrored(pair)[ROUTE]
    with pytest.raises(ManifestError, match=r"route\.yaml: line \d+: .*") as caught:
        manifests.parse_endpoint({**pair, ROUTE: text.replace(before, after)}, "production", "churn")
    assert said in str(caught.value)


def test_a_shadow_with_users_is_refused(pair: Files) -> None:
    shadowed = mirrored(pair)[ROUTE]
    users = shadowed.replace("weight: 0\n", "weight: 100\n")
    users = re.sub(r"(name: churn\n +port: \d+\n +weight: )1000(\n +filters)", r"\g<1>900\2", users)
    with pytest.raises(ManifestError, match="has users too"):
        manifests.parse_endpoint({**pair, ROUTE: users}, "production", "churn")
