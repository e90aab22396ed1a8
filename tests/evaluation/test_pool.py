"""Jobs in processes and on a real Dask cluster: everything once, whatever becomes of the workers."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import Cluster
from pool_work import open_broken, open_crash, open_fault, open_square

from siamtrack.errors import ConfigError, DataError, InputError
from siamtrack.evaluation.jobs import Advanced, Event, Failed, Finished, Started, Workers
from siamtrack.evaluation.pool import run_jobs


class Notes:
    """All events of a run, and a folder for what the work says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "notes"
        self.folder.mkdir(exist_ok=True)
        self.events: list[Any] = []

    def __call__(self, event: Event[int, Any]) -> None:
        self.events.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def values(self) -> dict[int, int]:
        return {event.job: event.value[0] for event in self.of(Finished)}

    def begun(self) -> dict[int, int]:
        """How often each job was begun."""
        files = self.folder.glob("job-*")
        return {int(path.name.removeprefix("job-")): len(path.read_text().splitlines()) for path in files}


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


@pytest.mark.parametrize("processes", [0, 1, 3])
def test_every_job_once_and_the_work_is_opened_once_a_worker(notes: Notes, processes: int) -> None:
    run_jobs(partial(open_square, str(notes.folder)), range(8), Workers(processes), notes)
    assert notes.values() == {n: n * n for n in range(8)}
    assert notes.begun() == dict.fromkeys(range(8), 1)
    assert [event.job for event in notes.of(Started)] == list(range(8))  # in their order
    where = {event.value[1] for event in notes.of(Finished)}
    # once in each worker that had a job; one that starts slowly may come too late for any
    assert max(processes, 1) >= len(list(notes.folder.glob("opened-*"))) >= len(where)
    assert (os.getpid() in where) == (processes == 0)
    assert notes.of(Advanced)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("error", "not this one"),
        ("raised", "RuntimeError: out of luck"),
        ("hung", "no frame was finished in 1 s"),
        ("died", "its process ended with code 7"),
    ],
)
def test_a_job_that_goes_wrong_is_told_and_the_others_go_on(notes: Notes, how: str, says: str) -> None:
    run_jobs(partial(open_fault, str(notes.folder), 2, how), range(5), Workers(1, limit=1.0), notes)
    (failed,) = notes.of(Failed)
    assert (failed.job, failed.kind, str(failed.error)) == (2, how, says)
    assert isinstance(failed.error, InputError) == (how == "error")
    assert set(notes.values()) == {0, 1, 3, 4} and notes.begun() == dict.fromkeys(range(5), 1)


def test_work_that_cannot_be_opened_ends_the_run(notes: Notes) -> None:
    for processes in (0, 1):
        with pytest.raises(InputError, match="no such network"):
            run_jobs(open_broken, [1], Workers(processes), notes)
    with pytest.raises(ConfigError, match="ended with code 3 before it was ready"):
        run_jobs(open_crash, [1], Workers(1), notes)
    assert not notes.events


def test_what_the_caller_raises_ends_the_run_and_its_workers(notes: Notes) -> None:
    def stop(event: Event[int, Any]) -> None:
        if isinstance(event, Finished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(partial(open_square, str(notes.folder), 0.5), range(9), Workers(2), stop)
    for path in notes.folder.glob("opened-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.removeprefix("opened-")), 0)
    assert len(notes.begun()) < 9


def test_a_cluster_gives_what_processes_give_though_a_worker_is_killed(cluster: Cluster, notes: Notes) -> None:
    workers = [cluster.add_worker(), cluster.add_worker()]
    killed: list[int] = []

    def watch(event: Event[int, Any]) -> None:
        notes(event)
        if not killed and len(list(notes.folder.glob("opened-*"))) == 2 and isinstance(event, Advanced):
            killed.append(workers[0].pid)
            cluster.kill(workers[0])

    run_jobs(partial(open_square, str(notes.folder), 2.0), range(6), Workers(cluster=cluster.address), watch)
    assert killed
    assert notes.values() == {n: n * n for n in range(6)} and len(notes.of(Finished)) == 6  # none lost, none twice
    assert not notes.of(Failed)
    begun = notes.begun()
    assert sum(begun.values()) == 7 and set(begun) == set(range(6))  # what the lost worker was at, once more
    assert sorted(event.job for event in notes.of(Started)) == list(range(6))


def test_a_cluster_whose_last_worker_goes_is_not_waited_for(cluster: Cluster, notes: Notes) -> None:
    worker = cluster.add_worker()

    def kill(event: Event[int, Any]) -> None:
        if isinstance(event, Started):
            cluster.kill(worker)

    limits = Workers(cluster=cluster.address, limit=1.0, start_limit=4.0)
    with pytest.raises(DataError, match=r"went away; the same command goes on from here"):
        run_jobs(partial(open_square, str(notes.folder), 20.0), [1], limits, kill)


def test_a_cluster_tells_what_goes_wrong_and_goes_on(cluster: Cluster, notes: Notes) -> None:
    cluster.add_worker()
    limits = Workers(cluster=cluster.address, limit=3.0)
    for how, says in (("raised", "RuntimeError: out of luck"), ("hung", "no frame was finished in 3 s")):
        notes.events.clear()
        run_jobs(partial(open_fault, str(notes.folder), 1, how), range(3), limits, notes)
        (failed,) = notes.of(Failed)
        assert (failed.job, failed.kind, str(failed.error)) == (1, how, says)
        assert notes.values() == {0: 0, 2: 4}
    notes.events.clear()
    with pytest.raises(InputError, match="no such network"):
        run_jobs(open_broken, [1], limits, notes)
    run_jobs(partial(open_fault, str(notes.folder), 1, "died"), range(3), limits, notes)
    (failed,) = notes.of(Failed)
    assert (failed.job, failed.kind) == (1, "died") and notes.values() == {0: 0, 2: 4}


def test_a_cluster_that_does_not_answer_is_named(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("siamtrack.evaluation.cluster")
    monkeypatch.setattr(module, "_CONNECTED", 1.0)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*start one with"):
        run_jobs(partial(open_square, str(notes.folder)), [1], Workers(cluster="tcp://127.0.0.1:9"), notes)
    assert time.monotonic() - began < 20
