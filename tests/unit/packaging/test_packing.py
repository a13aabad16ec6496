import errno
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_deploy_plugin.errors import ConfigError, ModelError, PackagingError
from mlflow_deploy_plugin.packaging import PackagingOptions, find, interpreter, placeholder_image, read_spec
from mlflow_deploy_plugin.packaging.fake import FakeBuilder


def test_a_registered_model_becomes_a_bento_that_carries_it(bench: Any, make_model: Any) -> None:
    bench.register("churn", "1", make_model(weights=b"w1"))
    packaged = bench.package("models:/churn/1")
    source = packaged.path / "src"
    assert packaged.is_new
    assert packaged.python is None
    assert packaged.path == find(bench.home, packaged.tag)
    assert (source / "model" / "model.skops").read_bytes() == b"w1"
    assert (source / "mlflow_deploy_plugin" / "serving" / "service.py").is_file()
    assert "mlflow_deploy_plugin.serving.service" in (source / "service.py").read_text()
    assert read_spec(packaged.path) == packaged.spec
    assert (packaged.spec.model_uri, packaged.spec.model_version) == ("models:/churn/1", "1")
    assert packaged.spec.loader == "mlflow.sklearn"
    assert (packaged.path.parent / "latest").read_text() == packaged.path.name
    assert bench.leftovers() == []


def test_the_copied_code_is_what_serves_and_nothing_else_of_the_plugin(bench: Any, make_model: Any) -> None:
    packaged = bench.package(str(make_model()))
    copied = {path.name for path in (packaged.path / "src" / "mlflow_deploy_plugin").iterdir()}
    assert copied == {"__init__.py", "py.typed", "errors.py", "version.py", "spec", "attribution", "serving"}


def test_the_same_model_again_builds_nothing(bench: Any, make_model: Any) -> None:
    bench.register("churn", "1", make_model())
    first, second = bench.package("models:/churn/1"), bench.package("models:/churn/1")
    assert (first.tag, first.path, first.spec) == (second.tag, second.path, second.spec)
    assert not second.is_new
    assert len(bench.builder.jobs) == 1


def test_an_alias_is_written_down_as_a_version(bench: Any, make_model: Any) -> None:
    bench.register("churn", "4", make_model())
    bench.registry.aliases["churn", "champion"] = "4"
    packaged = bench.package("models:/churn@champion")
    assert packaged.spec.model_uri == "models:/churn/4"
    assert packaged.tag == bench.package("models:/churn/latest").tag


def test_two_versions_with_the_same_content_share_a_bento_and_keep_their_own_names(bench: Any, make_model: Any) -> None:
    folder = make_model()
    bench.register("churn", "1", folder)
    bench.register("churn", "2", folder)
    first, second = bench.package("models:/churn/1"), bench.package("models:/churn/2")
    assert first.tag == second.tag
    assert second.spec.model_uri == "models:/churn/2"
    assert len(bench.builder.jobs) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"weights": b"other"},
        {"requirements": "mlflow==3.17.2\nnumpy==2.1.0\n"},
        {"python": "3.12.1"},
        {"files": {"code/extra.py": "x = 1\n"}},
    ],
)
def test_other_content_is_another_bento(bench: Any, make_model: Any, change: dict[str, Any]) -> None:
    assert bench.package(str(make_model("a"))).tag != bench.package(str(make_model("b", **change))).tag


def test_other_serving_code_is_another_bento(bench: Any, make_model: Any) -> None:
    folder = str(make_model())
    before = bench.package(folder)
    (bench.code / "serving" / "service.py").write_text("ModelService = 1\n")
    after = bench.package(folder)
    assert before.tag != after.tag
    assert before.spec.model_digest == after.spec.model_digest


def test_what_downloading_and_loading_leave_is_no_part_of_the_model(bench: Any, make_model: Any) -> None:
    clean = bench.package(str(make_model("model")))
    folder = Path(clean.spec.model_uri.removeprefix("file://"))
    (folder / "registered_model_meta").write_text("model_name: churn\n")
    (folder / "code" / "__pycache__").mkdir(parents=True)
    (folder / "code" / "__pycache__" / "x.pyc").write_bytes(b"compiled elsewhere")
    again = bench.package(str(folder))
    assert again.tag == clean.tag
    assert (folder / "registered_model_meta").exists()  # the user's own folder is only read


@pytest.mark.parametrize(
    ("name", "tag_name"), [("My Model", "my-model"), ("Müller_Kredit", "muller-kredit"), ("模型", "model")]
)
def test_any_registered_name_gives_a_tag_that_bentoml_takes(
    bench: Any, make_model: Any, name: str, tag_name: str
) -> None:
    bench.register(name, "1", make_model())
    packaged = bench.package(f"models:/{name}/1")
    assert packaged.tag.partition(":")[0] == tag_name
    assert packaged.spec.model_name == name


def test_the_placeholder_image_is_named_by_the_models_digest(bench: Any, make_model: Any) -> None:
    bench.register("My Model", "1", make_model())
    spec = bench.package("models:/My Model/1").spec
    assert placeholder_image(spec) == f"modelserve.invalid/my-model@{spec.model_digest}"
    assert len(spec.model_digest) == len("sha256:") + 64


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), PackagingError),
        (PackagingError("BentoML could not build it"), PackagingError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failure_half_way_leaves_nothing_and_the_next_try_works(
    bench: Any, make_model: Any, failure: Any, error: type[BaseException]
) -> None:
    folder = str(make_model())
    bench.builder.fails = failure
    with pytest.raises(error):
        bench.package(folder)
    assert bench.bentos() == []
    assert bench.leftovers() == []
    bench.builder.fails = None
    tag = bench.package(folder).tag
    assert bench.bentos() == [tag]


def test_a_full_disk_is_said_in_one_line_with_the_way_out(bench: Any, make_model: Any) -> None:
    bench.builder.fails = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PackagingError, match=r"No space left on device; nothing was left behind, free space"):
        bench.package(str(make_model()))


def test_a_tree_that_cannot_be_copied_is_said_in_one_line(bench: Any, make_model: Any) -> None:
    bench.builder.fails = shutil.Error([(f"/a/{n}", f"/b/{n}", "[Errno 28] No space left on device") for n in "xyz"])
    words = r": 3 files could not be copied, the first: \[Errno 28\] No space left on device; nothing was left behind"
    with pytest.raises(PackagingError, match=words):
        bench.package(str(make_model()))


def test_two_at_once_build_one_bento(bench: Any, make_model: Any) -> None:
    folder = str(make_model())
    tags: list[str] = []
    threads = [threading.Thread(target=lambda: tags.append(bench.package(folder).tag)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(tags) == 4
    assert bench.bentos() == sorted(set(tags))
    assert len(bench.builder.jobs) == 1


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"MLmodel": "flavors:\n  sklearn: {}\n"}, "no python_function flavour, only sklearn"),
        ({"MLmodel": "flavors: [\n"}, "cannot be read"),
        ({"MLmodel": "just text\n"}, "no mapping"),
        ({"requirements.txt": "-r ../../secret.txt\n"}, "which the model lacks"),
    ],
)
def test_a_bad_model_is_refused_before_anything_is_built(
    bench: Any, make_model: Any, files: dict[str, str], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        bench.package(str(make_model(files=files)))
    assert bench.builder.jobs == []
    assert bench.leftovers() == []


def test_a_folder_around_the_model_is_refused_with_the_right_one(bench: Any, make_model: Any) -> None:
    around = make_model("model").parent
    with pytest.raises(ModelError, match="did you mean its folder 'model'"):
        bench.package(str(around))


def test_versions_that_differ_are_warned_of(bench: Any, make_model: Any) -> None:
    bench.installed = {"numpy": "2.4.6", "mlflow": "3.17.2"}
    text = "mlflow==3.17.2\nnumpy==2.0.0\nxgboost==2.1\n"
    warnings = bench.package(str(make_model(requirements=text, python="3.9.1"))).warnings
    assert "numpy==2.0.0 (here: 2.4.6)" in warnings[0]
    assert "Python 3.9 (here: " in warnings[0]
    assert "xgboost==2.1" in warnings[1]
    assert "-C env_manager=uv" in warnings[1]


def test_a_model_of_an_older_python_is_served_by_the_oldest_that_the_serving_code_runs_on(
    bench: Any, make_model: Any
) -> None:
    spec = bench.package(str(make_model(python="3.9.1"))).spec
    assert spec.python_version == "3.11"
    assert spec.metadata["python_version"] == "3.9"


def test_a_wheel_that_was_logged_with_the_model_is_installed_from_the_bento(bench: Any, make_model: Any) -> None:
    text = "mlflow==3.17.2\nwheels/mine-1.0-py3-none-any.whl\n"
    folder = make_model(requirements=text, files={"wheels/mine-1.0-py3-none-any.whl": "zip"})
    bench.package(str(folder))
    job = bench.builder.jobs[0]
    assert "./model/wheels/mine-1.0-py3-none-any.whl" in job.requirements
    assert job.build_include == ("model/wheels/mine-1.0-py3-none-any.whl",)


def test_a_reference_of_the_users_own_is_carried_and_makes_another_bento(
    bench: Any, make_model: Any, tmp_path: Path
) -> None:
    folder = str(make_model())
    (tmp_path / "train.csv").write_text("age,plan\n31,basic\n44,plus\n")
    plain = bench.package(folder)
    with_reference = bench.package(folder, PackagingOptions(reference=str(tmp_path / "train.csv")))
    assert plain.spec.reference_digest == ""
    assert with_reference.spec.reference_digest.startswith("sha256:")
    assert (with_reference.path / "src" / "reference.parquet").is_file()
    assert with_reference.tag != plain.tag


def test_a_reference_that_is_no_file_is_refused(bench: Any, make_model: Any) -> None:
    with pytest.raises(ConfigError, match=r"name a \.csv or \.parquet"):
        bench.package(str(make_model()), PackagingOptions(reference="/nowhere/train.csv"))


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not(bench: Any, make_model: Any) -> None:
    bench.home.packaging.mkdir(parents=True)
    (bench.home.packaging / "work-dead").mkdir()
    (bench.home.packaging / "work-dead.lock").write_text("")
    seen: list[list[Path]] = []

    class Nested(FakeBuilder):
        def __call__(self, job: Any, *, keep_open: tuple[int, ...] = ()) -> Path:
            inner = replace(bench, builder=FakeBuilder())
            inner.package(str(make_model("other", weights=b"other")))
            seen.append(bench.leftovers())
            return FakeBuilder.__call__(self, job, keep_open=keep_open)

    bench.builder = Nested()
    bench.package(str(make_model()))
    assert {path.stem for path in seen[0]} != set()
    assert not any("dead" in path.name for path in seen[0])
    assert bench.leftovers() == []


def test_a_bento_is_run_by_this_python_unless_it_has_an_environment(bench: Any, make_model: Any) -> None:
    spec = bench.package(str(make_model())).spec
    assert interpreter(bench.home, spec) is None
    with pytest.raises(PackagingError, match=r"deploy .* again"):
        interpreter(bench.home, replace(spec, env_manager="uv"))


def test_a_spec_of_a_later_version_is_an_error_that_says_what_to_do(bench: Any, make_model: Any) -> None:
    packaged = bench.package(str(make_model()))
    path = packaged.path / "src" / "modelserve.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of_tomorrow": 1}))
    with pytest.raises(PackagingError, match="deploy the model again"):
        read_spec(packaged.path)


@pytest.mark.parametrize(
    ("signature", "columns"),
    [
        (
            'signature:\n  inputs: \'[{"name": "age", "type": "double"}, {"name": "zip", "type": "string"}]\'\n',
            ("age", "zip"),
        ),
        ('signature:\n  inputs: \'[{"type": "tensor", "tensor-spec": {}}]\'\n', ()),
        ("signature:\n  inputs: 'no JSON'\n", ()),
        ("signature:\n  inputs: null\n", ()),
        ("signature: odd\n", ()),
        ("", ()),
    ],
)
def test_the_inputs_that_a_signature_names_are_known(
    bench: Any, make_model: Any, signature: str, columns: tuple[str, ...]
) -> None:
    facts = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    python_version: 3.11.7\n"
    assert bench.package(str(make_model(files={"MLmodel": facts + signature}))).columns == columns
