"""Prometheus as a source: what counters say at two times, and what they must not be believed in."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from mlflow_deploy_plugin.agent.metrics.families import FAMILIES
from mlflow_deploy_plugin.errors import ConfigError, ModelserveError, RetryLaterError
from mlflow_deploy_plugin.serving.exposition import HELP
from pipelines.analysis.arms import Missing, RequestCounts, RequestLatencies
from pipelines.analysis.compare import compare
from pipelines.analysis.gates import ErrorRatioGate, QuantileGate
from pipelines.analysis.verdict import Failed, Inconclusive, Verdict
from pipelines.monitoring.counter_source import CounterObserver, Counters, selectors
from pipelines.monitoring.prometheus import CannedPrometheus, HttpPrometheus
from pipelines.promotion.observation import Observation

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
STEP = BEGAN + timedelta(hours=1)
NOW = BEGAN + timedelta(hours=2)
SCRAPES = [BEGAN + timedelta(minutes=minute) for minute in range(121)]


class Traffic:
    """Scrapes every minute; ``requests`` and ``failures`` are increases per minute."""

    def __init__(self, counters: Counters = "model") -> None:
        self.canned, self.counters = CannedPrometheus(), counters

    def arm(
        self, name: str, *, requests: float, failures: float, instance: str = "a", scrapes: list[datetime] = SCRAPES
    ) -> None:
        chosen = selectors(self.counters, name)
        for number, at in enumerate(scrapes):
            self.canned.record(chosen.alive, at, 1, instance=instance)
            self.canned.record(chosen.requests, at, 1000 + number * requests, instance=instance, code="200")
            self.canned.record(chosen.failures, at, number * failures, instance=instance, code="500")

    def observe(self, *, changes: tuple[datetime, ...] = (BEGAN, STEP), now: datetime = NOW) -> Observation:
        observer = CounterObserver(prometheus=self.canned.client(), changes=changes, counters=self.counters)
        return observer.observe(stable="v3", canary="v4", since=BEGAN, now=now)

    def verdict(self) -> Verdict:
        seen = self.observe()
        return compare(seen.stable, seen.canary, ErrorRatioGate(guardrail=0.5), alpha=0.01)


@pytest.mark.parametrize("counters", ["model", "envoy", "agent"])
def test_a_failing_canary_fails_and_the_reason_says_what_is_assumed(counters: Counters) -> None:
    traffic = Traffic(counters)
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=2)
    verdict = traffic.verdict()
    assert isinstance(verdict, Failed)
    assert verdict.reason.endswith("(assumes independence)")
    assert verdict.numbers["canary_requests"] == 2 * 59 * 10


def test_counters_never_promote() -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=9000, failures=9)
    traffic.arm("v4", requests=1000, failures=1)
    seen = traffic.observe()
    verdict = compare(seen.stable, seen.canary, ErrorRatioGate(margin=0.01), alpha=0.01)
    assert isinstance(verdict, Inconclusive)
    assert "do not promote" in verdict.reason
    assert not seen.can_promote


def test_each_period_of_constant_weights_is_counted_for_itself_without_its_first_minute() -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=0)
    errors = traffic.observe().stable.errors
    assert isinstance(errors, RequestCounts)
    assert errors.requests.tolist() == [59 * 90, 59 * 90]


def test_replicas_add_up_and_one_that_joins_counts_from_zero() -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=0)
    chosen = selectors("model", "v4")
    for number, at in enumerate(SCRAPES[90:]):
        traffic.canned.record(chosen.requests, at, number * 5.0, instance="b", code="200")
    errors = traffic.observe().canary.errors
    assert isinstance(errors, RequestCounts)
    assert errors.requests.tolist() == [590, 590 + 150]


def test_a_series_that_ends_keeps_what_it_counted() -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=0)
    traffic.arm("v4", requests=10, failures=0, instance="b", scrapes=SCRAPES[:91])
    errors = traffic.observe().canary.errors
    assert isinstance(errors, RequestCounts)
    assert errors.requests.tolist() == [1180, 590 + 290]


def test_a_counter_that_was_reset_is_inconclusive_even_for_a_failing_canary() -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=9, scrapes=SCRAPES[:80])
    for number, at in enumerate(SCRAPES[80:]):
        for selector in (selectors("model", "v4").requests, selectors("model", "v4").failures):
            traffic.canned.record(selector, at, number * 9.0, instance="a", code="500" if "5.." in selector else "200")
        traffic.canned.record(selectors("model", "v4").alive, at, 1, instance="a")
    verdict = traffic.verdict()
    assert isinstance(verdict, Inconclusive)
    assert "was reset" in verdict.reason


@pytest.mark.parametrize("kept", [SCRAPES[:60], SCRAPES[30:], []])
def test_an_arm_that_was_not_scraped_at_either_end_is_missing(kept: list[datetime]) -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=9, scrapes=kept)
    errors = traffic.observe().canary.errors
    assert isinstance(errors, Missing)
    assert errors.reason.startswith("Prometheus has no model_ready")


def test_a_value_that_is_no_number_is_missing() -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=float("nan"), failures=0)
    assert isinstance(traffic.observe().canary.errors, Missing)


@pytest.mark.parametrize("now", [BEGAN + timedelta(seconds=30), BEGAN - timedelta(hours=1)])
def test_too_soon_after_a_change_or_by_a_clock_that_is_behind_nothing_is_counted(now: datetime) -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=9)
    assert isinstance(traffic.observe(changes=(BEGAN,), now=now).canary.errors, Missing)


def test_arms_without_requests_in_common_decide_nothing() -> None:
    traffic = Traffic()
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=0, failures=0)
    verdict = traffic.verdict()
    assert verdict == Inconclusive(reason="no period in which both arms had requests")


def test_a_server_that_is_away_is_tried_later() -> None:
    canned = CannedPrometheus(is_away=True)
    with pytest.raises(RetryLaterError, match="does not answer"):
        canned.client().query("up", NOW)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, "starting", RetryLaterError),
        (400, '{"status":"error","error":"parse error"}', ModelserveError),
        (200, "<html>a login page</html>", ModelserveError),
        (200, '{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}', ModelserveError),
    ],
)
def test_what_is_no_vector_is_an_error_and_never_a_number(status: int, body: str, error: type[ModelserveError]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    with pytest.raises(error):
        HttpPrometheus(url="http://prometheus.invalid", transport=transport).query("up", NOW)


@pytest.mark.parametrize("url", ["", "prometheus:9090", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        HttpPrometheus(url=url)


@pytest.mark.parametrize(("counters", "known"), [("model", set(HELP)), ("agent", set(FAMILIES))])
def test_the_counters_asked_for_are_ones_that_we_expose(counters: Counters, known: set[str]) -> None:
    chosen = selectors(counters, "v3")
    named = {selector.partition("{")[0] for selector in (chosen.alive, chosen.requests, chosen.failures)}
    assert named <= known


@pytest.mark.parametrize(("counters", "unit"), [("model", 1.0), ("envoy", 1000.0)])
def test_latencies_are_those_of_the_buckets_in_milliseconds(counters: Counters, unit: float) -> None:
    traffic = Traffic(counters)
    for name, slow in (("v3", 1), ("v4", 5)):
        traffic.arm(name, requests=100, failures=0)
        for number, at in enumerate(SCRAPES):
            for bound, per_minute in ((0.05 * unit, 90), (0.1 * unit, 100 - slow), ("+Inf", 100)):
                le = bound if isinstance(bound, str) else f"{bound:g}"
                selector = selectors(counters, name).latency
                traffic.canned.record(selector, at, number * per_minute, instance="a", le=le)
    seen = traffic.observe()
    latency = seen.canary.latency
    assert isinstance(latency, RequestLatencies)
    assert latency.bounds_ms.tolist() == [50.0, 100.0]
    assert latency.counts.tolist() == [[59 * 90, 59 * 5, 59 * 5]] * 2
    verdict = compare(seen.stable, seen.canary, QuantileGate(relative_margin=0.0), alpha=0.01)
    assert isinstance(verdict, Failed), verdict


def test_without_buckets_there_are_no_latencies() -> None:
    traffic = Traffic("agent")
    traffic.arm("v3", requests=90, failures=1)
    traffic.arm("v4", requests=10, failures=0)
    assert traffic.observe().canary.latency == Missing(reason="no latencies were counted")
    model = Traffic()
    model.arm("v3", requests=90, failures=1)
    model.arm("v4", requests=10, failures=0)
    assert isinstance(model.observe().canary.latency, Missing)
