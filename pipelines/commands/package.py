"""Make the Bento of a model, and with --out an archive of it that `bentoml import` reads.

The same model makes the same Bento, and a second time nothing is built. Changes no repository. Exit codes: 0 done or
there already, 2 what you can fix, 3 a program failed, 75 try again later.
"""

import argparse
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE

if TYPE_CHECKING:
    from mlflow_deploy_plugin.packaging import Packaged
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``package``."""
    parser.add_argument("--model-uri", required=True, metavar="URI", help="model, such as models:/churn/4")
    parser.add_argument("--env-manager", choices=("local", "uv"), default="local", help="what the model will run in")
    parser.add_argument("--reference", default="", metavar="PATH", help="training sample, CSV or Parquet")
    parser.add_argument(
        "--compile", choices=("auto", "off"), default="auto", help="serve a compiled form (default auto)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the archive (default: none is written)")
    parser.add_argument("--summary", default="", metavar="FILE", help="add a Markdown table to FILE")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Package, archive, tell."""
    from mlflow_deploy_plugin.packaging import PackagingOptions, package  # noqa: PLC0415  MLflow, BentoML
    from pipelines.commands import summary  # noqa: PLC0415

    config = PackagingOptions(env_manager=options.env_manager, reference=options.reference, compile=options.compile)
    packaged = package(options.model_uri, home=doors.home, config=config)
    for warning in packaged.warnings:
        doors.warn(warning)
    doors.say(f"{'packaged' if packaged.is_new else 'unchanged'}: {packaged.tag}")
    if options.out:
        doors.say(f"archive: {_archive(packaged, options.out)}")
    summary.append(options.summary, _table(packaged))
    return EXIT_DONE


def _archive(packaged: "Packaged", folder: str) -> str:
    """Path of the archive.

    Raises:
        ConfigError: it cannot be written.
    """
    from pathlib import Path  # noqa: PLC0415
    from shutil import make_archive  # noqa: PLC0415

    from mlflow_deploy_plugin.errors import ConfigError  # noqa: PLC0415

    base = Path(folder).expanduser() / packaged.tag.replace(":", "-")
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        return make_archive(str(base), "gztar", root_dir=packaged.path)
    except OSError as error:
        raise ConfigError(f"archive {base} cannot be written ({error.strerror}); give another --out") from error


def _table(packaged: "Packaged") -> str:
    from pipelines.commands.summary import row  # noqa: PLC0415

    spec = packaged.spec
    facts = {
        "Bento": packaged.tag,
        "model": spec.model_uri,
        "digest": spec.model_digest,
        "flavor": spec.flavor,
        "run": spec.run_id,
        **{f"warning {number}": text for number, text in enumerate(packaged.warnings, start=1)},
    }
    lines = [row(name, value) for name, value in facts.items() if value]
    return "\n".join(["## Package", "", row("what", "which"), row("---", "---"), *lines, ""])
