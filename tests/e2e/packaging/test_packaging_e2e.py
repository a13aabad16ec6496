import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlflow_deploy_plugin.errors import ModelError, PackagingError
from mlflow_deploy_plugin.packaging import Doors, PackagingOptions, package
from mlflow_deploy_plugin.packaging.fake import FakeBuilder

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KINDS = ("skops", "cloudpickle", "no_signature", "pt2", "pickle", "state", "params")
ROWS = [{"age": 31.0, "calls": 0.0}, {"age": 60.0, "calls": 7.0}]
LOAD = """
import json, sys, mlflow, numpy as np, pandas as pd
rows = pd.DataFrame(json.loads(sys.argv[2]))
answers = {}
for kind, source in json.loads(sys.argv[1]).items():
    model = mlflow.pyfunc.load_model(source + "/model")
    tensor = kind in ("pt2", "pickle", "state")
    answers[kind] = np.asarray(model.predict(np.ones((2, 4), dtype=np.float32) if tensor else rows)).tolist()
print(json.dumps(answers))
"""
PACKAGE = """
import sys
from pathlib import Path
from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.packaging import Doors, package
print(package(sys.argv[1], home=Home(root=Path(sys.argv[2])), doors=Doors(code=Path(sys.argv[3]))).tag)
"""


def _loaded(sources: dict[str, Path]) -> Any:
    """What the models of these Bentos answer in a process that reaches no registry."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    where = json.dumps({kind: str(source) for kind, source in sources.items()})
    command = [sys.executable, "-W", "ignore", "-c", LOAD, where, json.dumps(ROWS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _answer(url: str, body: dict[str, Any]) -> Any:
    """The first answer, while the server starts."""
    until = time.monotonic() + 90
    while True:
        try:
            response = httpx.post(f"{url}/invocations", json=body, timeout=60)
        except httpx.TransportError:
            assert time.monotonic() < until
            time.sleep(0.3)
        else:
            assert response.status_code == 200, response.text
            return response.json()["predictions"]


def test_a_model_of_any_kind_is_loaded_from_inside_its_bento(tracking: Any, home: Any, stub_code: Path) -> None:
    doors = Doors(code=stub_code, build=FakeBuilder())  # what BentoML builds around a model is another test's
    bentos = {kind: package(tracking.models[kind], home=home, doors=doors) for kind in KINDS}
    assert [bento.spec.model_uri for bento in bentos.values()] == [tracking.models[kind] for kind in KINDS]
    answers = _loaded({kind: bento.path / "src" for kind, bento in bentos.items()})
    assert {kind: len(rows) for kind, rows in answers.items()} == dict.fromkeys(KINDS, 2)
    for saved in ("pickle", "state"):
        assert answers[saved][0] == pytest.approx(answers["pt2"][0], abs=1e-6)


def test_bentoml_serves_it_where_no_registry_is(tracking: Any, home: Any, stub_code: Path, bentoml_serve: Any) -> None:
    assert tracking.uri.startswith("sqlite:")
    packaged = package("models:/My Churn@champion", home=home, doors=Doors(code=stub_code))
    assert packaged.spec.model_uri == "models:/My Churn/2"
    assert packaged.tag.startswith("my-churn:")
    with bentoml_serve(packaged.tag) as url:
        expected = _loaded({"cloudpickle": packaged.path / "src"})["cloudpickle"]
        assert _answer(url, {"dataframe_records": ROWS}) == expected


def test_bentoml_lists_exports_and_containerizes_it(tracking: Any, home: Any, stub_code: Path, tmp_path: Path) -> None:
    packaged = package(tracking.models["skops"], home=home, doors=Doors(code=stub_code))
    listed = json.loads(_bentoml(home, "list", "--output", "json"))
    assert [each["tag"] for each in listed] == [packaged.tag]
    _bentoml(home, "export", packaged.tag, str(tmp_path / "churn.bento"))
    with tarfile.open(tmp_path / "churn.bento") as archive:
        names = {name.removeprefix("./") for name in archive.getnames()}
    assert {"src/model/MLmodel", "src/service.py", "src/mlflow_deploy_plugin/spec/bento.py"} <= names
    dockerfile, context = _container_context(home, packaged.tag)
    assert "FROM python:3.11-slim" in dockerfile
    assert dockerfile.count("apt-get update") == 1
    assert {"src/model/MLmodel", "src/reference.parquet", "env/python/requirements.txt"} <= context
    installed = (packaged.path / "env" / "python" / "requirements.txt").read_text()
    assert "scikit-learn" in installed
    assert "orjson" in installed


def test_the_reference_that_was_logged_with_the_model_travels_with_it(
    tracking: Any, home: Any, stub_code: Path
) -> None:
    doors = Doors(code=stub_code, build=FakeBuilder())
    with_reference = package(tracking.models["skops"], home=home, doors=doors)
    without = package(tracking.models["params"], home=home, doors=doors)
    assert with_reference.spec.reference_digest.startswith("sha256:")
    assert (with_reference.path / "src" / "reference.parquet").is_file()
    assert without.spec.reference_digest == ""


def test_nothing_but_the_command_speaks_on_standard_output(tracking: Any, home: Any, stub_code: Path) -> None:
    done = _package_elsewhere(tracking.models["skops"], home, stub_code)
    out, _ = done.communicate(timeout=120)
    assert done.returncode == 0
    assert out.splitlines() == [path_tag(home)]


def test_two_processes_at_once_make_one_bento(tracking: Any, home: Any, stub_code: Path) -> None:
    both = [_package_elsewhere(tracking.models["skops"], home, stub_code) for _ in range(2)]
    tags = {process.communicate(timeout=180)[0].strip() for process in both}
    assert tags == {path_tag(home)}
    assert _work(home) == []


def test_a_process_killed_half_way_leaves_no_bento_and_the_next_sweeps_up(
    tracking: Any, home: Any, stub_code: Path
) -> None:
    process = _package_elsewhere(tracking.models["skops"], home, stub_code)
    until = time.monotonic() + 60
    while not list(home.packaging.glob("work-*/store/*")):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert not home.bentos.exists()
    while _running_children(home):  # the builder that the killed one had started ends by itself
        assert time.monotonic() < until
        time.sleep(0.1)
    package(tracking.models["skops"], home=home, doors=Doors(code=stub_code))
    assert path_tag(home)
    assert _work(home) == []


def test_code_that_cannot_stand_alone_fails_here_and_leaves_nothing(
    tracking: Any, home: Any, stub_code: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken" / "mlflow_deploy_plugin"
    shutil.copytree(stub_code, broken)
    (broken / "serving" / "service.py").write_text("from mlflow_deploy_plugin.agent import anything\n")
    with pytest.raises(PackagingError, match=r"No module named 'mlflow_deploy_plugin\.agent'") as failure:
        package(tracking.models["skops"], home=home, doors=Doors(code=broken))
    assert "\n" not in str(failure.value)
    assert not home.bentos.exists()
    assert _work(home) == []


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("models:/My Churn/9", "versions: 2, 1, aliases: champion"),
        ("models:/My Churn@nobody", "versions: 2, 1, aliases: champion"),
        ("models:/Unknown/1", "registered: My Churn"),
        ("models:/Unknown/latest", "registered: My Churn"),
        ("models:/m-0123", "not in the registry"),
        ("runs:/0123/model", "cannot download"),
    ],
)
def test_a_model_that_is_not_there_is_refused_with_what_is(tracking: Any, home: Any, uri: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as refusal:
        package(uri, home=home)
    assert tracking.uri in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.timeout(60, func_only=True)
def test_a_registry_that_is_away_is_said_and_not_waited_for(
    tracking: Any, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del tracking
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"http://127.0.0.1:9' does not answer") as refusal:
        package("models:/My Churn/1", home=home)
    assert "\n" not in str(refusal.value)


def test_the_caller_keeps_its_environment(tracking: Any, home: Any, stub_code: Path) -> None:
    before = dict(os.environ)
    package(tracking.models["skops"], home=home, doors=Doors(code=stub_code))
    assert dict(os.environ) == before
    assert "bentoml" not in sys.modules


def test_uv_runs_a_bento_in_an_environment_of_its_own(
    tracking: Any, home: Any, stub_code: Path, bentoml_serve: Any
) -> None:
    options = PackagingOptions(env_manager="uv")
    packaged = package(tracking.models["params"], home=home, config=options, doors=Doors(code=stub_code))
    assert packaged.python is not None
    assert packaged.python.is_relative_to(home.environments)
    assert packaged.warnings == ()
    again = package(tracking.models["params"], home=home, config=options, doors=Doors(code=stub_code))
    assert (again.python, again.is_new) == (packaged.python, False)
    with bentoml_serve(packaged.tag, python=packaged.python) as url:
        assert _answer(url, {"dataframe_records": ROWS, "params": {"factor": 2.0}}) == [62.0, 134.0]


def test_what_uv_cannot_install_is_said_with_its_own_words(
    tracking: Any, home: Any, stub_code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(home.root / "empty-cache"))
    options = PackagingOptions(env_manager="uv")
    with pytest.raises(PackagingError, match=r"UV_INDEX_URL.*env_manager=local") as failure:
        package(tracking.models["params"], home=home, config=options, doors=Doors(code=stub_code))
    assert "\n" not in str(failure.value)
    assert list(home.environments.iterdir()) == []
    assert not home.bentos.exists()
    assert _work(home) == []


def _package_elsewhere(uri: str, home: Any, code: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", "-c", PACKAGE, uri, str(home.root), str(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def path_tag(home: Any) -> str:
    [path] = [each for each in home.bentos.glob("*/*") if each.is_dir()]
    return f"{path.parent.name}:{path.name}"


def _work(home: Any) -> list[Path]:
    return list(home.packaging.glob("work-*"))


def _running_children(home: Any) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(home.root).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _bentoml(home: Any, *arguments: str) -> str:
    environment = os.environ | {"BENTOML_HOME": str(home.bentoml)}
    command = [sys.executable, "-W", "ignore", "-m", "bentoml", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _container_context(home: Any, tag: str) -> tuple[str, set[str]]:
    """The Dockerfile and the files that ``bentoml containerize`` gives to a builder."""
    code = (
        "import sys, json, pathlib, bentoml\n"
        "from bentoml._internal.container import construct_containerfile\n"
        "with construct_containerfile(bentoml.get(sys.argv[1])) as (folder, dockerfile):\n"
        "    root = pathlib.Path(folder)\n"
        "    names = [p.relative_to(root).as_posix() for p in root.rglob('*') if p.is_file()]\n"
        "    print(json.dumps([pathlib.Path(dockerfile).read_text(), names]))\n"
    )
    environment = os.environ | {"BENTOML_HOME": str(home.bentoml)}
    command = [sys.executable, "-W", "ignore", "-c", code, tag]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    dockerfile, names = json.loads(done.stdout)
    return dockerfile, set(names)
