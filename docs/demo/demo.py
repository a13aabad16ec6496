"""The main job from beginning to end on this machine, by the commands that a user types.

Everything lives under ``.demo``: an MLflow registry in SQLite, modelserve's home, a clone of the GitOps repository
and the drift reports. What was started is stopped at the end, also on Ctrl-C; a second run begins anew.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".demo"
CLONE = DEMO / "gitops"
ROUTE = Path("stages/production/visits/route.yaml")
TRAFFIC = "python docs/demo/traffic.py"
BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
BAD_VERDICT = 1


class DemoError(Exception):
    """A command did not do what the story says."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """The user's environment, with the registry, the home and the port of this demo."""
    port = os.environ.get("MODELSERVE_PORT") or str(free_port())
    return os.environ | {
        "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{DEMO / 'mlflow.db'}",
        "MODELSERVE_HOME": str(DEMO / "home"),
        "MODELSERVE_PORT": port,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
    }


class Demo:
    """Types commands and tells the story between them."""

    def __init__(self) -> None:
        self.environment = environment()
        self.url = f"http://127.0.0.1:{self.environment['MODELSERVE_PORT']}/endpoints/visits"
        self.step_number = 0
        self.began = time.monotonic()

    def step(self, title: str) -> None:
        """Begin the next step."""
        self.step_number += 1
        print(
            f"\n{BOLD}{self.step_number}. {title}{END}  {DIM}({time.monotonic() - self.began:.0f} s){END}", flush=True
        )

    def say(self, text: str) -> None:
        """One line of the story."""
        print(f"   {text}", flush=True)

    def type(self, command: str, *, folder: Path = ROOT, expect: tuple[int, ...] = (0,)) -> None:
        """Print ``command`` as a user types it, run it, and show what it prints."""
        print(f"{DIM}${END} {command}", flush=True)
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=self.environment, check=False)
        if done.returncode not in expect:
            raise DemoError(f"{command!r} ended with {done.returncode}, not {' or '.join(map(str, expect))}")

    def read(self, command: str) -> str:
        """What a command prints, unseen by the audience."""
        arguments = shlex.split(command)
        return subprocess.run(
            arguments, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    @contextlib.contextmanager
    def background(self, command: str):  # noqa: ANN201  a context manager of the standard library's making
        """Run ``command`` beside the block and wait for its end; it must succeed."""
        print(f"{DIM}${END} {command} &", flush=True)
        process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=ROOT, env=self.environment)
        try:
            yield
            if code := process.wait(timeout=120):
                raise DemoError(f"{command!r} ended with {code}")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    def wait_applied(self, commit: str) -> float:
        """Seconds until the agent proves that ``commit`` is what the gateway serves."""
        began = time.monotonic()
        status = Path(self.environment["MODELSERVE_HOME"], "agent/status.json")
        while json.loads(status.read_text())["applied"] != commit:
            if time.monotonic() - began > 30:  # noqa: PLR2004  seconds; a push that takes longer is a failure
                raise DemoError(f"{commit} was not applied within 30 s")
            time.sleep(0.01)
        return time.monotonic() - began


def train(demo: Demo) -> None:
    """Step 1."""
    demo.step("Train and register: the RAND Health Insurance Experiment, 20,190 rows that statsmodels ships")
    demo.type(f"python docs/demo/train.py {DEMO.relative_to(ROOT)}")
    demo.say("Version 2 looks better on its own hold-out. It is not: its disease index was per month, not per year.")


def deploy(demo: Demo) -> None:
    """Step 2."""
    demo.step("Deploy version 1, and a torch model beside it")
    demo.type("mlflow deployments create -t modelserve --name visits -m models:/visits/1")
    demo.type("mlflow deployments predict -t modelserve --name visits -I .demo/sample.json")
    demo.type(
        f"curl -s {demo.url}/invocations -H 'content-type: application/json'"
        """ -d "{\\"dataframe_records\\": $(cat .demo/sample.json)}"; echo"""
    )
    demo.type("mlflow deployments create -t modelserve --name visits-torch -m models:/visits-torch/1")
    demo.type(
        f"curl -s {demo.url}-torch/invocations -H 'content-type: application/json'"
        """ -d '{"inputs": [[0, 1, 6.9, 0, 0, 13.7, 1, 0, 0]]}'; echo"""
    )


def canary(demo: Demo) -> None:
    """Step 3."""
    demo.step("Version 2 joins as a canary with 10 % of the users")
    demo.type(
        "mlflow deployments create -t modelserve --name visits-v2 -m models:/visits/2 --endpoint visits -C weight=10"
    )
    demo.type(f"{TRAFFIC} send --url {demo.url} --people .demo/people.parquet --users 1500 --repeat 2")


def push(demo: Demo) -> None:
    """Step 4."""
    demo.step("Anybody's git push moves the split: 10 % becomes 40 %, under traffic")
    repository = json.loads(demo.read("modelserve status --json"))["repository"]
    demo.type(f"git clone -q {repository} {CLONE.relative_to(ROOT)}")
    edit = f"sed -i 's/weight: 900$/weight: 600/; s/weight: 100$/weight: 400/' {ROUTE}"
    stream = f"{TRAFFIC} send --url {demo.url} --people .demo/people.parquet --users 3000 --repeat 2 --moving"
    with demo.background(stream):
        time.sleep(3)
        demo.type(f"{edit} && git diff -U0 | grep '^[-+] '", folder=CLONE)
        demo.type("git -c user.name=Ada -c user.email=ada@localhost commit -qam 'visits: 40 % for v2'", folder=CLONE)
        demo.type("git push -q", folder=CLONE)
        seconds = demo.wait_applied(demo.read(f"git -C {CLONE} rev-parse HEAD").strip())
        demo.say(f"the gateway served that commit {seconds:.2f} s after the push")
    demo.type("mlflow deployments get -t modelserve --name visits-v2")


def drift(demo: Demo) -> None:
    """Step 5."""
    demo.step("A bad winter: the people who come are sicker, and both versions see them")
    demo.type(
        f"{TRAFFIC} send --url {demo.url} --people .demo/people.parquet --users 4000 --prefix winter-"
        " --shift --remember .demo/written.json"
    )
    demo.type("python -m pipelines drift --endpoint visits --last 4000 --out .demo/report", expect=(0, BAD_VERDICT))
    demo.step("The truth arrives, by request id: one of the two versions is worse on the same people")
    demo.type(f"{TRAFFIC} label --url {demo.url} --remember .demo/written.json")
    time.sleep(2)
    demo.type(
        "python -m pipelines drift --endpoint visits --last 4000 --out .demo/report-labels --revert",
        expect=(0, BAD_VERDICT),
    )
    demo.type(f"{TRAFFIC} send --url {demo.url} --people .demo/people.parquet --users 500")


def story(demo: Demo) -> None:
    """Step 6."""
    demo.step("The story, from git alone")
    demo.type("git pull -q && git log --oneline -- stages/production/visits", folder=CLONE)
    demo.type("git log -1 --format=%B", folder=CLONE)
    for report in sorted(DEMO.glob("report*/*.html")):
        demo.say(f"report: {report}")


def stop(demo: Demo) -> None:
    """Stop the agent, Envoy and the Bentos, if they were ever started."""
    if (DEMO / "home").exists():
        demo.type("modelserve stop")


def main() -> int:
    """Tell the whole story; clean up in any case."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    demo = Demo()
    stop(demo)
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    try:
        for part in (train, deploy, canary, push, drift, story):
            part(demo)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        stop(demo)
    print(f"\n{BOLD}done in {time.monotonic() - demo.began:.0f} s{END}; everything is under {DEMO}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
