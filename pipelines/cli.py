"""``python -m pipelines VERB``: decides when what is served changes, and writes it down as commits.

Exit codes: 0 done or nothing to do, 1 the verdict is bad (a version is at fault), 2 you can fix it, 3 a program
failed, 75 try again later. Errors are one line on standard error.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from mlflow_deploy_plugin.errors import EXIT_BAD_VERDICT, EXIT_PROGRAM, EXIT_USER, ModelserveError
from pipelines.commands.doors import Doors

VERBS: Final = {
    "drift": "compare logged predictions with the training sample and with stable; revert a version that is at fault",
    "events": "move the event store's closed files to a URL, or measure a large one",
    "label": "add ground truth from a file to the event store, by request id",
    "accuracy": "how often each version was right, over time, by segment, with calibration",
    "package": "make the Bento of a model, and an archive of it",
    "promote": "one tick of a rollout: look, decide once, commit or not",
    "rollback": "take a version out of an endpoint's split by a new commit, and hold it",
    "alerts": "listen for Alertmanager, and take back what an alert accuses, once",
    "approve": "let a rollout go on that waits for a person, or that is frozen",
    "status": "where a rollout stands and what the next tick would do",
    "plan": "what the next tick would commit, and how many users would move",
    "notify": "tell people of decisions that need them, each once: by a webhook, or by an issue on GitHub",
    "registry": "let the model registry's aliases and tags follow what git says",
    "history": "an endpoint's audit log, rebuilt from git alone",
    "report": "one endpoint on one HTML page: split, decisions, failures, latency, accuracy, drift",
    "replay": "recompute a recorded decision from its evidence, byte for byte",
    "schema": "the fields of rollout.yaml, as JSON Schema",
    "simulate": "what the drift gate does on simulated traffic: reverts, delays, false alarms",
    "benchmark": "measure this server beside others, or judge what pytest-benchmark measured",
    "laws": "what the statistics promise, measured on simulated streams",
}
"""Verb and what it does; module ``pipelines.commands.VERB`` has it. Imported when a verb is named, not before."""

INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None, *, doors: Doors | None = None) -> int:
    """Run one verb; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(given)
    options = parser.parse_args(given)
    opened = doors or Doors.real(os.environ)
    try:
        return int(options.run(options, opened))
    except ModelserveError as error:
        opened.warn(f"pipelines {options.verb}: {' '.join(str(error).split())}")
        return error.exit_code
    except KeyboardInterrupt:
        opened.warn(f"pipelines {options.verb}: interrupted; what was committed stays, run it again to go on")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader left; the interpreter would say so a second time
        return EXIT_BAD_VERDICT
    except ModuleNotFoundError as error:
        opened.warn(f"pipelines {options.verb}: {error.name} is not installed; pip install 'modelserve[drift]'")
        return EXIT_USER
    except OSError as error:
        opened.warn(f"pipelines {options.verb}: {error}")
        return EXIT_PROGRAM


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of every verb; only the named one's arguments are filled in."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    named = next((word for word in given if word in VERBS), "")
    for verb, about in VERBS.items():
        if verb != named:
            verbs.add_parser(verb, help=about)
            continue
        module = importlib.import_module(f"pipelines.commands.{verb}")
        own = verbs.add_parser(
            verb,
            help=about,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(own)
        own.set_defaults(run=module.run)
    return parser
