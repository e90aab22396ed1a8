from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from siamtrack.errors import DataError
from siamtrack.evaluation.scoring import score_results
from siamtrack.formats.datasets import read_truths
from siamtrack.formats.records import Predictions
from siamtrack.formats.results import read_results
from siamtrack.metrics.multistart import AnchoredRun, eao_partial, progress


def golden_value(golden: Path, metric: str) -> float:
    records = json.loads((golden / "metrics" / "golden.json").read_text())
    return next(r["value"] for r in records if r["benchmark"] == "multistart_otb12" and r["metric"] == metric)


@pytest.fixture(scope="module")
def twelve(metrics_pack: Path) -> tuple[dict, dict[str, list[Predictions]]]:
    """Runs cut out of one-pass results: from each anchor to the end, or back to the start."""
    truths = read_truths(metrics_pack / "gt" / "multistart_otb12.json", "vot")
    whole = read_results(metrics_pack / "results" / "otb100" / "MDNet.zip", truths, "ope")
    runs: dict[str, list[Predictions]] = {}
    for name, truth in truths.items():
        boxes = whole[name][0].regions
        assert truth.anchors is not None
        for anchor in np.flatnonzero(truth.anchors):
            part = boxes[anchor:] if truth.anchors[anchor] > 0 else boxes[: anchor + 1][::-1]
            codes = np.where(np.arange(len(part)) == 0, 1, -1)
            regions = np.where(codes[:, None] == 1, np.nan, part)
            runs.setdefault(name, []).append(Predictions(regions, codes, anchor=int(anchor)))
    return truths, runs


def test_agrees_with_vot_toolkit(twelve: tuple[dict, dict], golden: Path) -> None:
    truths, runs = twelve
    found = score_results("vot2020", truths, runs, "vot-toolkit")
    for metric in ("accuracy", "robustness", "EAO"):
        assert found.metrics[metric] == pytest.approx(golden_value(golden, metric), abs=1e-9)
    early = found.curves["eao"][50:151].mean()
    assert early == pytest.approx(golden_value(golden, "EAO[50..150]"), abs=1e-9)


def test_sequences_agree_with_vot_toolkit(twelve: tuple[dict, dict], metrics_pack: Path) -> None:
    import gzip

    truths, runs = twelve
    found = score_results("vot2020", truths, runs, "vot-toolkit")
    with gzip.open(metrics_pack / "per_sequence" / "multistart_otb12.json.gz") as file:
        recorded = json.load(file)
    for name, expected in recorded["multistart_otb12/vot_toolkit/MDNet"].items():
        for metric in ("accuracy", "robustness"):
            assert found.sequences[name][metric] == pytest.approx(expected[metric], abs=1e-9), name
        assert found.sequences[name]["progress"] == expected["weight_accuracy(frames before failure)"]
    curve = recorded["multistart_otb12/vot_toolkit_eao_curve/MDNet"]["curve"]
    np.testing.assert_allclose(found.curves["eao"][: len(curve)], curve, atol=1e-9)


def test_a_missing_run_is_named(twelve: tuple[dict, dict]) -> None:
    truths, runs = twelve
    less = {**runs, "Bolt": runs["Bolt"][1:]}
    with pytest.raises(DataError, match=r"Bolt: no run from anchor 0; expected Bolt_00000000\.txt"):
        score_results("vot2020", truths, less, "vot-toolkit")


def test_progress_stops_at_the_first_of_ten_bad_frames() -> None:
    overlaps = np.ones(40)
    overlaps[5:14] = 0
    empty = np.zeros(40, dtype=bool)
    assert progress(overlaps, empty) == 40
    overlaps[14] = 0.1
    assert progress(overlaps, empty) == 5
    empty[9] = True  # a frame without truth ends the row
    assert progress(overlaps, empty) == 40


def test_eao_partial_follows_the_definition() -> None:
    rng = np.random.default_rng(0)
    runs = [AnchoredRun(rng.random(12), 12), AnchoredRun(np.r_[rng.random(6), np.zeros(4)], 6)]
    total, active = eao_partial(runs, 20)
    for j in range(1, 20):
        phi, n = 0.0, 0
        for run in runs:
            o = run.overlaps
            if j < len(o):
                phi, n = phi + o[1 : j + 1].mean(), n + 1
            elif run.failed:
                phi, n = phi + o[1:].sum() / (j - 1), n + 1
        assert total[j] == pytest.approx(phi)
        assert active[j] == n
