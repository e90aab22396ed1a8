from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import siamtrack
from siamtrack.presets import DEFAULT_MODEL


def test_every_public_name_exists() -> None:
    for name in siamtrack.__all__:
        assert getattr(siamtrack, name) is not None
    with pytest.raises(AttributeError):
        _ = siamtrack.nothing  # type: ignore[attr-defined]


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "siamtrack", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_version_is_printed() -> None:
    out = cli("--version")
    assert (out.returncode, out.stdout) == (0, f"siamtrack {siamtrack.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trak",), "No such command 'trak'"),
        (("--vesion",), "No such option: --vesion"),
        (("export", "x", "--out", "y", "--precision", "fp16"), "Invalid value for '--precision': 'fp16' is not one of"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    out = cli(*arguments)
    assert (out.returncode, out.stdout) == (2, "")
    assert out.stderr.startswith(f"siamtrack: {words}") and out.stderr.count("\n") == 1


def test_help_lists_the_commands() -> None:
    out = cli("--help")
    assert out.returncode == 0
    for command in ("track", "demo", "models", "train", "score", "eval"):
        assert command in out.stdout


def test_an_unknown_model_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    import cv2

    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((60, 80, 3), 40 * i, np.uint8))
    out = cli("track", str(tmp_path), "--box", "10,10,20,20", "--model", "siamcar_lite")
    assert out.returncode == 2
    assert "siamcar_lite0" in out.stderr and "Traceback" not in out.stderr
    assert len(out.stderr.strip().splitlines()) == 1


def test_loading_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(siamtrack.SiamtrackError, match="foreign"):
        siamtrack.load(path)
    with pytest.raises(siamtrack.SiamtrackError, match="nowhere"):
        siamtrack.load(tmp_path / "nowhere.safetensors")
    other = tmp_path / "model.pth"
    other.write_bytes(b"PK")
    with pytest.raises(siamtrack.SiamtrackError, match=r"expected a \.safetensors file"):
        siamtrack.load(other)
    with pytest.raises(siamtrack.SiamtrackError, match="did you mean 'siamcar_lite0'"):
        siamtrack.load("SIAMCAR_LITE0")
    with pytest.raises(siamtrack.SiamtrackError, match="did you mean 'siamcar_pico'"):  # siamcar_r50 has no weights
        siamtrack.load("siamcar")


@pytest.mark.parametrize("device", ["cuda:99", "cuda:x", "gpu", "", "meta"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(siamtrack.SiamtrackError, match=f"the device '{device}' is not available"):
        siamtrack.load(device=device)


def test_wrong_calls_of_a_tracker_say_what_is_expected() -> None:
    tracker = siamtrack.load()
    frame = np.full((60, 80, 3), 90, np.uint8)
    with pytest.raises(siamtrack.SiamtrackError, match="call init"):
        tracker.update(frame)
    for wrong in (
        frame[..., 0],
        frame.astype(np.float32),
        frame.tolist(),
        None,
        torch.zeros(3, 60, 80, dtype=torch.bool),
    ):
        with pytest.raises(siamtrack.SiamtrackError, match="a frame"):
            tracker.init(wrong, (10, 10, 20, 20))  # type: ignore[arg-type]
    tracker.init(frame, (10, 10, 20, 20))
    assert isinstance(tracker.update(frame), siamtrack.Result)
    state = tracker.state
    for wrong, words in (((10, 10, 0, 20), "above 0"), ([(1, 2, 30, 20), (40, 9, 9, 9)], "use a MultiTracker")):
        with pytest.raises(siamtrack.SiamtrackError, match=words):
            tracker.init(frame, wrong)  # type: ignore[arg-type]
    assert tracker.state is state  # a refused call has changed nothing


def test_several_targets_are_a_list_in_their_order_also_when_there_is_one() -> None:
    loaded = siamtrack.load()
    frame = np.random.default_rng(5).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    boxes = [(10.0, 10.0, 30.0, 20.0), (60.0, 40.0, 20.0, 30.0)]
    many = siamtrack.MultiTracker(loaded.engine)
    with pytest.raises(siamtrack.SiamtrackError, match="call init"):
        many.update(frame)
    for given in (boxes, torch.tensor(boxes, requires_grad=True), boxes[:1]):
        many.init(frame, given)
        found = many.update(frame)
        assert isinstance(found, list) and len(found) == len(given)
        for result, box in zip(found, boxes, strict=False):
            loaded.init(frame, box)
            np.testing.assert_allclose(result.box, loaded.update(frame).box, atol=1e-3)


def test_trackers_in_two_threads_share_one_network() -> None:
    first_frame = np.random.default_rng(3).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    frames = [np.roll(first_frame, 2 * n, axis=1) for n in range(6)]
    shared = siamtrack.load().engine

    def boxes(first: tuple[float, ...]) -> list[siamtrack.Box]:
        tracker = siamtrack.Tracker(shared)
        tracker.init(frames[0], first)
        return [result.box for result in map(tracker.update, frames[1:])]

    starts = [(10.0, 10.0, 30.0, 20.0), (60.0, 40.0, 20.0, 30.0)]
    apart = [boxes(first) for first in starts]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(boxes, starts))
    np.testing.assert_allclose(together, apart, atol=1e-3)


def test_a_model_tracks_with_other_settings_than_its_own(tmp_path: Path) -> None:
    def preset_of(**arguments: Any) -> siamtrack.Preset:
        engine = siamtrack.load_multi(**arguments).engine
        assert isinstance(engine, siamtrack.TorchEngine)
        return engine.preset

    own = siamtrack.load_preset(DEFAULT_MODEL)
    changed = preset_of(settings={"track.window": 0.2, "track.select": "best"})
    assert (changed.track.window, changed.track.select) == (0.2, "best") and changed.track.rate == own.track.rate
    file = tmp_path / "mine.toml"
    file.write_text(f"extends = '{DEFAULT_MODEL}'\n[track]\nrate = 0.1")
    both = preset_of(preset=file, settings={"track.window": 0.2})
    assert (both.name, both.track.rate, both.track.window) == ("mine", 0.1, 0.2)
    for arguments, words in (
        ({"settings": {"track.windw": 1}}, "track.windw"),
        ({"settings": {"train.lr": 1}}, "no effect on a trained model"),
        ({"preset": "siamfc"}, "of the family siamfc"),
    ):
        with pytest.raises(siamtrack.SiamtrackError, match=words):
            siamtrack.load(**arguments)  # type: ignore[arg-type]


def test_an_outside_tracker_that_ends_the_program_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves.py").write_text('import sys\n\nsys.exit("it needs a licence")\n')
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    out = cli("eval", "leaves:Tracker", "--suite", "folder", "--data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert (out.returncode, out.stderr) == (2, "siamtrack: it needs a licence\n")
