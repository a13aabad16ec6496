"""The schema of rollout.yaml as JSON Schema: every field with its unit and its reason."""

import argparse
import json
from typing import TYPE_CHECKING

from mlflow_deploy_plugin.errors import EXIT_DONE

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``schema`` takes none."""
    parser.epilog = "Editors that know JSON Schema complete and check rollout.yaml with it."


def run(options: argparse.Namespace, doors: "Doors") -> int:  # noqa: ARG001  takes no arguments
    """Print the schema."""
    from pipelines.promotion.schema import RolloutForm  # noqa: PLC0415

    doors.say(json.dumps(RolloutForm.model_json_schema(), indent=1))
    return EXIT_DONE
