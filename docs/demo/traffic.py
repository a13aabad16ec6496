"""Be the users: send people's features with their ids, and later tell what became of them.

``send`` posts one request a user over keep-alive connections and prints who was answered by which version;
``label`` posts the truth for each request id that ``send`` wrote down.
"""

import argparse
import http.client
import json
import sys
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

CONNECTIONS = 4


class Client:
    """One keep-alive connection a thread."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._local = threading.local()

    def post(self, path: str, payload: object, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one POST; any broken connection is an error of the test, not retried."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._address.netloc, timeout=30)
        connection = self._local.connection
        headers = {"content-type": "application/json", **headers}
        connection.request("POST", self._address.path + path, json.dumps(payload), headers)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def shifted(table: pd.DataFrame) -> pd.DataFrame:
    """The same people in a bad winter: more chronic disease, more physical limitation, poorer health."""
    sicker = table.sort_values("disea", ascending=False)[: len(table) // 2].sample(frac=1, random_state=3)
    return sicker.assign(physlm=1.0, fmde=sicker["fmde"] * 0.5)


def send(options: argparse.Namespace) -> int:
    """Post ``--users`` people, ``--repeat`` times each; 1 where a request failed or a user changed version."""
    table = pd.read_parquet(options.people)
    if options.shift:
        table = shifted(table)
    table = table.iloc[: options.users]
    features, labels = table.drop(columns="label"), table["label"].tolist()
    payloads = [{"dataframe_split": {"columns": list(features), "data": [row]}} for row in features.to_numpy().tolist()]
    client, versions, failures = Client(options.url), defaultdict(set), Counter()
    answered, written = Counter(), []

    def one(index: int) -> None:
        user = f"{options.prefix}{index}"
        for _ in range(options.repeat):
            status, headers, _ = client.post("/invocations", payloads[index], {"x-user-id": user})
            if status != http.HTTPStatus.OK:
                failures[status] += 1
                continue
            versions[user].add(headers["x-model-version"])
            answered[headers["x-model-version"]] += 1
            written.append({"request_id": headers["x-request-id"], "label": labels[index]})

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(one, range(len(payloads))))
    if options.remember:
        Path(options.remember).write_text(json.dumps(written))
    changed = sum(len(seen) > 1 for seen in versions.values())
    total = sum(answered.values())
    for version, count in sorted(answered.items()):
        print(f"  {version:<12} {count:>6} requests  {count / total:6.1%}")
    print(f"  {len(versions)} users, {changed} saw two versions; {sum(failures.values())} requests failed")
    return 1 if failures or (changed and not options.moving) else 0


def label(options: argparse.Namespace) -> int:
    """Post the truth of every remembered request, a hundred at a time."""
    written = json.loads(Path(options.remember).read_text())
    client = Client(options.url)
    for start in range(0, len(written), 100):
        status, _, body = client.post("/feedback", written[start : start + 100], {})
        if status != http.HTTPStatus.ACCEPTED:
            print(f"feedback was refused: {status} {body!r}", file=sys.stderr)
            return 1
    print(f"  {len(written)} labels arrived")
    return 0


def main() -> int:
    """Parse and run one verb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["send", "label"])
    parser.add_argument("--url", required=True, help="address of the endpoint")
    parser.add_argument("--people", help="Parquet table of features and label")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=1, help="requests of each user")
    parser.add_argument("--prefix", default="user-", help="begins every user id")
    parser.add_argument("--shift", action="store_true", help="the bad winter")
    parser.add_argument("--moving", action="store_true", help="the split is being moved meanwhile")
    parser.add_argument("--remember", help="file of request ids and labels")
    options = parser.parse_args()
    return send(options) if options.verb == "send" else label(options)


if __name__ == "__main__":
    sys.exit(main())
