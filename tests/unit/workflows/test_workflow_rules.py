"""What every workflow keeps to: GitHub's schema, zizmor's audits, and the rules of this house."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
ACTION = ROOT / ".github/actions/setup/action.yml"
NAMES = [path.stem for path in FILES]

WRITERS = {
    ("promote", "staging"),
    ("promote", "guard"),
    ("promote", "production"),
    ("rollback", "rollback"),
    ("drift", "drift"),
}
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
RUNS = re.compile(r"(\.venv/bin/python -m pipelines \w+|make( [a-z0-9-]+)+( EXTRAS=\"\$EXTRAS\")?$)")


def read(path: Path) -> dict[str, Any]:
    """The file with every scalar as text, so that `on` stays a word."""
    return dict(yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader))  # noqa: S506  knows only text


def jobs() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path in FILES:
        for name, job in read(path)["jobs"].items():
            yield path.stem, name, job


def steps() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for workflow, name, job in jobs():
        for step in job["steps"]:
            yield f"{workflow}/{name}", step
    for step in read(ACTION)["runs"]["steps"]:
        yield "setup", step


def each_job() -> list[Any]:
    return [pytest.param(workflow, name, job, id=f"{workflow}/{name}") for workflow, name, job in jobs()]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def test_the_six_workflows_are_there() -> None:
    assert NAMES == ["benchmark", "ci", "drift", "package", "promote", "rollback"]


@pytest.mark.parametrize(
    ("schema", "paths"),
    [("vendor.github-workflows", FILES), ("vendor.github-actions", [ACTION])],
    ids=["jobs", "action"],
)
def test_github_s_schema_holds(schema: str, paths: list[Path]) -> None:
    done = run("check-jsonschema", "--builtin-schema", schema, *map(str, paths))
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    done = run("zizmor", "--offline", "--no-progress", ".github")
    assert done.returncode == 0, done.stdout
    assert "WARN" not in done.stderr  # it passes over a file that it cannot parse


@pytest.mark.parametrize("path", [*FILES, ACTION], ids=lambda path: path.stem)
def test_foreign_actions_are_pinned_by_commit_and_name_their_version(path: Path) -> None:
    uses = re.findall(r"uses: .*", path.read_text())
    assert uses
    for line in uses:
        assert line == "uses: $/.github/actions/setup" or PINNED.fullmatch(line), line


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_workflow_begins_with_no_permission(path: Path) -> None:
    assert read(path)["permissions"] == {}


@pytest.mark.parametrize(("workflow", "name", "job"), each_job())
def test_a_job_has_a_time_limit_and_one_permission_with_its_reason(
    workflow: str, name: str, job: Mapping[str, Any]
) -> None:
    assert 0 < int(job["timeout-minutes"]) <= 60
    tells = {"issues": "write"} if any(" notify " in step.get("run", "") for step in job["steps"]) else {}
    assert job["permissions"] == {"contents": "write" if (workflow, name) in WRITERS else "read"} | tells
    text = (FOLDER / f"{workflow}.yml").read_text()
    given = [
        permission for each in read(FOLDER / f"{workflow}.yml")["jobs"].values() for permission in each["permissions"]
    ]
    assert len(re.findall(r"^ +(?:contents|issues): \w+ # \w+", text, re.MULTILINE)) == len(given)


@pytest.mark.parametrize(("workflow", "name", "job"), each_job())
def test_a_writer_waits_in_the_one_queue_of_the_branch_and_is_never_cancelled(
    workflow: str, name: str, job: Mapping[str, Any]
) -> None:
    queue = {"group": "gitops-${{ github.repository }}-main", "cancel-in-progress": "false", "queue": "max"}
    assert job.get("concurrency") == (queue if (workflow, name) in WRITERS else None)


def test_a_checkout_keeps_no_token() -> None:
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(list(jobs()))
    assert all(step["with"] == {"persist-credentials": "false"} for step in checkouts)


def test_a_script_is_one_command_of_ours_and_reads_its_inputs_from_the_environment() -> None:
    scripts = [(place, step["run"]) for place, step in steps() if "run" in step]
    assert len(scripts) >= len(list(jobs()))
    for place, script in scripts:
        assert RUNS.match(script), f"{place}: {script}"
        assert not re.search(r"\$\{\{|[;|&`]|\$\(|\n.", script), f"{place}: {script}"
        assert not re.search(r'(?<!")\$\w', script), f"{place}: a variable without quotes in {script}"


def test_a_token_reaches_no_step_but_those_that_speak_to_the_repository() -> None:
    for place, step in steps():
        holds = {key for key, value in step.get("env", {}).items() if "secrets." in value or "github.token" in value}
        assert not holds or "pipelines" in step["run"], place
        is_notice = " notify " in step.get("run", "")
        told, written = {"GITHUB_TOKEN", "MODELSERVE_NOTIFY_URL"}, {"GITOPS_TOKEN", "MODELSERVE_SIGNING_KEY"}
        assert holds <= (told if is_notice else written), place


def test_production_goes_forward_behind_an_environment_and_back_without_one() -> None:
    reviewed = {(workflow, name) for workflow, name, job in jobs() if job.get("environment") == "production"}
    assert reviewed == {("promote", "review")}
    promote = read(FOLDER / "promote.yml")["jobs"]
    assert promote["production"]["needs"] == "review"
    assert promote["review"]["needs"] == "guard"
    assert "--only-aborts" in next(step["run"] for step in promote["guard"]["steps"] if step.get("id") == "guard")
    for name in ("rollback", "drift"):
        assert "needs" not in read(FOLDER / f"{name}.yml")["jobs"][name]


def test_the_version_before_is_asked_where_somebody_says_that_it_answers() -> None:
    step = next(step for place, step in steps() if place == "drift/drift" and step["name"] == "Drift")
    assert '--before-at "$BEFORE_AT"' in step["run"]
    variable = "inputs.stage != 'staging' && vars.MODELSERVE_BEFORE_AT"
    assert step["env"]["BEFORE_AT"] == f"${{{{ inputs.before_at || {variable} || '' }}}}"


def needs(job: Mapping[str, Any]) -> set[str]:
    given = job.get("needs", [])
    return {given} if isinstance(given, str) else set(given)


@pytest.mark.parametrize(
    ("workflow", "followers"),
    [("promote", {"registry", "promoted"}), ("rollback", {"registry"}), ("drift", {"registry"})],
)
def test_the_registry_follows_every_writer_and_nothing_waits_for_it(workflow: str, followers: set[str]) -> None:
    found = read(FOLDER / f"{workflow}.yml")["jobs"]
    assert {name for flow, name in WRITERS if flow == workflow} == {n for name in followers for n in needs(found[name])}
    assert not any(needs(job) & followers for job in found.values())


def test_promotion_runs_by_push_schedule_and_hand() -> None:
    triggers = read(FOLDER / "promote.yml")["on"]
    assert triggers.keys() == {"push", "schedule", "workflow_dispatch"}
    assert triggers["push"] == {"branches": ["main"], "paths": ["gitops/stages/**"]}


def test_no_workflow_runs_a_stranger_s_code_with_our_rights() -> None:
    for path in FILES:
        assert not read(path)["on"].keys() & {"pull_request_target", "workflow_run", "issue_comment"}


def test_every_job_that_takes_versions_back_by_itself_tells_people_also_when_it_fails() -> None:
    told = {place: step["if"] for place, step in steps() if " notify " in step.get("run", "")}
    assert told == dict.fromkeys(
        ["drift/drift", "promote/guard", "promote/production", "promote/staging"], "${{ always() }}"
    )


def test_what_decides_leaves_its_page_and_its_records() -> None:
    for place, step in steps():
        if "pipelines" in step.get("run", ""):
            assert '--summary "$GITHUB_STEP_SUMMARY"' in step["run"], place
    uploads = [step["with"]["name"] for _, step in steps() if "upload-artifact" in step.get("uses", "")]
    assert sorted(uploads) == ["benchmark", "bento", "drift", "guard-records", "production-records", "staging-records"]


def test_every_verb_and_target_of_a_script_exists() -> None:
    from pipelines.cli import VERBS  # noqa: PLC0415

    makefile = (ROOT / "Makefile").read_text()
    for place, step in steps():
        words = step.get("run", "").split()
        if "pipelines" in words:
            assert words[words.index("pipelines") + 1] in VERBS, place
        for word in words[1:] if words[:1] == ["make"] else []:
            assert "=" in word or re.search(rf"^{word}:", makefile, re.MULTILINE), place


def test_the_credential_helper_answers_from_the_step_s_variable_alone() -> None:
    helper = ROOT / ".github/actions/setup/credential-helper"

    def ask(verb: str, **variables: str) -> str:
        done = subprocess.run([helper, verb], check=True, capture_output=True, text=True, env=variables)
        return done.stdout

    assert ask("get", GITOPS_TOKEN="t0ken") == "username=x-access-token\npassword=t0ken\n"  # noqa: S106
    assert ask("get") == ""
    assert ask("store", GITOPS_TOKEN="t0ken") == ""  # noqa: S106
