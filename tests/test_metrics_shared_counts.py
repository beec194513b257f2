"""The metrics that workers share: with full disks, ended workers, and concurrent scrapes."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import signal
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, await_true

from shop import shared_counts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Service

    Serve = Callable[..., Service]

pytestmark = pytest.mark.slow

ROOM = 65_536  # bytes of a file: the first that it gets, and no more
COUNT = """
import os, sys
from shop.prometheus import Counter, Gauge, Histogram
counter = Counter("counted", "Counted.", ["of"])
gauge = Gauge("here", "Here.", multiprocess_mode="livesum")
histogram = Histogram("took", "Took.", buckets=(1, 2))
for n in range(int(sys.argv[1])):
    counter.labels(f"{n}" * int(sys.argv[2])).inc(n)
gauge.set(1)
histogram.observe(1.5)
print(os.getpid(), counter.labels("0")._value.get())
"""


def count(directory: Path, labels: int = 1, width: int = 1, **options: Any) -> tuple[int, str]:
    """Count in a process of its own; return its number, and what it has said."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    run = subprocess.run(
        [sys.executable, "-c", COUNT, str(labels), str(width)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    assert run.returncode == 0, (run.returncode, run.stderr)
    return int(run.stdout.split()[0]), run.stderr


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(shared_counts, "_ended", set())
    monkeypatch.setattr(shared_counts, "_warned", set())
    return tmp_path


def shared() -> dict[str, float]:
    """Return the samples of a scrape, without the gauges of running processes."""
    found = shared_counts.registry()
    assert found
    return {
        f"{one.name}{sorted(one.labels.items())}": one.value
        for metric in found.collect()
        if metric.type != "gauge"
        for one in metric.samples
    }


def test_a_process_goes_on_counting_when_its_file_has_no_space(directory: Path) -> None:
    """The process logs it once, and a scrape still has the counts that fitted."""
    _, said = count(directory, 300, 300, preexec_fn=limit_files)
    assert said.count("counted in this process alone") == 1
    [file] = directory.glob("counter_*.db")
    assert file.stat().st_size == ROOM
    assert shared()["counted_total[('of', '1" + "1" * 299 + "')]"] == 1


def test_a_file_has_all_its_blocks_before_it_is_used(directory: Path) -> None:
    """A page without a block kills the process that writes to it when the disk is full."""
    count(directory, 300, 300)
    for file in directory.glob("*.db"):
        assert file.stat().st_blocks * 512 >= file.stat().st_size


@pytest.mark.parametrize("place", ["missing", "file"])
def test_without_a_directory_a_process_counts_alone(
    directory: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (directory / "file").write_text("")
    _, said = count(directory / place, 300, 300)
    assert said.count("counted in this process alone") == 1
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory / place))
    assert shared_counts.registry() is None


def test_the_counts_of_processes_that_ended_are_kept_in_one_file(directory: Path) -> None:
    for _ in range(3):
        process, _ = count(directory, 4)
        before = shared()
        shared_counts.merge_counts(process)
        assert shared() == before
    assert before["counted_total[('of', '3')]"] == 9
    assert before["took_count[]"] == 3
    assert before["took_bucket[('le', '2.0')]"] == 3
    assert {one.name for one in directory.iterdir()} == {
        "counter_ended.db", "histogram_ended.db", "lock",
    }  # fmt: skip


def test_a_process_with_the_number_of_one_that_ended_counts_on(directory: Path) -> None:
    process, _ = count(directory, 4)
    shared_counts.merge_counts(process)
    shared_counts.merge_counts(process)  # as at the end of the next one, which had no counts
    assert shared()["counted_total[('of', '3')]"] == 3


def test_counts_are_not_merged_during_a_scrape(directory: Path) -> None:
    """A scrape would have them twice or not at all. They are merged with the next ones."""
    first, _ = count(directory, 4)
    with (directory / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        shared_counts.merge_counts(first)
        assert list(directory.glob(f"*_{first}.db"))
        assert shared()["counted_total[('of', '3')]"] == 3
    second, _ = count(directory, 4)
    shared_counts.merge_counts(second)
    assert not list(directory.glob("*[0-9].db"))
    assert shared()["counted_total[('of', '3')]"] == 6


def test_counts_that_cannot_be_merged_stay(directory: Path) -> None:
    process, _ = count(directory, 4)
    (directory / "counter_ended.draft").mkdir()
    shared_counts.merge_counts(process)
    assert shared()["counted_total[('of', '3')]"] == 3


def test_a_new_empty_file_of_counts_is_left_out(directory: Path) -> None:
    count(directory, 4)
    (directory / "counter_1.db").touch()
    (directory / "counter_2.db").write_bytes(bytes(ROOM))
    assert shared()["counted_total[('of', '3')]"] == 3


HEAD = struct.pack("ii", 200, 0)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("ii", 1 << 20, 0),
        b"a text of somebody",
        HEAD + struct.pack("i", 1 << 30) + bytes(188),
        HEAD + struct.pack("i", 12) + b"\xff" * 12 + bytes(176),
        HEAD + struct.pack("i", 12) + b"not JSON    " + bytes(176),
        HEAD + struct.pack("i", 12) + b"[1, 2, 3, 4]" + bytes(176),
        struct.pack("ii", -1, 0),
    ],
)
def test_a_file_with_other_content_is_ignored(directory: Path, content: bytes) -> None:
    """An error would end gunicorn's master, or make each scrape a 500."""
    process, _ = count(directory, 4)
    stranger = directory / f"histogram_{process}.db"
    stranger.write_bytes(content)
    assert shared()["counted_total[('of', '3')]"] == 3
    shared_counts.merge_counts(process)
    assert shared()["counted_total[('of', '3')]"] == 3
    assert not stranger.exists()


def test_files_of_a_process_that_has_the_number_of_one_that_ended_stay(directory: Path) -> None:
    own, _ = count(directory, 4)
    (directory / f"counter_{own}.db").rename(directory / f"counter_{os.getpid()}.db")
    shared_counts._ended.add(os.getpid())  # could not be merged when it ended
    shared_counts.merge_counts(own)
    assert (directory / f"counter_{os.getpid()}.db").exists()
    assert shared()["counted_total[('of', '3')]"] == 3


def test_workers_that_end_leave_their_counts_and_no_files(serve: Serve, directory: Path) -> None:
    service = serve(WEB_CONCURRENCY="1", PROMETHEUS_MULTIPROC_DIR=str(directory))
    for n in range(1, 4):
        assert service.get("/products").ok
        [worker] = workers(service)
        os.kill(worker, signal.SIGKILL)
        await_true(lambda: worker not in workers(service), service.log)  # noqa: B023
        await_true(lambda: requests_told(service) == n, service.log)  # noqa: B023
    assert len(list(directory.glob("counter_*.db"))) <= 3  # the master, the worker, all that ended


def workers(service: Service) -> list[int]:
    return sorted({int(n) for n in re.findall(r"Booting worker with pid: (\d+)", text(service))} - {
        int(n) for n in re.findall(r"Worker \(pid:(\d+)\) was sent SIGKILL", text(service))
    })  # fmt: skip


def text(service: Service) -> str:
    return service.log.read_text()


def requests_told(service: Service) -> float:
    found = re.search(
        r'^shop_http_requests_total\{.*route="/products".*\} (.*)$',
        service.get("/metrics").text,
        re.MULTILINE,
    )
    return float(found[1]) if found else 0


@pytest.mark.parametrize("place", ["missing", "a file"])
def test_a_service_without_disk_space_for_its_counts_serves(
    serve: Serve, tmp_path: Path, place: str
) -> None:
    """Each worker reports its own counts."""
    directory = tmp_path / place
    if place == "a file":
        directory.write_text("")
    service = serve(WEB_CONCURRENCY="1", PROMETHEUS_MULTIPROC_DIR=str(directory))
    assert service.get("/products").ok
    assert requests_told(service) == 1
