"""The Bento's side of the event store: tables ``predictions`` and ``labels``.

The event loop copies onto a page, or appends a reference to a bounded queue, and goes on; one daemon thread per table,
started by the first event, writes what was queued every ``log_flush_s``, under a dotted name which is renamed when the
file is whole and durable. Predictions are written as they lie in memory where :mod:`.convert` makes tables of them
(``log_raw_dir``: the agent says so); else the thread imports pyarrow and makes the tables itself. Hence:

- A process that is killed loses at most the events of one flush interval, and never leaves a torn file to readers.
- A full queue, a full disk or a folder that cannot be written costs log entries, never predictions: they are counted
  by reason (``model_log_dropped_total{table,reason}``) and told once a minute.
- A stop that is graceful calls ``close``, which flushes.
- Whether a request is logged (``log_sample``) follows from its id alone, so that all workers and both arms agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.events.drops import OnDrop
    from mlflow_deploy_plugin.serving.record import LabelSink, Recorder
    from mlflow_deploy_plugin.serving.signature import Signature
    from mlflow_deploy_plugin.spec.settings import ServingSettings


def open_recorder(
    settings: ServingSettings, *, signature: Signature, model_digest: str, on_drop: OnDrop | None = None
) -> Recorder:
    """The prediction log that ``settings`` ask for; one that forgets where they ask for none."""
    if settings.log == "off" or not settings.events_dir or settings.log_sample <= 0:
        from mlflow_deploy_plugin.serving.record import NullRecorder  # noqa: PLC0415

        return NullRecorder()
    from mlflow_deploy_plugin.serving.events.predictions import PredictionLog  # noqa: PLC0415

    return PredictionLog.open(settings, signature=signature, model_digest=model_digest, on_drop=on_drop)


def open_labels(settings: ServingSettings, *, on_drop: OnDrop | None = None) -> LabelSink:
    """The sink of ground truth; one that keeps it in memory alone where there is no event store."""
    if not settings.events_dir:
        from mlflow_deploy_plugin.serving.record import MemoryLabels  # noqa: PLC0415

        return MemoryLabels()
    from mlflow_deploy_plugin.serving.events.labels import LabelLog  # noqa: PLC0415

    return LabelLog.open(settings, on_drop=on_drop)
