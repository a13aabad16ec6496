"""Where an event store lies: a folder of this machine, or a URL that fsspec knows. Lists and looks; knows no SQL."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Protocol

from mlflow_deploy_plugin.agent.compaction import replaced_by
from mlflow_deploy_plugin.agent.shipping import open_url

if TYPE_CHECKING:
    import duckdb

FOOTER: Final = 8  # bytes: length of the metadata, then the magic word
_MAGIC: Final = b"PAR1"


class EventRoot(Protocol):
    """One event store. A file is named as DuckDB reads it."""

    def files(self, folder: PurePosixPath) -> Sequence[str]:
        """Parquet files below ``folder``, sorted; dotted ones are somebody's unfinished work."""
        ...

    def is_whole(self, file: str) -> bool:
        """Whether its end is that of a Parquet file; also of one that vanished, since another listing will tell."""
        ...

    def replaced_by(self, file: str) -> Sequence[str]:
        """Names that a merged file stands for."""
        ...

    def exists(self, file: str) -> bool:
        """Whether it is there now."""
        ...

    def attach(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Let ``connection`` read the files."""
        ...


class LocalRoot:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def files(self, folder: PurePosixPath) -> Sequence[str]:
        """See :class:`EventRoot`."""
        return sorted(map(str, (self._folder / folder).rglob("[!.]*.parquet")))

    def is_whole(self, file: str) -> bool:
        """See :class:`EventRoot`."""
        try:
            with Path(file).open("rb") as opened:
                size = opened.seek(0, 2)
                opened.seek(max(0, size - FOOTER))
                return _is_footer(opened.read(), size)
        except FileNotFoundError:
            return not Path(file).is_symlink()  # one that leads nowhere is there at the next listing too
        except OSError:  # a folder of that name, or somebody else's
            return False

    def replaced_by(self, file: str) -> Sequence[str]:
        """See :class:`EventRoot`."""
        return replaced_by(Path(file))

    def exists(self, file: str) -> bool:
        """See :class:`EventRoot`."""
        return Path(file).exists()

    def attach(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """DuckDB reads folders by itself."""


class RemoteRoot:
    """A URL: DuckDB reads it through fsspec, since its own extensions cannot be downloaded everywhere."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._fs, self._base = open_url(url)

    def __str__(self) -> str:
        return self._url

    def files(self, folder: PurePosixPath) -> Sequence[str]:
        """See :class:`EventRoot`."""
        self._fs.invalidate_cache()
        found = self._fs.find(f"{self._base}/{folder}")
        names = (str(name) for name in found if _is_shown(str(name).rpartition("/")[2]))
        return sorted(self._fs.unstrip_protocol(name) for name in names)

    def is_whole(self, file: str) -> bool:
        """See :class:`EventRoot`."""
        try:
            size = int(self._fs.info(file)["size"])
            return _is_footer(self._fs.tail(file, FOOTER) if size > FOOTER else b"", size)
        except FileNotFoundError:
            return True

    def replaced_by(self, file: str) -> Sequence[str]:
        """See :class:`EventRoot`."""
        with self._fs.open(file, "rb") as opened:
            return replaced_by(opened)

    def exists(self, file: str) -> bool:
        """See :class:`EventRoot`."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(file))

    def attach(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """See :class:`EventRoot`."""
        connection.register_filesystem(self._fs)


def root_of(place: str | Path) -> EventRoot:
    """The store at a folder or a URL.

    >>> str(root_of("/var/events"))
    '/var/events'

    Raises:
        ConfigError: the URL is none that fsspec knows, or its package is not installed.
    """
    text = str(place)
    return RemoteRoot(text) if "://" in text else LocalRoot(Path(text))


def _is_shown(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(".")


def _is_footer(tail: bytes, size: int) -> bool:
    return size > 2 * FOOTER and tail[4:] == _MAGIC and int.from_bytes(tail[:4], "little") < size
