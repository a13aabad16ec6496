import os
from pathlib import Path

from mlflow_deploy_plugin.packaging import digest


def _folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_a_folder_is_its_paths_and_contents(tmp_path: Path) -> None:
    files = {"a": b"1", "b/c": b"2"}
    first = digest.of_folder(_folder(tmp_path / "x", files))
    assert first == digest.of_folder(_folder(tmp_path / "y", dict(reversed(files.items()))))
    assert first != digest.of_folder(_folder(tmp_path / "renamed", {"a": b"1", "b/d": b"2"}))
    assert first != digest.of_folder(_folder(tmp_path / "changed", {"a": b"1", "b/c": b"3"}))
    assert first != digest.of_folder(_folder(tmp_path / "moved", {"a": b"12", "b/c": b""}))


def test_times_and_empty_folders_do_not_count(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "x", {"a": b"1"})
    before = digest.of_folder(folder)
    os.utime(folder / "a", (0, 0))
    (folder / "empty").mkdir()
    assert digest.of_folder(folder) == before


def test_a_digest_is_what_sha256sum_prints_of_the_listing(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "x", {"a": b"1"})
    listing = f"{digest.of_file(folder / 'a').removeprefix('sha256:')}  a"
    assert digest.of_folder(folder) == digest.of_lines([listing])
