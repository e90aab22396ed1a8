"""vot-toolkit runs siamtrack's tracker by its Python protocol and by TraX, and both score its files alike."""

from __future__ import annotations

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vot", reason="vot-toolkit is not installed")

import vot
from cachetools import LRUCache
from vot.analysis.processor import AnalysisProcessor
from vot.workspace import Workspace

import siamtrack
from doc_pages import ROOT, blocks
from siamtrack.evaluation.evaluate import run_sequence
from siamtrack.evaluation.protocols import EvaluationProtocol, MultiStart, Reset, Unsupervised
from siamtrack.evaluation.store import Store
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.results import read_results
from siamtrack.formats.sequence import VideoSequence
from siamtrack.metrics.rules import Task, score_runs
from siamtrack.metrics.vot import VotStack
from toy_sets import Blob, draw, lines, path_of

STACK = """
title: small
experiments:
  unsupervised:
    type: unsupervised
    repetitions: 1
    analyses:
      - type: average_accuracy
        burnin: 10
      - type: average_tpr
  reset:
    type: supervised
    repetitions: 1
    skip_initialize: 5
    analyses:
      - type: supervised_average_ar
        sensitivity: 30
      - type: supervised_eao_score
        low: 4
        high: 12
  multistart:
    type: multistart
    analyses:
      - type: multistart_average_ar
      - type: multistart_eao_score
        low: 4
        high: 12
"""


def registry(weights: Path) -> str:
    """The trackers.ini that docs/integrations.md shows, with the tests' model and time enough, and one more tracker."""
    (shown,) = ["\n".join(b.lines) for b in blocks(ROOT / "docs" / "integrations.md") if b.language == "ini"]
    source = Path(siamtrack.__file__).parents[1]  # the toolkit gives its trackers a path of their own
    trackers = ConfigParser()
    trackers.optionxform = str  # type: ignore[assignment,method-assign]
    trackers.read_string(shown.replace("= siamcar_lite0", f"= {weights}"))
    trackers["own"] = {"label": "own", "protocol": "traxpython", "command": "siamtrack.integrations.vot"}
    for name in trackers.sections():
        trackers[name].update({"timeout": "600"} | ({} if name == "siamtrack" else {"paths": str(source)}))
    text = io.StringIO()
    trackers.write(text)
    return text.getvalue()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Workspace:
    """A VOT workspace of two short videos; ours and theirs read the same files."""
    root = tmp_path_factory.mktemp("workspace")
    (root / "small.yaml").write_text(STACK)
    Workspace.initialize(str(root), {"stack": "small.yaml", "registry": ["./trackers.ini"]}, download=False)
    for name, count in (("slide", 26), ("drift", 19)):
        boxes = path_of(count, speed=(1.7, 1.1))
        folder = root / "sequences" / name
        draw(folder / "color", boxes)
        x, y, w, h = boxes.T
        polygons = np.stack([x, y + h, x, y, x + w, y, x + w, y + h], axis=1)
        (folder / "groundtruth.txt").write_text(lines(polygons))
        anchors = np.zeros(count, dtype=int)
        anchors[[0, count // 2, count - 1]] = 1, -1, -1
        (folder / "anchor.value").write_text("\n".join(map(str, anchors)) + "\n")
        (folder / "sequence").write_text(
            f"channels.color=color/%08d.jpg\nfps=30\nformat=default\nname={name}\nwidth=64\nheight=48\n"
        )
    (root / "sequences" / "list.txt").write_text("slide\ndrift\n")
    (root / "trackers.ini").write_text(registry(weights))
    vot.config.results_binary = False  # as text, the public format
    return Workspace.load(str(root))


def tracker_of(workspace: Workspace, name: str) -> Any:
    return workspace.registry.resolve(name, storage=workspace.storage.substorage("results"))[0]


def results_of(workspace: Workspace, name: str) -> Path:
    return Path(workspace.directory) / "results" / name


def analyse(workspace: Workspace, name: str, experiment: str) -> list[Any]:
    """The values of all analyses of an experiment as vot-toolkit computes them from the files."""
    chosen, tracker = workspace.stack[experiment], tracker_of(workspace, name)
    with AnalysisProcessor(ThreadPoolExecutor(1), LRUCache(1000)) as processor:
        return [processor.run(a, chosen, [tracker], list(workspace.dataset))[0, 0] for a in chosen.analyses]


def sequences_of(workspace: Workspace) -> list[VideoSequence]:
    return read_dataset("vot", Path(workspace.directory))


@pytest.mark.parametrize("name", ["siamtrack", "siamtrack_trax"])
def test_the_toolkit_runs_the_tracker(workspace: Workspace, name: str, weights: Path, tmp_path: Path) -> None:
    """By both protocols: the boxes of our own run, and the same scores by both scorers of the files."""
    from siamtrack.zoo import load

    for sequence in workspace.dataset:
        workspace.stack["unsupervised"].execute(tracker_of(workspace, name), sequence)
    sequences = sequences_of(workspace)
    truths = {s.name: s.annotation() for s in sequences}
    runs = read_results(results_of(workspace, name) / "unsupervised", truths, "longterm")
    assert all(r[0].confidence is not None and np.isfinite(r[0].confidence[1:]).all() for r in runs.values())
    (accuracy, *_), f_scores = analyse(workspace, name, "unsupervised")
    ours = score_runs(truths, runs, Task("unsupervised", "vot-toolkit"))
    assert ours.metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    longterm = score_runs(truths, runs, Task("longterm", "vot-toolkit")).metrics
    expected = [longterm["F"], longterm["precision"], longterm["recall"]]
    assert sorted(expected) == pytest.approx(sorted(map(float, f_scores[:3])), abs=1e-6)
    store, tracker = Store(tmp_path, "unsupervised"), load(weights)
    for sequence in sequences:
        run_sequence(tracker, sequence, Unsupervised(), store)
        own = store.load_raw(sequence.name, "001")
        (theirs,) = runs[sequence.name]
        np.testing.assert_array_equal(theirs.codes, own.codes)
        # the tracker is started on the polygon's box; TraX sends numbers as text with few decimals
        np.testing.assert_allclose(theirs.regions, own.regions, atol=0.02)


class Limping(Blob):
    """Finds the block, but lags behind by half of the way and loses it now and then."""

    def update(self, frame: np.ndarray) -> Any:
        before = self.box.copy()
        found = np.asarray(super().update(frame))
        self.box = np.array([40.0, 1.0, 5.0, 5.0]) if self.updates % 14 == 0 else (before + found) / 2
        return self.box


@pytest.mark.parametrize(("kind", "protocol"), [("reset", Reset()), ("multistart", MultiStart())])
def test_the_toolkit_scores_our_runs_as_we_do(
    workspace: Workspace, kind: str, protocol: EvaluationProtocol, tmp_path: Path
) -> None:
    """The files of our own runs in vot-toolkit's results folder.

    Its release 0.9.0 cannot run these two experiments itself with a tracker of one target: it takes the answer
    for a single state where its runtimes give a list.
    """
    sequences = sequences_of(workspace)
    store = Store(tmp_path, kind)
    for sequence in sequences:
        run_sequence(Limping(), sequence, protocol, store)
    shutil.copytree(store.root / "results" / "baseline", results_of(workspace, "own") / kind)
    truths = {s.name: s.annotation() for s in sequences}
    runs = {s.name: [store.load_raw(s.name, key) for key in protocol.keys(s)] for s in sequences}
    ours = score_runs(truths, runs, Task(kind, "vot-toolkit", stack=VotStack((4, 12)))).metrics
    (accuracy, robustness, *_), (eao, *_) = analyse(workspace, "own", kind)
    assert ours["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert ours["EAO"] == pytest.approx(eao, abs=1e-6)
    assert 0 < ours["accuracy"] < 1
    if kind == "multistart":
        assert ours["robustness"] == pytest.approx(robustness, abs=1e-6)
    else:
        assert ours["lost_number"] >= 2


def test_the_default_factory_refuses_an_unknown_model() -> None:
    from siamtrack.errors import ConfigError
    from siamtrack.integrations.vot import VotTracker

    with pytest.raises(ConfigError, match="unknown model"):
        VotTracker("siamcar_lite")
