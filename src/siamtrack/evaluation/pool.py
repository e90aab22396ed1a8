"""Many runs in this process or in several: jobs go out one by one, each score comes back when it is there."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from siamtrack.config import Preset
from siamtrack.errors import DataError, SiamtrackError
from siamtrack.evaluation.spawn import start_worker
from siamtrack.formats.sequence import VideoSequence
from siamtrack.tuning.scorer import Scorer, Variants
from siamtrack.tuning.space import Setting

__all__ = ["Job", "run_jobs"]


@dataclass(frozen=True)
class Job:
    """One run: a setting, the preset that it stands for, and a sequence."""

    setting: Setting
    preset: Preset
    sequence: VideoSequence


@dataclass
class _Worker:
    process: BaseProcess
    job: Job


def run_jobs(
    variants: Variants,
    jobs: Iterable[Job],
    processes: int,
    memory: int,
    scored: Callable[[Job, float], None],
) -> None:
    """Score all jobs, in their order or nearly so; jobs of one sequence should stand together.

    Args:
        variants: the model.
        jobs: what to run.
        processes: 1 runs in this one.
        memory: bytes of decoded frames that each process may keep.
        scored: called here with every score as soon as it is known.

    Raises:
        SiamtrackError: what the first failing run raised; the other workers are ended, what they had
            finished has been told.
    """
    waiting = deque(jobs)
    if processes > 1 and len(waiting) > 1:
        _Crew(variants, waiting, memory, scored).run(processes)
        return
    scorer = Scorer(variants, memory) if waiting else None
    while waiting and scorer is not None:
        job = waiting.popleft()
        scored(job, scorer.score(job.preset, job.sequence))


class _Crew:
    """The parent's side of the workers."""

    def __init__(
        self, variants: Variants, waiting: deque[Job], memory: int, scored: Callable[[Job, float], None]
    ) -> None:
        self._arguments = (variants, memory)
        self._waiting = waiting
        self._scored = scored
        self._workers: dict[Connection, _Worker] = {}
        self._processes: list[BaseProcess] = []

    def run(self, processes: int) -> None:
        """Run all jobs; whatever happens, no worker is left behind."""
        try:
            for _ in range(min(processes, len(self._waiting))):
                self._hire()
            while self._workers:
                for pipe in wait(list(self._workers)):
                    self._hear(pipe)  # type: ignore[arg-type]
        finally:
            for process in self._processes:
                process.kill()
                process.join()

    def _hire(self) -> None:
        pipe, process = start_worker(_serve, *self._arguments)
        self._processes.append(process)
        self._give(pipe, process)

    def _give(self, pipe: Connection, process: BaseProcess) -> None:
        job = self._waiting.popleft()
        self._workers[pipe] = _Worker(process, job)
        try:
            pipe.send((job.preset, job.sequence))
        except OSError:
            self._died(pipe)

    def _hear(self, pipe: Connection) -> None:
        try:
            found: float | SiamtrackError = pipe.recv()
        except (EOFError, OSError):
            self._died(pipe)
            return
        worker = self._workers.pop(pipe)
        if isinstance(found, SiamtrackError):
            raise found
        self._scored(worker.job, found)
        if self._waiting:
            self._give(pipe, worker.process)
        else:
            pipe.close()

    def _died(self, pipe: Connection) -> None:
        worker = self._workers.pop(pipe)
        worker.process.join(timeout=5)
        raise DataError(
            f"{worker.job.sequence.name}: the worker ended with code {worker.process.exitcode}; "
            "its own message stands above, the same command goes on from here"
        )


def _serve(pipe: Connection, variants: Variants, memory: int) -> None:
    """A worker: answer each (preset, sequence) with a score or an error, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    scorer: Scorer | None = None
    while True:
        try:
            preset, sequence = pipe.recv()
        except (EOFError, OSError):
            return
        answer: float | SiamtrackError
        try:
            scorer = scorer or Scorer(variants, memory)
            answer = scorer.score(preset, sequence)
        except SiamtrackError as error:
            answer = error
        try:
            pipe.send(answer)
        except OSError:
            return
