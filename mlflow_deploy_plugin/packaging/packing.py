"""From a model URI to a Bento in the store: fetch, read, describe, build, publish. Once per identity.

Nothing is published before it is whole: all work lies in a workspace that one rename leaves. Only the process that
compiles (:mod:`.compiling`) loads the model; whether it answers is the Bento's to show before it gets traffic.
"""

import logging
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from mlflow_deploy_plugin.config.home import Home
from mlflow_deploy_plugin.errors import PackagingError
from mlflow_deploy_plugin.packaging import digest, environment, mlmodel, reference, requirements, serving_code, store
from mlflow_deploy_plugin.packaging.build import Builder, BuildJob, build
from mlflow_deploy_plugin.packaging.compiling import CompileJob, Compiler, Outcome, compile_model
from mlflow_deploy_plugin.packaging.mlflow_registry import MlflowRegistry
from mlflow_deploy_plugin.packaging.registry import Registry
from mlflow_deploy_plugin.packaging.resolve import Resolved, resolve
from mlflow_deploy_plugin.packaging.work import Workspace, exclusive, workspace
from mlflow_deploy_plugin.spec.bento import (
    COMPILED_FOLDER,
    MODEL_FOLDER,
    REFERENCE_FILE,
    SERVICE_IMPORT,
    SPEC_FILE,
    BentoSpec,
)
from mlflow_deploy_plugin.spec.names import slug

VERSION_DIGITS: Final = 16
COMPILERS: Final = ("skl2onnx", "onnxruntime")
OLDEST_PYTHON: Final = (3, 11)
"""What the serving code runs on; a model of an older Python is served by this one."""

LEFT_OUT: Final = frozenset({"registered_model_meta", "__pycache__", ".DS_Store"})
"""What downloading and loading write beside a model; not part of it, and different on each machine."""


_logger = logging.getLogger("modelserve.packaging")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagingOptions:
    """What the ``-C`` keys say about packaging."""

    env_manager: Literal["local", "uv"] = "local"
    reference: str = ""
    """Path of a CSV or Parquet file; empty: the reference that was logged with the model, if any."""
    compile: Literal["auto", "off"] = "auto"
    """Whether a form that needs no MLflow is made, where it answers alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What packaging reaches outside through; tests give their own."""

    registry: Registry = field(default_factory=MlflowRegistry)
    build: Builder = build
    compile: Compiler = compile_model
    code: Path = serving_code.PACKAGE
    installed: requirements.Installed = requirements.installed_here


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """A Bento in the store, and how to run it."""

    tag: str
    path: Path
    spec: BentoSpec
    """Of this request: the same content under another name or version shares the Bento, not the description."""
    python: Path | None
    """Interpreter that runs it; ``None``: the running one."""
    warnings: tuple[str, ...]
    is_new: bool
    """Whether it was built just now."""
    columns: tuple[str, ...] = ()
    """Names of the inputs in the model's signature; empty where it has none, or names none."""


def package(
    model_uri: str, *, home: Home, config: PackagingOptions | None = None, doors: Doors | None = None
) -> Packaged:
    """The Bento of the model at ``model_uri``, built where the store does not have it.

    Raises:
        ModelError: the model cannot be found, fetched or read.
        ConfigError: the reference cannot be used.
        PackagingError: the Bento or its environment cannot be made; the store is as it was.
        RetryLaterError: another process has been packaging the same model for long.
    """
    options, outside = config or PackagingOptions(), doors or Doors()
    resolved = resolve(model_uri, outside.registry)
    home.ensure()
    try:
        with workspace(home) as work:
            draft = _draft(resolved, work.folder, options, outside)
            return _published(draft, home, work, outside)
    except OSError as error:
        raise PackagingError(
            f"cannot package {resolved.uri} in {home.root}: {_first_reason(error)}; nothing was left behind,"
            " free space there or set MODELSERVE_HOME"
        ) from error


def _first_reason(error: OSError) -> str:
    """One sentence; a tree that could not be copied comes with a reason for each of its files."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        return f"{len(error.args[0])} files could not be copied, the first: {error.args[0][0][2]}"
    return error.strerror or str(error)


def placeholder_image(spec: BentoSpec) -> str:
    """The image of a manifest until CI has built one: no registry answers to it, and its digest is the model's."""
    return f"modelserve.invalid/{slug(spec.model_name)}@{spec.model_digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A Bento to be: everything known, nothing built."""

    tag: str
    spec: BentoSpec
    model: Path
    context: Path
    needs: "_Needs"
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Needs:
    """What must be installed to run it."""

    lines: tuple[str, ...]
    python: str
    """Version of the Python that logged the model."""
    files: tuple[str, ...]
    """Files of the Bento's ``src`` that the lines name."""
    warnings: tuple[str, ...]


def _draft(resolved: Resolved, work: Path, options: PackagingOptions, doors: Doors) -> _Draft:
    model = _fetch(resolved, work, doors.registry)
    facts = mlmodel.read(model)
    context = work / "context"
    serving_code.copy(doors.code, context)
    serving_digest = digest.of_folder(context)
    (work / "reference").mkdir()
    # A folder's MLmodel may name a run of a server that this machine has never heard of: only a resolved run is asked.
    sample = reference.fetch(
        options.reference, run_id=resolved.run_id, registry=doors.registry, into=work / "reference"
    )
    if sample is not None:
        sample.rename(context / REFERENCE_FILE)
    needs = _needs(model, facts, doors)
    spec = BentoSpec(
        model_uri=resolved.uri,
        model_name=resolved.name,
        model_version=resolved.version,
        run_id=resolved.run_id or facts.run_id,
        model_id=resolved.model_id or facts.model_id,
        loader=facts.loader,
        model_digest=digest.of_folder(model),
        serving_digest=serving_digest,
        environment_digest=digest.of_lines(needs.lines),
        env_manager=options.env_manager,
        compile=options.compile,
        python_version=_servable(needs.python),
        requirements=needs.lines,
        reference_digest=digest.of_file(context / REFERENCE_FILE) if sample is not None else "",
        has_socket=True,
        metadata=_metadata(facts, needs.python),
    )
    tools = _tools(options, doors)
    return _Draft(
        tag=f"{slug(resolved.name)}:{_identity(spec, tools)}",
        spec=spec,
        model=model,
        context=context,
        needs=needs,
        columns=facts.columns,
    )


def _tools(options: PackagingOptions, doors: Doors) -> tuple[str, ...]:
    """What a compiled form depends on beside the model, our code and the environment."""
    if options.compile == "off":
        return ("compile=off",)
    return tuple(f"{name}=={doors.installed(name) or 'none'}" for name in COMPILERS)


def _needs(model: Path, facts: mlmodel.ModelFile, doors: Doors) -> _Needs:
    own = requirements.of_model(model)
    lines = requirements.with_serving(
        requirements.beside(own, folder=model, prefix=MODEL_FOLDER),
        mlflow_version=facts.mlflow_version or doors.installed("mlflow") or "",
    )
    python = requirements.python_version(model, otherwise=facts.python_version or _running_python())
    warnings = requirements.differences(
        lines, installed=doors.installed, python=_running_python(), logged_python=python
    )
    files = requirements.beside(requirements.local_files(model, own), folder=model, prefix=MODEL_FOLDER)
    return _Needs(lines=lines, python=python, warnings=warnings, files=tuple(name.removeprefix("./") for name in files))


def _published(draft: _Draft, home: Home, work: Workspace, doors: Doors) -> Packaged:
    """The Bento in the store. Its environment is made first: a Bento that cannot be run is not published."""
    name = draft.tag.partition(":")[0]
    with exclusive(home, f"bento-{name}"):
        found = store.find(home, draft.tag)
        source = found / store.SOURCE if found else _source(draft, work)
        python = environment.ensure(home, draft.spec, source)
        path = found or store.publish(home, _built(draft, python, work, doors), draft.tag)
        return Packaged(
            tag=draft.tag,
            path=path,
            spec=_named(store.read_spec(path), draft.spec),
            python=python,
            warnings=draft.needs.warnings if python is None else _unlike(draft.spec),
            is_new=found is None,
            columns=draft.columns,
        )


def _source(draft: _Draft, work: Workspace) -> Path:
    """A folder in which the model lies as in the Bento, for requirements that name its files."""
    source = work.folder / "source"
    source.mkdir()
    (source / MODEL_FOLDER).symlink_to(draft.model)
    return source


def _built(draft: _Draft, python: Path | None, work: Workspace, doors: Doors) -> Path:
    outcome = _compiled(draft, python, work, doors)
    lines = requirements.joined(draft.spec.requirements, outcome.requirements)
    spec = replace(
        draft.spec,
        predictor="compiled" if outcome.form else "pyfunc",
        predictor_reason=outcome.reason if outcome.form else f"not compiled: {outcome.reason}",
        requirements=lines,
        environment_digest=digest.of_lines(lines),
    )
    (draft.context / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
    built = doors.build(_job(replace(draft, spec=spec), work.folder), keep_open=(work.lock,))
    draft.model.rename(built / store.SOURCE / MODEL_FOLDER)
    _logger.info("%s will be served by %s: %s", spec.model_uri, spec.predictor, spec.predictor_reason)
    return built


def _compiled(draft: _Draft, python: Path | None, work: Workspace, doors: Doors) -> Outcome:
    if draft.spec.compile == "off":
        return Outcome(reason="compile=off")
    out = draft.context / COMPILED_FOLDER
    job = CompileJob(python=python, code=draft.context, model=draft.model, out=out)
    outcome = doors.compile(job, keep_open=(work.lock,))
    if not outcome.form:
        shutil.rmtree(out, ignore_errors=True)
    return outcome


def _named(stored: BentoSpec, asked: BentoSpec) -> BentoSpec:
    """What the Bento says of its content, under the name that was asked for: two versions may share a content."""
    return replace(
        stored,
        model_uri=asked.model_uri,
        model_name=asked.model_name,
        model_version=asked.model_version,
        run_id=asked.run_id,
        model_id=asked.model_id,
    )


def _unlike(spec: BentoSpec) -> tuple[str, ...]:
    """An environment of its own has every package that the model names; only the Python may be another."""
    logged = spec.metadata["python_version"]
    if logged == spec.python_version:
        return ()
    warning = (
        f"the model was logged with Python {logged} and is served by {spec.python_version}, the oldest that serving"
        " runs on; log it again there if it does not load"
    )
    return (warning,)


def _job(draft: _Draft, work: Path) -> BuildJob:
    name, _, version = draft.tag.partition(":")
    spec = draft.spec
    (work / "store").mkdir()
    return BuildJob(
        context=str(draft.context),
        home=str(work / "store"),
        name=name,
        version=version,
        service=SERVICE_IMPORT,
        requirements=spec.requirements,
        python_version=spec.python_version,
        description=_readme(spec),
        labels={"modelserve.model-name": slug(spec.model_name), "modelserve.model-version": spec.model_version},
        build_include=draft.needs.files,
    )


def _fetch(resolved: Resolved, work: Path, registry: Registry) -> Path:
    """The model's folder inside the workspace, free of what is not the model."""
    into = work / "download"
    into.mkdir()
    if resolved.uri.startswith("file:"):
        model = Path(shutil.copytree(unquote(urlsplit(resolved.uri).path), into / MODEL_FOLDER))
    else:
        model = registry.download(resolved.uri, into)
    for path in [each for each in model.rglob("*") if each.name in LEFT_OUT]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return model


def _identity(spec: BentoSpec, tools: tuple[str, ...]) -> str:
    """What makes two Bentos the same: all that lies in them, not where the model came from."""
    parts = (
        *(spec.model_digest, spec.serving_digest, spec.environment_digest),
        *(spec.env_manager, spec.python_version, spec.reference_digest, *tools),
    )
    return digest.of_lines(parts).removeprefix(digest.PREFIX)[:VERSION_DIGITS]


def _metadata(facts: mlmodel.ModelFile, logged_python: str) -> Mapping[str, str]:
    return {
        "flavors": ",".join(facts.flavors),
        "mlflow_version": facts.mlflow_version,
        "python_version": logged_python,
        "has_signature": str(facts.has_signature).lower(),
    }


def _servable(python: str) -> str:
    major, _, minor = python.partition(".")
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return python if minor.isdecimal() and (int(major), int(minor)) >= OLDEST_PYTHON else oldest


def _running_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _readme(spec: BentoSpec) -> str:
    version = f" version {spec.model_version}" if spec.model_version else ""
    return (
        f"# {spec.model_name}{version}\n\n"
        f"MLflow model `{spec.model_uri}` ({spec.model_digest}), packaged by modelserve. It needs no registry.\n\n"
        "```\nbentoml serve .\ncurl -X POST http://127.0.0.1:3000/invocations"
        " -H 'content-type: application/json' -d @request.json\n```\n"
    )
