"""Servers that answer wrongly, fail, or never start: each is told as what it is, and the others are measured."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.benchmark import machine, peers, soak
from pipelines.benchmark.course import Course, Schedule
from pipelines.benchmark.environments import Environments
from pipelines.benchmark.peers import Peer
from pipelines.benchmark.results import Report, Sample, figures
from pipelines.benchmark.stage import Placed, Stage, launch
from pipelines.benchmark.subjects import Ground, Subject, by_name, empty
from pipelines.benchmark.tables import soaked
from pipelines.benchmark.wires import PLAIN
from pipelines.benchmark.works import WORKS, Prepared

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed; apt-get install wrk"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores"),
]

SERVER = """
    import http.server, json, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asked = 0

        def do_POST(self):
            row = json.loads(self.rfile.read(int(self.headers["content-length"])))["features"][0]
            Handler.asked += 1
            status, answer = ANSWER
            body = json.dumps({"prediction": [answer]}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

Run = Callable[..., Course]


def server(answer: str) -> Callable[[Ground], tuple[Placed, ...]]:
    """A server whose (status, answer) is an expression of ``row`` and of how often it was asked."""
    script = textwrap.dedent(SERVER).replace("ANSWER", answer)

    def placed(ground: Ground) -> tuple[Placed, ...]:
        command = (sys.executable, "-c", script, str(ground.port))
        return (Placed(launch=launch(command, folder=ground.folder, log="server")),)

    return placed


def subject(name: str, placed: Callable[[Ground], tuple[Placed, ...]]) -> Subject:
    return Subject(name=name, about=name, wires=lambda *_: PLAIN, placed=placed, version=lambda: "1")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Measures subjects on a work whose answer to each row is its first number."""

    def measured(*subjects: Subject, turns: int = 1) -> Course:
        rows = np.arange(60, dtype=float).reshape(2, 30)
        prepared = Prepared(work=WORKS["tabular"], folder=tmp_path, rows=rows, answers=rows[:, :1])
        found = machine.find(os.sched_getaffinity(0))
        schedule = Schedule(rounds=1, connections=(2,), seconds=float(turns), warmup_s=0.0)
        course = Course(stage=Stage.real(found), schedule=schedule, folder=tmp_path / "run", tell=lambda _: None)
        course.run([prepared], by_name(subjects))
        return course

    return measured


def report_of(course: Course) -> Report:
    fields = {"began": "", "machine": "", "settings": {}, "subjects": {}, "versions": {}, "works": {}}
    return Report(**fields, samples=tuple(course.samples))


def only(course: Course) -> Sample:
    (sample,) = course.samples
    assert course.absences == {}
    return sample


def test_right_answers_are_right(run: Run) -> None:
    sample = only(run(subject("right", server("(200, row[0])"))))
    assert sample.requests > sample.checked > 0
    assert (sample.wrong, sample.failed, sample.socket_errors) == (0, 0, 0)
    assert sample.cpu_s > 0


def test_answers_that_are_not_the_model_s_are_counted_wrong_while_it_measures(run: Run) -> None:
    sample = only(run(subject("wrong", server("(200, row[0] + 1)"))))
    assert sample.wrong == sample.checked > 0


def test_another_row_s_answer_is_wrong(run: Run) -> None:
    sample = only(run(subject("stuck", server("(200, 0.0)"))))
    assert 0 < sample.wrong < sample.checked


def test_statuses_that_are_errors_are_counted(run: Run) -> None:
    sample = only(run(subject("failing", server("(200 if Handler.asked == 1 else 500, row[0])"))))
    assert sample.failed > 0
    assert sample.wrong == sample.checked


def test_a_server_that_ends_is_a_reason_with_its_last_words_and_the_others_are_measured(run: Run) -> None:
    def broken(ground: Ground) -> tuple[Placed, ...]:
        command = (sys.executable, "-c", "raise SystemExit('no model here')")
        return (Placed(launch=launch(command, folder=ground.folder, log="server")),)

    course = run(subject("broken", broken), empty())
    assert [sample.cell.subject for sample in course.samples] == ["empty"]
    (absence,) = course.absences.values()
    assert absence.subject == "broken"
    assert "exit code 1" in absence.reason
    assert "no model here" in absence.reason


def test_a_server_and_the_empty_app_are_loaded_in_turn(run: Run) -> None:
    course = run(subject("right", server("(200, row[0])")), empty(), turns=2)
    asked = [(sample.cell.subject, sample.turn.nth) for sample in course.samples if sample.turn.of == "right"]
    assert sorted(asked) == [("empty", 0), ("empty", 1), ("right", 0), ("right", 1)]
    (ratio,) = [figure.ratio for cell, figure in figures(report_of(course)).items() if cell.subject == "right"]
    assert ratio is not None
    assert ratio.low > 1


def test_a_server_that_ends_while_it_is_loaded_is_a_reason_and_the_empty_app_is_measured(run: Run) -> None:
    mortal = "(200, row[0]) if Handler.asked == 1 else __import__('os')._exit(3)"
    course = run(subject("mortal", server(mortal)), empty())
    assert {sample.cell.subject for sample in course.samples if sample.turn.of == "empty"} == {"empty"}
    (absence,) = course.absences.values()
    assert absence.subject == "mortal"
    assert re.search("answered nothing|wrk failed", absence.reason)


def test_a_soak_tells_tails_memory_and_what_must_hold(tmp_path: Path) -> None:
    rows = np.arange(60, dtype=float).reshape(2, 30)
    prepared = Prepared(work=WORKS["tabular"], folder=tmp_path, rows=rows, answers=rows[:, :1])
    stage = Stage.real(machine.find(os.sched_getaffinity(0)))
    right = subject("right", server("(200, row[0])"))
    found = soak.run(stage, prepared, (empty(), right), tmp_path / "soak", seconds=2, tell=lambda _: None)
    assert [len(stretches) for stretches in found.stretches.values()] == [2, 2]
    assert found.latencies("right").total == sum(one.requests - one.checked for one in found.stretches["right"]) > 0
    assert {claim.what: claim.holds for claim in found.claims()}["failed, lost or wrong"]
    assert "| right" in soaked(found)


def test_a_peer_that_cannot_be_installed_is_a_reason(run: Run, tmp_path: Path) -> None:
    peer = Peer(
        name="gone",
        about="a wheel that is not there",
        package="gone",
        requirements=(str(tmp_path / "gone-1-py3-none-any.whl"),),
        wires=lambda *_: PLAIN,
        command=lambda *_: ("true",),
    )
    course = run(peers.subject(peer, Environments(folder=tmp_path / "cache")))
    (absence,) = course.absences.values()
    assert "uv could not make its environment" in absence.reason


def test_a_peer_whose_program_is_missing_is_a_reason(run: Run, tmp_path: Path) -> None:
    peer = Peer(
        name="foreign",
        about="needs a machine of its own",
        package="foreign",
        requirements=(),
        wires=lambda *_: PLAIN,
        command=lambda *_: ("true",),
        program="no-such-program-here",
    )
    course = run(peers.subject(peer, Environments(folder=tmp_path / "cache")))
    (absence,) = course.absences.values()
    assert absence.reason == "needs no-such-program-here, which is not installed"
