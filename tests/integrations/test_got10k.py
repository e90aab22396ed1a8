"""The GOT-10k toolkit runs siamtrack's tracker, and siamtrack scores the files that it wrote as it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

got10k_experiments = pytest.importorskip("got10k.experiments", reason="the GOT-10k toolkit is not installed")

from doc_pages import ROOT, blocks  # noqa: E402
from siamtrack.evaluation.scoring import score  # noqa: E402
from siamtrack.integrations.got10k import got10k_tracker  # noqa: E402
from toy_sets import Blob, draw, lines, path_of  # noqa: E402

NAMES = ("Basketball", "Biker", "Crossing")


@pytest.fixture
def quiet_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")


def otb(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for n, name in enumerate(NAMES):
        boxes = path_of(9 + n, speed=(1.5, 0.7))
        draw(root / name / "img", boxes, "%04d.jpg")
        (root / name / "groundtruth_rect.txt").write_text(lines(boxes + np.array([1.0, 1, 0, 0])))
    # the toolkit would fetch the 97 sequences that this copy does not have
    monkeypatch.setattr("got10k.datasets.otb.OTB._download", lambda *_: None)
    monkeypatch.setattr("got10k.datasets.otb.OTB._check_integrity", lambda *_: None)
    return root


@pytest.mark.usefixtures("quiet_plots")
def test_otb(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = otb(tmp_path / "data", monkeypatch)
    experiment = got10k_experiments.ExperimentOTB(
        str(data), version=2015, result_dir=str(tmp_path / "results"), report_dir=str(tmp_path / "reports")
    )
    tracker = got10k_tracker(weights, origin=1)
    assert tracker.name == "random"
    experiment.run(tracker)
    theirs: Any = experiment.report([tracker.name])[tracker.name]
    ours = score("otb100", data, tmp_path / "results" / "OTB2015" / tracker.name, "got10k-toolkit")
    assert ours.metrics["success_auc"] == pytest.approx(theirs["overall"]["success_score"], abs=1e-12)
    assert ours.metrics["precision@20"] == pytest.approx(theirs["overall"]["precision_score"], abs=1e-12)
    assert 0 < ours.metrics["success_auc"] < 0.95
    for name in NAMES:
        assert ours.sequences[name]["success_auc"] == pytest.approx(
            theirs["seq_wise"][name]["success_score"], abs=1e-12
        )


def test_the_toolkit_and_siamtrack_run_the_same_tracker_to_the_same_boxes(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamtrack.evaluation.evaluate import read_suite, run_sequence
    from siamtrack.evaluation.store import Store
    from siamtrack.evaluation.suites import find_suite
    from siamtrack.zoo import load

    data = otb(tmp_path / "data", monkeypatch)
    experiment = got10k_experiments.ExperimentOTB(str(data), version=2015, result_dir=str(tmp_path / "r"))
    experiment.run(got10k_tracker(weights, name="random", origin=1))
    suite, store = find_suite("otb100"), Store(tmp_path / "store", "ope")
    for sequence in read_suite(suite, data):
        run_sequence(load(weights), sequence, suite.protocol, store)
        theirs = np.loadtxt(tmp_path / "r" / "OTB2015" / "random" / f"{sequence.name}.txt", delimiter=",")
        # the toolkit reads images with Pillow and writes three decimals
        np.testing.assert_allclose(store.load_raw(sequence.name, "").regions, theirs, atol=0.75)


@pytest.mark.usefixtures("quiet_plots")
def test_got10k(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"GOT-10k_Val_{n:06d}" for n in (1, 2)]
    split = tmp_path / "data" / "val"
    for n, name in enumerate(names):
        boxes = path_of(8 + n, speed=(2.5, 1.5))
        draw(split / name, boxes)
        (split / name / "groundtruth.txt").write_text(lines(boxes))
        count = len(boxes)
        (split / name / "cover.label").write_text("\n".join("0" if i == 4 else "8" for i in range(count)))
        (split / name / "absence.label").write_text("\n".join("1" if i == 4 else "0" for i in range(count)))
        (split / name / "cut_by_image.label").write_text("\n".join("0" * count))
        (split / name / "meta_info.ini").write_text(META)
    (split / "list.txt").write_text("\n".join(names))
    written = ["\n".join(b.lines) for b in blocks(ROOT / "docs" / "integrations.md") if b.language == "py"]
    (shown,) = [text for text in written if "got10k" in text]
    monkeypatch.chdir(tmp_path)
    here: dict[str, Any] = {}
    exec(shown.replace('"siamcar_lite0"', repr(str(weights))), here)
    name = here["tracker"].name
    theirs = json.loads(next((tmp_path / "reports").rglob("performance.json")).read_text())[name]["overall"]
    ours = score("got10k-val", split, tmp_path / "results" / "GOT-10k" / name, "got10k")
    assert ours.metrics["AO"] == pytest.approx(theirs["ao"], abs=1e-12)
    assert ours.metrics["SR0.5"] == pytest.approx(theirs["sr"], abs=1e-12)
    assert 0 < ours.metrics["AO"] < 1


META = """[METAINFO]
url: https://example.org/video
begin: 00:00:01
end: 00:00:09
anno_fps: 10Hz
object_class: block
motion_class: sliding
major_class: object
root_class: thing
motion_adverb: evenly
resolution: (64, 48)
"""


def test_an_object_with_init_and_update_will_do_too() -> None:
    from PIL import Image

    tracker = got10k_tracker(Blob(), origin=1)
    assert tracker.name == "Blob"
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[5:15, 7:20] = 255
    tracker.init(Image.fromarray(pixels), [1, 1, 5, 5])
    np.testing.assert_array_equal(tracker.update(Image.fromarray(pixels)), [8, 6, 13, 10])
