"""`siamtrack eval` as a person runs it, and OpenCV's trackers through it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from siamtrack.apps.cli.eval import _column
from siamtrack.apps.cli.main import app
from siamtrack.apps.cli.progress import Display, EvaluationBoard
from siamtrack.errors import ConfigError, InputError, SiamtrackError, WeightsError
from siamtrack.evaluation.opencv import OpenCvTracker, opencv_tracker
from siamtrack.evaluation.protocols import (
    LongTerm,
    MultiStart,
    OnePass,
    RealTime,
    Reset,
    SpatialRobustness,
    TemporalRobustness,
    Unsupervised,
)
from siamtrack.evaluation.store import Failure, Store
from siamtrack.evaluation.suites import SUITES, find_suite, with_speed
from siamtrack.evaluation.trackers import find_tracker
from siamtrack.formats.datasets import read_dataset
from siamtrack.io import alone_in
from siamtrack.presets import packaged_export
from toy_sets import folder_set

BASE = ["--suite", "folder", "--processes", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("data"), {"a": 8, "b": 6})


def test_a_table_of_metrics_and_speed_and_a_store(data: Path, tmp_path: Path) -> None:
    command = ["eval", "opencv:mil", *BASE, "--data", str(data), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["folder", "by", "otb", "rules,", "2", "sequences"]
    assert lines[1][:3] == ["tracker", "success_auc", "precision@20"] and lines[2][0] == "opencv_mil"
    scores = json.loads((tmp_path / "opencv_mil" / "folder" / "scores.json").read_text())
    assert scores["suite"] == "folder" and scores["rules"] == "otb" and set(scores["sequences"]) == {"a", "b"}
    assert float(lines[2][1]) == pytest.approx(scores["metrics"]["success_auc"], abs=5e-5)
    assert len(scores["curves"]["success"]) == 21
    manifest = json.loads((tmp_path / "opencv_mil" / "folder" / "manifest.json").read_text())
    assert manifest["opencv"] == cv2.__version__ and manifest["seed"] == 0
    before = (tmp_path / "opencv_mil" / "folder" / "results" / "a.txt").stat().st_mtime_ns
    again = CliRunner().invoke(app, [*command, "--rules", "pysot"])
    assert again.exit_code == 0 and "by pysot rules" in again.stdout
    assert (tmp_path / "opencv_mil" / "folder" / "results" / "a.txt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (["opencv:mil", "--suite", "foldr"], ConfigError, "did you mean 'folder'"),
        (["opencv:mill", "--suite", "folder"], ConfigError, "did you mean 'mil'"),
        (["opencv:mil", "--suite", "folder", "--rules", "vot-pysot"], ConfigError, "do not score"),
        (["opencv:mil", "opencv:mil", "--suite", "folder"], ConfigError, "two models are called"),
        (["opencv:nano", "--suite", "folder"], WeightsError, "BACKBONE.onnx,HEAD.onnx"),
        (["nowhere.safetensors", "--suite", "folder"], SiamtrackError, "nowhere.safetensors"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_done(
    data: Path, tmp_path: Path, change: list[str], kind: type[SiamtrackError], says: str
) -> None:
    command = ["eval", *change, "--data", str(data), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, kind), result.output
    assert says in str(result.exception) and "\n" not in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_tracker_of_another_package_is_evaluated(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "still.py"
    package.write_text(
        "class Still:\n"
        "    def init(self, frame, box):\n        self.box = box\n"
        "    def update(self, frame):\n        return self.box\n"
    )
    info = tmp_path / "still-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: still\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[siamtrack.trackers]\nstands-still = still:Still\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    command = ["eval", "still:Still", "stands-still", *BASE, "--data", str(data), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    boxes = [(tmp_path / "out" / name / "folder/results/a.txt").read_text() for name in ("still_Still", "stands-still")]
    assert boxes[0] == boxes[1] and len(set(boxes[0].splitlines())) == 1
    manifest = json.loads((tmp_path / "out/still_Still/folder/manifest.json").read_text())
    assert manifest["factory"] == "still:Still" and len(manifest["source"]) == 64
    for name, why in (("still:Stil", "'still' has no attribute"), ("nowhere:Still", "No module .* on PYTHONPATH")):
        with pytest.raises(ConfigError, match=f"no tracker '{name}': .*{why}") as caught:
            find_tracker(name)
        assert ("PYTHONPATH" in str(caught.value)) == (name == "nowhere:Still")


def test_an_error_is_one_line_and_exit_code_2(data: Path, tmp_path: Path) -> None:
    code = "from siamtrack.apps.cli.main import run; run()"
    command = [sys.executable, "-c", code, "eval", "opencv:mil", "--suite", "otb100"]
    done = subprocess.run(
        [*command, "--data", str(data), "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("siamtrack: ") and done.stderr.count("\n") == 1


def test_a_real_sequence_scores_as_the_tracker_alone(shared: Path, tmp_path: Path) -> None:
    """The boxes in the store are those of the same tracker driven by hand."""
    source = shared / "data" / "dev" / "otb__Football1"
    folder = tmp_path / "data" / "Football1" / "img"
    folder.mkdir(parents=True)
    frames = sorted((source / "img").iterdir())[:10]
    for path in frames:
        (folder / path.name).symlink_to(path)
    truth = (source / "groundtruth.txt").read_text().splitlines()[:10]
    (folder.parent / "groundtruth.txt").write_text("\n".join(truth) + "\n")
    command = ["eval", "opencv:mil", *BASE, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 0
    stored = np.loadtxt(tmp_path / "out" / "opencv_mil" / "folder" / "results" / "Football1.txt", delimiter=",")
    assert stored.shape == (10, 4)
    np.testing.assert_array_equal(stored[0], [float(v) for v in truth[0].split(",")])
    assert np.isfinite(stored).all() and (stored[:, 2:] > 0).all()


def test_opencv_trackers_take_rgb_and_give_boxes() -> None:
    class Fake:
        """Stands for OpenCV's class, whose pixels are BGR and whose boxes are whole."""

        def init(self, image: np.ndarray, box: tuple[int, int, int, int]) -> None:
            assert image[0, 0].tolist() == [3, 2, 1]
            assert box == (2, 3, 5, 6)

        def update(self, image: np.ndarray) -> tuple[bool, tuple[int, int, int, int]]:
            return bool(image[0, 0, 2]), (9, 9, 5, 6)

    tracker = OpenCvTracker(Fake)
    frame = np.tile(np.array([1, 2, 3], dtype=np.uint8), (48, 64, 1))
    with pytest.raises(InputError, match="call init"):
        tracker.update(frame)
    tracker.init(frame, (2.2, 2.9, 4.8, 6.2))
    assert tracker.update(frame) == (9.0, 9.0, 5.0, 6.0) and tracker.found
    assert tracker.update(frame * 0) == (9.0, 9.0, 5.0, 6.0) and not tracker.found  # the last box stays
    with pytest.raises(InputError, match="at least a pixel"):
        tracker.init(frame, (70, 3, 4, 4))


@pytest.mark.parametrize("kind", ["csrt", "kcf"])
def test_contrib_trackers_work_or_say_what_is_missing(kind: str) -> None:
    name = f"Tracker{kind.upper()}"
    if hasattr(cv2, name) or hasattr(getattr(cv2, "legacy", None), name):
        tracker = opencv_tracker(kind)
        rng = np.random.default_rng(0)
        frame = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
        tracker.init(frame, (40, 30, 40, 40))
        np.testing.assert_allclose(tracker.update(frame), (40, 30, 40, 40), atol=3)
    else:
        with pytest.raises(ConfigError, match="opencv-contrib-python-headless<5"):
            opencv_tracker(kind)


def test_numbers_of_a_column_have_as_many_digits() -> None:
    assert _column("fps", [16.83, 6.1737, float("nan"), 120], 2) == ["fps", "16.8", "6.2", "-", "120.0"]
    assert _column("fps", [6.1737, 0.05], 2) == ["fps", "6.17", "0.05"]
    assert _column("success_auc", [0.61237, 1], 4) == ["success_auc", "0.6124", "1.0000"]


def test_results_of_other_weights_and_settings_are_told_in_the_users_words(tmp_path: Path) -> None:
    held = {"version": "1", "device": "cpu", "weights": "a", "preset": {"track": {"window": 0.3, "rate": 0.5}}}
    Store.open(tmp_path, "ope", held)
    for changes, words in (
        ({"weights": "b", "preset": {}}, "other weights of the same name: rename the model's file"),
        # an export and what it was made of are two files
        ({"engine": "onnxruntime", "weights": "b"}, "engine = torch, now it is onnxruntime"),
        ({"engine": "onnxruntime", "weights": "b", "preset": {"track": {}}}, r"track\.window = 0\.3, .*"),
        ({"engine": "onnxruntime"}, "engine = torch, now it is onnxruntime"),
        ({"preset": {"track": {"window": 0.4, "rate": 0.5}}}, r"track\.window = 0\.3, now it is 0\.4"),
        ({"preset": {"track": {"window": 0.3}}}, r"track\.rate = 0\.5, now it is none"),
    ):
        with pytest.raises(ConfigError, match=f"holds results made with {words}; choose another --out") as caught:
            Store.open(tmp_path, "ope", held | changes)
        assert "null" not in str(caught.value)


def test_of_two_stores_that_begin_at_once_the_second_sees_the_first(tmp_path: Path) -> None:
    held = {"version": "1", "weights": "a"}
    with ThreadPoolExecutor(1) as other:
        with alone_in(tmp_path):
            late = other.submit(Store.open, tmp_path, "ope", held | {"version": "2"})
            assert not wait([late], 0.3).done
            (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, **held}))
        with pytest.raises(ConfigError, match="version = 1, now it is 2"):
            late.result(20)


def test_a_trained_network_is_compared_with_the_shipped_one_of_its_name(data: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from siamtrack.config import load_preset, preset_to_json
    from siamtrack.models.weights import save_weights

    preset = load_preset("siamcar_pico")
    torch.manual_seed(0)
    (tmp_path / "first").mkdir()
    own = tmp_path / "first" / "siamcar_pico.safetensors"
    save_weights(own, preset.model.build(), {"preset": preset_to_json(preset)})
    command = ["eval", "siamcar_pico", str(own), *BASE, "--data", str(data), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[2:4]] == ["siamcar_pico", "first_siamcar_pico"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first_siamcar_pico", "siamcar_pico"]
    assert "[1/2] first_siamcar_pico, a: 8 frames" in result.stderr and "[1/2] siamcar_pico, a: " in result.stderr
    again = CliRunner().invoke(app, ["eval", str(own), *command[3:]])
    assert again.exit_code == 0 and "a: " not in again.stderr, "one name, alone and beside others"
    shipped = packaged_export("siamcar_pico")
    assert shipped is not None
    shutil.copyfile(shipped, tmp_path / "first" / "siamcar_pico.onnx")
    assert find_tracker(str(tmp_path / "first" / "siamcar_pico.onnx")).name == "siamcar_pico"


def test_progress_is_a_live_table_on_a_terminal_and_lines_elsewhere(data: Path) -> None:
    sequences = read_dataset("folder", data)
    for terminal in (True, False):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=100)
        with Display("frames", console) as display:
            board = EvaluationBoard(display, "toy on folder", 2, 14)
            for sequence in sequences:
                board.started(0, sequence)
                board.advanced(0, 3)
                time.sleep(0.6 if terminal else 0)
                failure = Failure("b", "raised", "out of luck") if sequence.name == "b" else None
                board.finished(0, sequence, failure)
        shown = text.getvalue()
        assert ("frames/s" in shown) == terminal
        assert ("[1/2] a: 8 frames" in shown) != terminal
        assert "[2/2] b: failed (raised): out of luck" in shown


def test_the_page_lists_every_suite_with_its_protocol_and_rules() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    told = {}
    for row in re.findall(r"^\| (`.*`) \| (.*) \| `([\w-]+)` \|$", page.split("### Suites")[1], re.M):
        told |= dict.fromkeys(re.findall(r"`([^`]+)`", row[0]), row[1:])
    words = {
        OnePass: "one pass",
        TemporalRobustness: "temporal robustness",
        SpatialRobustness: "spatial robustness",
        Reset: "started anew",
        MultiStart: "from many starts",
        RealTime: "against the clock",
        Unsupervised: "one run, never corrected",
        LongTerm: "long-term",
    }
    assert {name: rules for name, (_, rules) in told.items()} == {name: s.rules for name, s in SUITES.items()}
    for name, suite in SUITES.items():
        assert words[type(suite.protocol)] in told[name][0], name


def test_a_given_speed_makes_real_time_repeatable() -> None:
    suite = with_speed(find_suite("vot2018-realtime"), 9.0)
    assert "speed=9.0" in repr(suite.protocol)
    with pytest.raises(ConfigError, match="vot2018-realtime"):
        with_speed(find_suite("vot2018"), 9.0)


def test_a_model_is_identified_by_its_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from siamtrack.config import load_preset, preset_to_json
    from siamtrack.models.weights import save_weights

    preset = load_preset("siamcar_lite0")
    hashes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / f"m{seed}.safetensors"
        save_weights(path, preset.model.build(), {"preset": preset_to_json(preset)})
        spec = find_tracker(str(path))
        hashes.append(spec.identity["weights"])
        assert spec.name == f"m{seed}"
        assert spec.identity["preset"]["track"]["window"] == preset.track.window
        assert {"version", "device"} <= set(spec.identity)
    assert hashes[0] != hashes[1]
