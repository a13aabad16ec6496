"""The child process of :mod:`.build`: ``python -P build_child.py ORDER.json``. Knows BentoML and nothing of ours.

It must not import this package: the ``mlflow_deploy_plugin`` that it finds is the copy inside the Bento.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def main(order: Path) -> None:
    """Build what the order says into ``BENTOML_HOME``."""
    _forget_editable_installs()
    import bentoml  # noqa: PLC0415  the whole reason for this process
    from bentoml.images import Image  # noqa: PLC0415

    job: dict[str, Any] = json.loads(order.read_text(encoding="utf-8"))
    os.chdir(job["context"])
    sys.path.insert(0, job["context"])
    image = Image(python_version=job["python_version"], lock_python_packages=False)
    image.python_packages(*job["requirements"])
    image.build_include(*job["build_include"])
    image.commands.clear()  # BentoML copies the image and adds its apt step again
    module, _, name = job["service"].partition(":")
    getattr(importlib.import_module(module), name).image = image
    bentoml.build(
        job["service"],
        name=job["name"],
        version=job["version"],
        description=job["description"],
        labels=job["labels"],
        include=["*"],
        build_ctx=job["context"],
    )


def _forget_editable_installs() -> None:
    """An editable install of modelserve would lend the copy the rooms that it lacks, and hide that it cannot stand."""
    sys.meta_path[:] = [
        each for each in sys.meta_path if not getattr(each, "__module__", "").startswith("__editable__")
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
