"""Listen for Alertmanager, and take back what an alert accuses: one rollback commit, however often it is sent.

An alert acts where its rule says `remedy: rollback` and its label `deployment` or `model_version` names a version that
has users and is a canary, or became stable within --recent. Left to a person is a version that has long been stable or
that a rollback went back to, and one whose model was replaced in place after the alert began to fire.
An alert is known by its fingerprint and by when it began to fire, and the repository remembers: nothing is done twice,
also by a second listener or after a restart.

Binds 127.0.0.1 unless told otherwise; any other address needs a token in MODELSERVE_ALERTS_TOKEN, which Alertmanager
sends by `http_config: {authorization: {credentials_file: …}}`. Runs until it is interrupted.
"""

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from mlflow_deploy_plugin.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipelines.commands.doors import Doors

TOKEN_VARIABLE: Final = "MODELSERVE_ALERTS_TOKEN"  # noqa: S105  the name, not the secret
DEFAULT_ADDRESS: Final = "127.0.0.1:9098"
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``alerts``."""
    parser.add_argument(
        "--listen", default=DEFAULT_ADDRESS, metavar="HOST:PORT", help=f"address (default {DEFAULT_ADDRESS})"
    )
    parser.add_argument("--target", default="modelserve", metavar="URI", help="repository and stage (default: ours)")
    parser.add_argument(
        "--recent", default="24h", metavar="SPAN", help="how long a new stable may be taken back (default 24h)"
    )
    parser.add_argument("--hold", metavar="SPAN", help="how long automation leaves it out (default: until approved)")


def run(options: argparse.Namespace, doors: "Doors") -> int:
    """Listen until interrupted.

    Raises:
        ConfigError: the address cannot be had, or is open to others without a token.
    """
    from pipelines.commands.alert_acts import Acts  # noqa: PLC0415  a second
    from pipelines.commands.durations import duration  # noqa: PLC0415
    from pipelines.monitoring.webhook import PATH, Receiver  # noqa: PLC0415

    host, port = address_of(options.listen)
    token = doors.environment.get(TOKEN_VARIABLE, "")
    if host not in LOOPBACK and not token:
        raise ConfigError(f"--listen {options.listen} is open to others; set {TOKEN_VARIABLE}, or listen on 127.0.0.1")
    hold = duration(options.hold) if options.hold else None
    acts = Acts(doors=doors, target=options.target, recent=duration(options.recent), hold=hold)
    try:
        receiver = Receiver(host.strip("[]"), port, token=token, act=acts.act)
    except OSError as error:
        raise ConfigError(f"--listen {options.listen}: {error.strerror or error}; choose another address") from error
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_DONE))
    doors.say(f"listening on http://{receiver.address}{PATH} (pid {os.getpid()})")
    receiver.serve()
    return EXIT_DONE


def address_of(text: str) -> tuple[str, int]:
    """Host and port.

    >>> address_of("127.0.0.1:9098")
    ('127.0.0.1', 9098)

    Raises:
        ConfigError: it is no ``HOST:PORT``.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  the last port
        raise ConfigError(f"--listen {text!r} is not HOST:PORT; write {DEFAULT_ADDRESS}")
    return host, int(port)
