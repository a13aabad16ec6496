"""The words of the ``modelserve`` command and their help. Reads them; runs nothing."""

import argparse
from typing import Final, NoReturn

from mlflow_deploy_plugin.errors import EXIT_USER

TARGET: Final = "modelserve"
_CONFIG_HELP: Final = "a key of `mlflow deployments help -t modelserve`; repeatable"


class Parser(argparse.ArgumentParser):
    """Refuses on one line, with the way to the help."""

    def error(self, message: str) -> NoReturn:
        """The refusal."""
        self.exit(EXIT_USER, f"Error: {message}; see `{self.prog} --help`\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(prog="modelserve", description="Serve MLflow models as git says. Deploy with `mlflow deployments`.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    _agent_commands(commands)
    _endpoint_commands(commands)
    _predict(commands)
    commands.add_parser("version", help="print the version")
    return parser


_Commands = argparse._SubParsersAction  # noqa: SLF001  argparse has no public name for it


def _agent_commands(commands: "_Commands[Parser]") -> None:
    commands.add_parser("agent", help="run this machine's agent in the foreground", add_help=False)  # reads its own
    status = commands.add_parser("status", help="what the agent serves, and which commit is live")
    status.add_argument("--json", action="store_true", help="the whole status as JSON")
    logs = commands.add_parser("logs", help="the agent's log, or a deployment's")
    logs.add_argument("name", nargs="?", default="", help="a deployment; left out: the agent itself")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("-n", "--lines", type=_count, default=100, help="lines from the end (default 100)")
    commands.add_parser("stop", help="stop the agent and everything it serves")


def _endpoint_commands(commands: "_Commands[Parser]") -> None:
    endpoints = commands.add_parser("endpoints", help="list the endpoints of a target")
    _target(endpoints)
    endpoints.add_argument("--json", action="store_true", help="as JSON")
    create = commands.add_parser(
        "create-endpoint", help="make an endpoint with its first deployment (MLflow's own command is broken)"
    )
    create.add_argument("name", help="the endpoint, and its first deployment unless --name says otherwise")
    create.add_argument("-m", "--model-uri", required=True, help="model of the first deployment")
    create.add_argument("--name", dest="deployment", default="", help="name of the first deployment")
    create.add_argument("-C", "--config", action="append", default=[], metavar="KEY=VALUE", help=_CONFIG_HELP)
    _target(create)
    history = commands.add_parser("history", help="what was done to an endpoint, newest first")
    history.add_argument("name", help="the endpoint")
    history.add_argument("-n", "--lines", type=_count, default=20, help="entries (default 20)")
    history.add_argument("--json", action="store_true", help="as JSON, one entry a line")
    _target(history)


def _predict(commands: "_Commands[Parser]") -> None:
    predict = commands.add_parser(
        "predict",
        help="send a file as it is: CSV, Parquet, JSON of any shape, params",
        description="Send a request body as `curl --data-binary @FILE` would, and print strict JSON.",
    )
    who = predict.add_mutually_exclusive_group(required=True)
    who.add_argument("--name", help="a deployment, outside the split")
    who.add_argument("--endpoint", help="an endpoint; its split chooses the deployment")
    predict.add_argument("-I", "--input-path", default="-", metavar="FILE", help="the body; - is standard input")
    predict.add_argument("--content-type", default="", help="left out: told from the file's ending; JSON for -")
    predict.add_argument("--user", default="", help="x-user-id; a user keeps a version")
    predict.add_argument("-O", "--output-path", default="-", metavar="FILE", help="where the answer goes")
    _target(predict)


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-t", "--target", default=TARGET, help=f"target URI (default {TARGET})")


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
