import sys
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.packaging import PackagingOptions, read_spec
from mlflow_deploy_plugin.packaging import compiling as compiling_room
from mlflow_deploy_plugin.packaging.compiling import CompileJob, Outcome, compile_model

TAKEN = Outcome(form="onnx", reason="the pyfunc's answers on 9 rows", requirements=("onnxruntime==1.32.0",))


def test_a_form_travels_in_the_bento_with_what_it_needs_and_why_it_serves(bench: Any, make_model: Any) -> None:
    bench.compiler.outcome = TAKEN
    packaged = bench.package(str(make_model()))
    assert (packaged.path / "src" / "compiled" / "check.json").is_file()
    assert (packaged.spec.predictor, packaged.spec.predictor_reason) == ("compiled", TAKEN.reason)
    assert "onnxruntime==1.32.0" in packaged.spec.requirements
    assert "onnxruntime==1.32.0" in bench.builder.jobs[0].requirements
    assert read_spec(packaged.path) == packaged.spec
    assert bench.compiler.jobs[0].python is None


def test_without_a_form_the_generic_path_serves_and_the_bento_says_why(bench: Any, make_model: Any) -> None:
    bench.compiler.outcome = Outcome(reason="it has no linear form")
    packaged = bench.package(str(make_model()))
    assert not (packaged.path / "src" / "compiled").exists()
    assert packaged.spec.predictor == "pyfunc"
    assert packaged.spec.predictor_reason == "not compiled: it has no linear form"


def test_the_same_model_again_is_not_compiled_again_and_says_the_same(bench: Any, make_model: Any) -> None:
    bench.compiler.outcome = TAKEN
    folder = make_model()
    bench.register("churn", "1", folder)
    bench.register("churn", "2", folder)
    first, second = bench.package("models:/churn/1"), bench.package("models:/churn/2")
    assert len(bench.compiler.jobs) == 1
    assert (second.tag, second.spec.predictor, second.spec.model_version) == (first.tag, "compiled", "2")


def test_compile_off_compiles_nothing_and_is_another_bento(bench: Any, make_model: Any) -> None:
    bench.compiler.outcome = TAKEN
    folder = str(make_model())
    compiled, plain = bench.package(folder), bench.package(folder, PackagingOptions(compile="off"))
    assert len(bench.compiler.jobs) == 1
    assert compiled.tag != plain.tag
    assert (plain.spec.compile, plain.spec.predictor) == ("off", "pyfunc")
    assert plain.spec.model_digest == compiled.spec.model_digest


def test_other_compilers_make_another_bento(bench: Any, make_model: Any) -> None:
    folder = str(make_model())
    bench.installed = {"skl2onnx": "1.20.0", "onnxruntime": "1.32.0"}
    with_tools = bench.package(folder)
    bench.installed = {}
    assert bench.package(folder).tag != with_tools.tag


@pytest.fixture
def job(tmp_path: Path) -> CompileJob:
    """A job whose code is what a test writes as the module that compiles."""
    package = tmp_path / "code" / "mlflow_deploy_plugin" / "serving" / "compiling"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    return CompileJob(
        python=Path(sys.executable), code=tmp_path / "code", model=tmp_path, out=tmp_path / "code" / "compiled"
    )


def child(job: CompileJob, code: str) -> None:
    (job.code / "mlflow_deploy_plugin" / "serving" / "compiling" / "__main__.py").write_text(code)


VERDICT = (
    "import sys, json, pathlib\n"
    "arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
    "verdict = {'form': 'linear', 'reason': 'r', 'requirements': []}\n"
    "pathlib.Path(arguments['--verdict']).write_text(json.dumps(verdict))\n"
)


def test_the_verdict_of_the_child_is_the_outcome(job: CompileJob) -> None:
    child(job, VERDICT)
    assert compile_model(job) == Outcome(form="linear", reason="r")
    assert not list(job.code.glob("*.json"))


def test_a_child_that_dies_costs_the_form_and_not_the_bento(job: CompileJob) -> None:
    child(job, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    outcome = compile_model(job)
    assert outcome.form == ""
    assert "status -11" in outcome.reason


def test_a_child_that_raises_is_told_in_one_line(job: CompileJob) -> None:
    child(job, "raise ImportError('no module of that name')")
    assert compile_model(job).reason == "compiling it failed (status 1: ImportError: no module of that name)"


def test_a_child_that_takes_too_long_is_given_up(job: CompileJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling_room, "TIMEOUT_S", 0.2)
    child(job, "import time; time.sleep(60)")
    assert compile_model(job).reason == "compiling it takes more than 0.2 s"
