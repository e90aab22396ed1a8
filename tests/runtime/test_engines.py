"""Exported files in each runtime, by a graph that moves boxes by a constant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_exports import SHIFT, made_export, note

import siamtrack
from siamtrack.errors import ConfigError, InputError, SiamtrackError, WeightsError
from siamtrack.presets import packaged_export
from siamtrack.runtime.metadata import read_exported
from siamtrack.runtime.sessions import open_exported
from siamtrack.tracking.tracker import MultiTracker, results

FRAME = np.zeros((60, 80, 3), np.uint8)
BOXES = [(10.0, 12.0, 20.0, 16.0), (40.0, 8.0, 9.0, 11.0), (1.0, 2.0, 5.0, 6.0)]


@pytest.fixture(scope="module", params=["mover.onnx onnxruntime", "mover.onnx openvino", "mover.xml openvino"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    name, runtime = request.param.split()
    pytest.importorskip(runtime)
    folder = tmp_path_factory.mktemp("exports")
    made_export(folder / "mover.onnx", note())
    if name.endswith(".xml"):
        write_openvino(folder / "mover.onnx", folder / name, json.dumps(note()))
    return open_exported(folder / name, runtime, threads=1)


def write_openvino(source: Path, path: Path, text: str) -> None:
    import openvino as ov

    model = ov.Core().read_model(str(source))
    model.set_rt_info(text, "siamtrack")
    ov.save_model(model, str(path), compress_to_fp16=False)


def moved(boxes: Any, frames: int) -> np.ndarray:
    return np.asarray(boxes, np.float32) + frames * np.array(SHIFT, np.float32)


def test_targets_are_followed_with_scores_presence_and_status(engine: Any) -> None:
    tracker = MultiTracker(engine)
    with pytest.raises(InputError, match="call init"):
        tracker.update(FRAME)
    tracker.init(FRAME, BOXES)
    assert [result.status for result in results(tracker.state)] == ["tracking"] * 3  # type: ignore[arg-type]
    statuses = []
    for frame in range(1, 5):
        found = tracker.update(FRAME)
        np.testing.assert_allclose([result.box for result in found], moved(BOXES, frame), rtol=1e-6)
        assert {(result.score, result.presence) for result in found} == {(1 - frame / 4, 1 - frame / 4)}
        statuses.append(found[0].status)
    assert statuses == ["tracking", "uncertain", "lost", "lost"]


def test_a_state_is_a_value_whose_targets_come_and_go(engine: Any) -> None:
    state = engine.start(FRAME, BOXES)
    later = engine.step(FRAME, engine.step(FRAME, state))
    again = engine.step(FRAME, engine.step(FRAME, state))
    np.testing.assert_array_equal(later.boxes, again.boxes)
    mixed = later.rows([2, 0]).join(engine.start(FRAME, BOXES[1]))
    after = results(engine.step(FRAME, mixed))
    np.testing.assert_allclose(after[0].box, moved(BOXES[2], 3), rtol=1e-6)
    np.testing.assert_allclose(after[2].box, moved(BOXES[1], 1), rtol=1e-6)
    assert [result.score for result in after] == [0.25, 0.25, 0.75]
    none = engine.step(FRAME, later.rows([]))
    assert results(none) == [] and len(none.join(later).boxes) == 3
    with pytest.raises(InputError, match="expected a frame of 80x60 pixels"):
        later.join(engine.start(np.zeros((50, 80, 3), np.uint8), BOXES))


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_a_state_of_another_model_is_refused(name: str) -> None:
    small, large = (siamtrack.load(model, engine=name).engine for model in ("siamcar_pico", "spm_lite0"))
    fresh = siamtrack.load("siamcar_pico", engine=name).engine  # has not begun with a target of its own
    own, other = small.start(FRAME, BOXES), large.start(FRAME, BOXES)
    told = r"expected a state of the same model; got one of another: template\.0 is \(96, 7, 7\), not \(64, 5, 5\)"
    for call in (partial(own.join, other), partial(small.step, FRAME, other), partial(fresh.step, FRAME, other)):
        with pytest.raises(InputError, match=told):
            call()
    np.testing.assert_array_equal(fresh.step(FRAME, own).boxes, small.step(FRAME, own).boxes)


def test_more_targets_than_one_call_takes_are_followed_in_turns(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = engine._run, []

    def counted(inputs: Any) -> Any:
        seen.append(max(len(value) for name, value in inputs.items() if name != "frame"))
        return run(inputs)

    monkeypatch.setattr(engine, "_run", counted)
    boxes = [(1.0 + i % 60, 2.0 + i % 40, 5.0 + i % 7, 6.0) for i in range(152)]
    state = engine.start(FRAME, boxes)
    for frame in range(1, 3):
        state = engine.step(FRAME, state)
        np.testing.assert_allclose([result.box for result in results(state)], moved(boxes, frame), rtol=1e-6)
    assert seen == ([5] * 30 + [2]) * 3


def test_trackers_in_threads_share_one_engine(engine: Any) -> None:
    def last(box: tuple[float, ...]) -> tuple[float, ...]:
        tracker = siamtrack.Tracker(engine)
        tracker.init(FRAME, box)
        return [tracker.update(FRAME).box for _ in range(200)][-1]

    with ThreadPoolExecutor(3) as pool:
        np.testing.assert_allclose(list(pool.map(last, BOXES)), moved(BOXES, 200), rtol=1e-5)


def test_frames_and_boxes_are_refused_in_the_words_of_torchs_engine(engine: Any) -> None:
    network = siamtrack.load(engine="torch").engine
    boxes: list[Any] = [
        (1, 2, 3), (1, 2, 0, 4), (1, 2, np.nan, 4), (500, 500, 3, 3), "box", None, [], torch.ones(4, device="meta"),
    ]  # fmt: skip
    whole = torch.zeros(3, 60, 80, dtype=torch.uint8)
    frames: list[Any] = [
        FRAME[..., 0], FRAME.astype(np.float32), FRAME.tolist(), None, torch.zeros(3, 6, 8) > 0, whole.to_sparse(),
        whole.to("meta"), np.broadcast_to(np.uint8(1), (1 << 20, 1 << 20, 3)), whole[:, :1, :1].expand(3, 40000, 40000),
    ]  # fmt: skip

    def said(run: Any, *arguments: Any) -> str:
        with pytest.raises(InputError) as caught:
            run(*arguments)
        return str(caught.value)

    for box in boxes:
        assert said(engine.start, FRAME, box) == said(network.start, FRAME, box)
    for frame in frames:
        assert said(engine.start, frame, BOXES) == said(network.start, frame, BOXES)
    other = np.zeros((61, 80, 3), np.uint8)
    ours, theirs = engine.start(FRAME, BOXES), network.start(FRAME, BOXES)
    assert said(engine.step, other, ours) == said(network.step, other, theirs)
    assert "expected a frame of 80x60" in said(engine.step, other, ours)
    np.testing.assert_array_equal(engine.start(whole, BOXES).boxes, ours.boxes)
    rows: list[Any] = [None, 0, "0", [3], [-4], [10**30], [0.5], [True, False], [[0]], {0}, slice(None), [None]]
    for row in rows:
        assert said(ours.rows, row) == said(theirs.rows, row)
    for state in (None, 3, "state"):
        for run in (ours.join, theirs.join, partial(engine.step, FRAME), partial(network.step, FRAME)):
            assert said(run, state).startswith("expected a state that this engine made")
    assert said(engine.step, FRAME, theirs) == "expected a state that this engine made; got TrackState"
    with pytest.raises(InputError, match="at most 134217728 pixels"):
        siamtrack.Tracker(engine, "bgr").init(frames[-2], BOXES[0])
    with pytest.raises(InputError, match="uint8; got a tensor of floats"):
        engine.start(torch.zeros(3, 60, 80), BOXES)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_what_is_no_exported_tracker_is_told_in_one_line(tmp_path: Path, suffix: str) -> None:
    good, path = made_export(tmp_path / "good.onnx", note()), tmp_path / f"file{suffix}"
    if suffix == ".xml":
        pytest.importorskip("openvino")
        write_openvino(good, tmp_path / "good.xml", json.dumps(note()))
    whole = (tmp_path / f"good{suffix}").read_bytes()

    def refused(data: bytes | None, words: str) -> None:
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(WeightsError, match=words) as caught:
            siamtrack.load(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500

    refused(None, "no exported file")
    refused(b"", "is not an|is no tracker")
    refused(b"not a model at all " * 20, "is not an")
    refused(whole[: len(whole) // 2], "damaged|no tracker")
    foreign = made_export(tmp_path / "foreign.onnx")
    if suffix == ".xml":
        write_openvino(foreign, path, "")
        refused(path.read_bytes().replace(b"<siamtrack", b"<other"), "siamtrack export MODEL --out")
    else:
        refused(foreign.read_bytes(), "siamtrack export MODEL --out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format 2, and this version reads format 1"),
        ({"state": {"boxes": {"type": "float32", "shape": [None, 4]}}}, "differ in state.frames"),
        ({"state": {"x": {"type": "object", "shape": [None, 4]}}}, "description is damaged"),
        ({"state": {"x": {"type": "float32", "shape": [None, -4]}}}, "description is damaged"),
        ({"state": [1]}, "description is damaged"),
        ({"state": {"x": 1.5}}, "a value of another kind than expected"),
        ({"preset": "text"}, "description is damaged"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        siamtrack.load(made_export(tmp_path / "other.onnx", note(**changes)))


def test_a_graph_that_is_damaged_is_told_by_the_runtime(tmp_path: Path) -> None:
    path = made_export(tmp_path / "mover.onnx", note())
    path.write_bytes(path.read_bytes().replace(b"Identity", b"Idemtity"))
    assert read_exported(path).name == "mover"  # the description is whole
    with pytest.raises(WeightsError, match="damaged, or its graph is not understood"):
        siamtrack.load(path, engine="onnxruntime")


def test_engines_that_cannot_run_a_model_say_what_to_do(tmp_path: Path) -> None:
    shipped = packaged_export("siamcar_pico")
    with pytest.raises(ConfigError, match="unknown engine 'tensorrt'"):
        open_exported(str(shipped), "tensorrt")
    path = made_export(tmp_path / "mover.onnx", note())
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"engine": "onnx"}, "unknown engine 'onnx'; did you mean 'onnxruntime'"),
        ({"model": path, "engine": "torch"}, "torch does not run exported files"),
        ({"model": path, "settings": {"track.window": 0.3}}, "are fixed; export its weights anew"),
        ({"model": path, "device": "cuda:7", "engine": "openvino"}, "the device 'cuda:7' is not available"),
        ({"model": path, "threads": 0}, "threads: expected a number from 1 to"),
        ({"engine": "onnxruntime", "settings": {"track.window": 0.3}}, "with these settings with `siamtrack export`"),
        ({"model": tmp_path / "x.xml", "engine": "onnxruntime"}, "no exported file"),
    ]
    for arguments, words in wrong:
        with pytest.raises(SiamtrackError, match=words):
            siamtrack.load(**arguments)
    assert siamtrack.load(path, threads=1).engine.name in ("openvino", "onnxruntime")
    assert siamtrack.load(settings={"track.window": 0.3}).engine.name == "torch"


@pytest.mark.parametrize(("precision", "first"), [("float32", "onnxruntime"), ("bfloat16", "openvino")])
def test_bfloat16_files_run_in_the_runtime_that_computes_in_it(tmp_path: Path, precision: str, first: str) -> None:
    pytest.importorskip("openvino")
    path = made_export(tmp_path / "mover.onnx", note(precision=precision))
    assert open_exported(path).name == first
    with pytest.raises(ConfigError, match="fixed"):
        siamtrack.load(path, precision="bfloat16")


def test_a_precision_that_torch_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="precision: expected float32 or bfloat16; got 'int8'"):
        siamtrack.load("siamcar_pico", precision="int8")


def test_settings_of_an_exported_file_are_read_without_torch(tmp_path: Path) -> None:
    exported = read_exported(made_export(tmp_path / "mover.onnx", note()))
    assert (exported.name, exported.precision, exported.preset["model"]["family"]) == ("mover", "float32", "siamcar")
    assert exported.state == {"boxes": ("float32", (4,)), "frames": ("int64", ())}
    with pytest.raises(ConfigError, match="openvino"):
        other = tmp_path / "mover.xml"
        other.write_text(f"<net><rt_info><siamtrack value='{json.dumps(note())}'/></rt_info></net>")
        open_exported(other, "onnxruntime")


@pytest.mark.parametrize("threads", [0, -1, 10**6, 10**20])
def test_threads_that_no_machine_has_are_refused(tmp_path: Path, threads: int) -> None:
    path = made_export(tmp_path / "made.onnx")
    with pytest.raises(ConfigError, match="threads: expected a number from 1 to"):
        open_exported(path, threads=threads)
    with pytest.raises(ConfigError, match="threads: expected a number from 1 to"):
        siamtrack.load(path, threads=threads)


def test_a_file_of_zeros_is_told_at_once(tmp_path: Path) -> None:
    with (tmp_path / "zeros.onnx").open("wb") as stream:
        stream.truncate(30 << 30)
    with pytest.raises(WeightsError, match="not an ONNX file"):
        read_exported(tmp_path / "zeros.onnx")


def test_openvino_is_imported_without_telling_its_makers() -> None:
    """Its package sends a message at each import, and waits for an answer."""
    pytest.importorskip("openvino")
    program = """
import socket, sys
from pathlib import Path
def refuse(*words, **options):
    raise SystemExit("a connection was asked for")
socket.socket.connect = socket.getaddrinfo = refuse
from siamtrack.runtime.engine import import_runtime
openvino = import_runtime("openvino", Path("made.xml"))
assert openvino.Core().available_devices
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("home", ["home", "/dev/null"])
def test_onnx_runtime_keeps_nothing_in_the_users_home_and_prints_nothing(home: str, tmp_path: Path) -> None:
    """Its package keeps what it tells its makers there, and warns where it cannot."""
    (tmp_path / "home").mkdir()
    program = """
import os, sys, siamtrack
from siamtrack.runtime.sessions import open_exported
open_exported(sys.argv[1])
assert "ORT_DISABLE_TELEMETRY" not in os.environ
"""
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), str(tmp_path / home))
    done = subprocess.run(
        [sys.executable, "-c", program, str(made_export(tmp_path / "mover.onnx", note()))],
        env=os.environ | places, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.parametrize(
    "given",
    [
        {"model": None}, {"model": b"x"}, {"model": "x" * 5000}, {"device": None}, {"engine": None}, {"threads": 1.5},
        {"threads": "2"}, {"settings": "x"}, {"settings": {5: 5}}, {"preset": 5}, {"precision": None},
    ],
)  # fmt: skip
def test_arguments_of_another_kind_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SiamtrackError) as caught:
        siamtrack.load(**{"model": "siamcar_pico", **given})
    assert "\n" not in str(caught.value)
