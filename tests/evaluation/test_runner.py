"""Running over processes: sharing, failing trackers, and being killed at any moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dask_cluster import Cluster

import toy_sets
from siamtrack.config import load_preset, preset_to_json
from siamtrack.errors import ConfigError, DataError, WeightsError
from siamtrack.evaluation.evaluate import Evaluation, evaluate, open_store, pending, read_suite
from siamtrack.evaluation.jobs import Advanced, Event, Workers
from siamtrack.evaluation.store import Failure
from siamtrack.evaluation.suites import find_suite
from siamtrack.evaluation.trackers import find_tracker
from siamtrack.formats.archive import SharedArchive
from siamtrack.formats.sequence import ImageFrames, VideoSequence
from siamtrack.models.weights import save_weights
from siamtrack.report.page import read_scored
from siamtrack.storage import join, list_files, read_from
from toy_sets import Quiet, ToySpec, folder_set

COUNTS = {"a": 30, "b": 24, "c": 18, "d": 12}
FOLDER = find_suite("folder")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("data"), COUNTS)


def run(spec: ToySpec, data: Path, out: Path, **settings: float) -> tuple[Evaluation, Quiet]:
    quiet = Quiet()
    store = open_store(spec, FOLDER, out)
    limits = Workers(**{"processes": 1, **settings})  # type: ignore[arg-type]
    return evaluate(spec, FOLDER, read_suite(FOLDER, data), store, limits, quiet), quiet


def files(out: Path) -> dict[str, bytes]:
    """All files of a store but the measured times."""
    timed = ("times", "speed.json")
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and not any(part in timed for part in p.parts)
    }


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    run(ToySpec(), data, out)
    return files(out)


def test_a_whole_run_is_scored_timed_and_leaves_the_expected_files(data: Path, tmp_path: Path) -> None:
    found, quiet = run(ToySpec(delay=0.002), data, tmp_path)
    assert found.complete and not found.failures
    assert found.scores is not None and found.speed is not None
    # the block is found to the pixel, and OTB's rule gives a perfect tracker 20 of 21 thresholds
    assert found.scores.metrics["success_auc"] == pytest.approx(20 / 21, abs=1e-12)
    assert [name for name, _ in quiet.done] == ["a", "b", "c", "d"]  # the longest first
    frames = sum(COUNTS.values()) - len(COUNTS)
    assert 0 < found.speed.end_to_end <= found.speed.tracker < 1 / 0.002
    assert found.speed.network == pytest.approx(1000, rel=1e-6), frames
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    root = "toy/folder"
    assert names == {
        *(f"{root}/results/{s}.txt" for s in COUNTS),
        *(f"{root}/times/{s}.json" for s in COUNTS),
        *(f"{root}/{f}" for f in ("manifest.json", "scores.json", "speed.json")),
    }


def test_two_processes_write_what_one_writes(data: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    run(ToySpec(), data, tmp_path, processes=2)
    assert files(tmp_path) == undisturbed


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("raises", "raised", "RuntimeError: out of luck"),
        ("nan", "answer", "update 5: expected a box of finite numbers"),
        ("hangs", "hung", "no frame was finished in 1 s"),
        ("dies", "died", "ended with code -9"),
    ],
)
def test_a_tracker_that_goes_wrong_is_recorded_and_the_rest_goes_on(
    data: Path, tmp_path: Path, undisturbed: dict[str, bytes], how: str, kind: str, says: str
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    out = tmp_path / "out"
    spec = ToySpec(how=how, mark=1, flag=str(flag))
    found, _ = run(spec, data, out, limit=1.0)
    assert [(f.sequence, f.kind) for f in found.failures] == [("b", kind)]
    assert says in found.failures[0].message and "\n" not in found.failures[0].message
    assert not found.complete
    assert found.scores is not None and list(found.scores.left_out) == ["b"]
    assert set(found.scores.sequences) == {"a", "c", "d"}
    flag.unlink()
    again, quiet = run(spec, data, out, limit=1.0)
    assert quiet.done == [("b", None)]  # only what was missing
    assert again.complete and not again.failures
    assert files(out) == undisturbed


def test_a_failed_sequence_that_leaves_the_data_is_forgotten(tmp_path: Path) -> None:
    data, out = folder_set(tmp_path / "data", {"good": 4, "bad": 4}), tmp_path / "out"
    frame = sorted((data / "bad" / "img").iterdir())[2]
    frame.write_bytes(frame.read_bytes()[:60])
    found, _ = run(ToySpec(), data, out, processes=0)
    assert [failure.sequence for failure in found.failures] == ["bad"] and not found.complete
    shutil.rmtree(data / "bad")
    found, _ = run(ToySpec(), data, out, processes=0)
    assert found.complete and not found.failures
    (scored,) = read_scored([str(out)])
    assert not scored.failures and not list(out.rglob("failed"))


def test_a_tracker_that_cannot_be_built_ends_the_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be built: RuntimeError: no such network"):
        run(ToySpec(how="unbuildable"), data, tmp_path)


def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_files(
    data: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    command = [sys.executable, toy_sets.__file__, str(data), str(tmp_path / "out"), "0.02", "1"]
    results = tmp_path / "out" / "toy" / "folder" / "results"

    def done() -> int:
        return len(list(results.glob("*.txt"))) if results.is_dir() else 0

    for wanted, extra in ((0, 0.9), (1, 0.0), (3, 0.05)):
        process = subprocess.Popen(command, start_new_session=True)
        deadline = time.monotonic() + 60
        while done() < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(extra)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in results.glob("*.txt"):  # what is there is whole
            assert len(path.read_text().splitlines()) == COUNTS[path.stem]
    _wait_for_orphans(tmp_path)
    stray = results.parent / "results" / f".part-999999-{os.uname().nodename}-abcd"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("1,2")
    assert subprocess.run(command, check=False).returncode == 0
    assert files(tmp_path / "out") == undisturbed


def _wait_for_orphans(out: Path) -> None:
    """Workers end by themselves when their parent is killed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alive = [p for p in Path("/proc").glob("[0-9]*") if str(out).encode() in _command(p)]
        if not alive:
            return
        time.sleep(0.1)
    pytest.fail("a worker outlived its parent")


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_other_settings_are_refused_by_name(data: Path, tmp_path: Path) -> None:
    run(ToySpec(), data, tmp_path)
    other = ToySpec(identity={"version": "0", "device": "cpu", "preset": {"track": {"window": 0.4}}})
    with pytest.raises(ConfigError, match="preset = none"):
        open_store(other, FOLDER, tmp_path)
    one = ToySpec(name="two", identity={"preset": {"track": {"window": 0.3}}})
    two = ToySpec(name="two", identity={"preset": {"track": {"window": 0.4}}})
    open_store(one, FOLDER, tmp_path)
    with pytest.raises(ConfigError, match=r"made with track\.window = 0\.3, now it is 0\.4"):
        open_store(two, FOLDER, tmp_path)
    with pytest.raises(ConfigError, match="seed = 0, now it is 1"):
        open_store(ToySpec(), FOLDER, tmp_path, seed=1)


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    frames = ImageFrames(SharedArchive(tmp_path, ""), ("1.jpg",))
    twins = [VideoSequence("x", frames, np.array([[1.0, 2, 3, 4]]))] * 2
    store = open_store(ToySpec(), FOLDER, tmp_path)
    with pytest.raises(DataError, match="two sequences are called x"):
        evaluate(ToySpec(), FOLDER, twins, store, Workers(), Quiet())
    assert pending(store, FOLDER, twins) == twins


def test_a_cluster_writes_what_one_process_writes_though_a_worker_is_killed(
    data: Path, tmp_path: Path, undisturbed: dict[str, bytes], cluster: Cluster
) -> None:
    workers = [cluster.add_worker(), cluster.add_worker()]
    spec, out = ToySpec(delay=0.1), tmp_path / "out"

    class Killer(Quiet):
        """Kills a worker when both are at work on a sequence."""

        def __init__(self) -> None:
            super().__init__()
            self.at: set[int] = set()

        def __call__(self, event: Event[VideoSequence, None], failure: Failure | None) -> None:
            super().__call__(event, failure)
            if isinstance(event, Advanced):
                self.at.add(event.worker)
                if len(self.at) == 2:
                    cluster.kill(workers[0])

    watcher = Killer()
    found = evaluate(
        spec, FOLDER, read_suite(FOLDER, data), open_store(spec, FOLDER, out), Workers(cluster=cluster.address), watcher
    )
    assert workers[0].returncode == -signal.SIGKILL
    assert found.complete and not found.failures
    assert sorted(watcher.done) == [(name, None) for name in COUNTS]  # each once
    assert files(out) == undisturbed


def test_a_store_on_object_storage_holds_what_a_folder_holds(
    data: Path, tmp_path: Path, undisturbed: dict[str, bytes], bucket: str
) -> None:
    flag, out = tmp_path / "flag", join(bucket, tmp_path.name)
    flag.touch()
    spec = ToySpec(how="raises", mark=1, flag=str(flag))
    for expected in (["b"], []):  # the second call runs what the first did not
        quiet = Quiet()
        found = evaluate(spec, FOLDER, read_suite(FOLDER, data), open_store(spec, FOLDER, out), Workers(2), quiet)
        assert [f.sequence for f in found.failures] == expected
        assert sorted(name for name, _ in quiet.done) == (["a", "b", "c", "d"] if expected else ["b"])
        flag.unlink(missing_ok=True)
    stored = {name: read_from(join(out, name)) for name in list_files(out)}
    assert {n: c for n, c in stored.items() if "/times/" not in n and not n.endswith("speed.json")} == undisturbed
    (entry,) = read_scored([out])
    assert entry.scores.metrics == found.scores.metrics if found.scores else False
    with pytest.raises(ConfigError, match="seed = 0, now it is 1"):
        open_store(spec, FOLDER, out, seed=1)


def test_weights_that_are_others_on_a_worker_are_refused(tmp_path: Path) -> None:
    preset = load_preset("siamfc_lite0")
    path = tmp_path / "m.safetensors"
    save_weights(path, preset.model.build(), {"preset": preset_to_json(preset)})
    spec = find_tracker(str(path))
    save_weights(path, preset.model.build(), {"preset": preset_to_json(preset)})
    with pytest.raises(WeightsError, match="expected the weights that m began with"):
        spec.build()
