"""Exemplars: for a bucket of a histogram, the id of the request that was counted there last.

An operator finds the lines of a slow request in the log by it. The workers of a gunicorn share
their exemplars in files under PROMETHEUS_MULTIPROC_DIR: one of each worker, and one of all workers
that have ended. A worker whose file has no room on the disk tells of its exemplars by itself alone.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.samples import Exemplar

from .shared_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

    Bucket = tuple[str, frozenset[tuple[str, str]]]  # name and labels of its sample

logger = logging.getLogger("shop.metrics")

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
FILE = "exemplars_{}.json"
ENDED = FILE.format("ended")


class BucketExemplar(NamedTuple):
    name: str  # of the bucket's sample
    labels: dict[str, str]
    request_id: str
    value: float
    at: float  # UNIX time

    @property
    def bucket(self) -> Bucket:
        return self.name, frozenset(self.labels.items())


_latest: dict[Bucket, BucketExemplar] = {}  # of this process; as many as there are buckets
_written: list[BucketExemplar] = []  # in its file


def keep(name: str, labels: dict[str, str], request_id: str, value: float) -> None:
    """Keep a request as the exemplar of a bucket, in place of the one before."""
    one = BucketExemplar(name, labels, request_id, value, round(time.time(), 3))
    _latest[one.bucket] = one


def share() -> None:
    """Write the exemplars of this process to its file, if there are new ones."""
    global _written  # noqa: PLW0603  (of the process)
    found = list(_latest.values())
    if DIRECTORY not in os.environ or found == _written:
        return
    try:
        _replace(Path(os.environ[DIRECTORY]) / FILE.format(os.getpid()), found)
    except OSError as error:
        logger.debug("Exemplars are not shared: %s", error)
    else:
        _written = found


def merge(directory: Path, process: int) -> None:
    """Add the exemplars of a process that has ended to those of all that have.

    Raises OSError without room.
    """
    own, ended = directory / FILE.format(process), directory / ENDED
    own.with_suffix(".draft").unlink(missing_ok=True)  # of a worker that was killed
    if own.exists():
        _replace(ended, _newest([*_read(ended), *_read(own)]).values())
        own.unlink()


def attach(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield metrics with the exemplars of all processes on their samples."""
    found = _newest([*_read_all(), *_latest.copy().values()])
    names = {one.name for one in found.values()}
    for metric in metrics:
        if f"{metric.name}_bucket" in names:
            metric.samples = [_with_exemplar(sample, found) for sample in metric.samples]
        yield metric


def _with_exemplar(sample: Sample, exemplars: Mapping[Bucket, BucketExemplar]) -> Sample:
    found = exemplars.get((sample.name, frozenset(sample.labels.items())))
    if found is None:
        return sample
    labels = {"request_id": found.request_id}
    return sample._replace(exemplar=Exemplar(labels, found.value, found.at))


def _newest(exemplars: Iterable[BucketExemplar]) -> dict[Bucket, BucketExemplar]:
    return {one.bucket: one for one in sorted(exemplars, key=lambda one: one.at)}


def _read_all() -> Iterator[BucketExemplar]:
    if DIRECTORY in os.environ:
        directory = Path(os.environ[DIRECTORY])
        for path in directory.glob(FILE.format("[0-9]*")):
            yield from _read(path)
        yield from _read(directory / ENDED)  # last: a worker may end meanwhile


def _read(path: Path) -> list[BucketExemplar]:
    """Return the exemplars in a file; none if it is missing, or has other content."""
    try:
        return [
            BucketExemplar(name, dict(labels), str(request_id), float(value), float(at))
            for name, labels, request_id, value, at in json.loads(path.read_bytes())
        ]
    except (OSError, ValueError, TypeError):
        return []


def _replace(path: Path, exemplars: Iterable[BucketExemplar]) -> None:
    replace_file(path, json.dumps(list(exemplars)).encode())
