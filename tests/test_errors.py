"""Lines of error: short, printable, in plain words, and raised for arguments of other types too."""

from __future__ import annotations

import io
import math
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

import siamtrack
from siamtrack.arguments import checked
from siamtrack.data.index import build_index
from siamtrack.data.pair_source import open_pairs
from siamtrack.errors import InputError, SiamtrackError, reason
from siamtrack.evaluation.opencv import opencv_tracker
from siamtrack.evaluation.scoring import score, score_results
from siamtrack.export import export_model
from siamtrack.formats.datasets import read_dataset
from siamtrack.formats.records import Predictions, Truth
from siamtrack.geometry.inputs import Box
from siamtrack.report import write_report
from siamtrack.tracking.tracker import Result, follow
from siamtrack.training.loop import train
from siamtrack.video.box_writer import BoxWriter
from siamtrack.video.draw import Mark, draw
from siamtrack.video.reader import open_source
from siamtrack.video.writer import VideoWriter
from template_matcher import TemplateMatcher

BOXES = [[1.0, 2.0, 30.0, 40.0]] * 3


def raised(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    assert isinstance(caught.value, Exception)
    return caught.value


def test_a_reason_has_no_numbers_and_addresses_of_a_program() -> None:
    where = URLError(socket.gaierror(-2, "Name or service not known"))
    assert reason(where) == "name or service not known"
    assert reason(Exception("[Errno -2] Name or service not known")) == "Name or service not known"
    assert reason(raised(lambda: Image.open(io.BytesIO(b"")))) == "cannot identify image file"
    assert reason(raised(lambda: float("fast"))) == "expected a number, got 'fast'"
    assert reason(raised(lambda: np.array(["fast", 1.0], dtype=np.float64))).startswith("expected a number, got ")
    assert reason(raised(lambda: int("2x"))) == "expected a number, got '2x'"
    broken = io.BytesIO(b"\x93NUMPY\1\0\x76\0" + b"{'descr': ".ljust(117) + b"\n")
    assert reason(raised(lambda: np.load(broken))) == "a bracket or a text in it has no end"


def test_a_long_value_is_shortened_and_what_is_wrong_with_it_is_not() -> None:
    line = str(InputError(f"no such file: '{'x' * 1_000_000}'; expected a video"))
    assert len(line) < 300 and line.startswith("no such file: 'xxx") and line.endswith("xx'; expected a video")
    line = str(InputError(f"expected a number; got '{'x ' * 500_000}'; give one"))
    assert len(line) < 2100 and line.startswith("expected a number; got 'x x") and line.endswith("'; give one")
    assert str(SiamtrackError(line)) == line


@pytest.mark.parametrize("wrong", [None, 3.5, b"x", [], {}, [None], object()])
@pytest.mark.parametrize(
    "function",
    [
        siamtrack.load, siamtrack.load_multi, siamtrack.load_preset, siamtrack.Tracker, siamtrack.MultiTracker,
        lambda wrong: siamtrack.TorchEngine(wrong, wrong), lambda wrong: siamtrack.start(wrong, wrong, wrong, wrong),
        open_source, lambda wrong: open_source("clip.mp4", stride=wrong), opencv_tracker,
        lambda wrong: score(wrong, wrong, wrong), lambda wrong: score_results("folder", wrong, wrong),
        lambda wrong: score_results("folder", {"a": BOXES}, {"a": wrong}),
        lambda wrong: score_results("folder", {"a": wrong}, {"a": BOXES}),
        lambda wrong: Truth("a", wrong), lambda wrong: Truth("a", np.array(BOXES), visible=wrong or 0),
        Predictions, lambda wrong: Predictions(np.array(BOXES), codes=wrong or "x"),
        lambda wrong: write_report(wrong, wrong), lambda wrong: read_dataset(wrong, wrong),
        lambda wrong: build_index(wrong, wrong), lambda wrong: open_pairs(wrong, wrong, wrong),
        lambda wrong: train(wrong, wrong, wrong), export_model,
        lambda wrong: draw(wrong, wrong), lambda wrong: BoxWriter(wrong, wrong),
        lambda wrong: VideoWriter(wrong, wrong, wrong), lambda wrong: VideoWriter("a.mp4", wrong, 5.0),
    ],
)  # fmt: skip
def test_arguments_of_another_type_are_one_line(function: Callable[[Any], Any], wrong: Any) -> None:
    error = raised(lambda: function(wrong))
    assert isinstance(error, SiamtrackError), repr(error)
    assert str(error) and "\n" not in str(error) and len(str(error)) < 300


FRAME = np.zeros((48, 64, 3), np.uint8)
RESULT = Result(Box(1, 2, 3, 4), 0.5, 0.5, "tracking")


@pytest.mark.parametrize(
    "function",
    [
        lambda folder: follow(None, [FRAME], BOXES),
        lambda folder: follow(TemplateMatcher(), None, BOXES),
        lambda folder: follow(TemplateMatcher(), [FRAME], None),
        lambda folder: follow(TemplateMatcher(), [FRAME], [None]),
        lambda folder: draw(FRAME, [Mark(None)]),
        lambda folder: draw(FRAME, [Mark((1, 2, 3))]),
        lambda folder: draw(FRAME, [Mark((1, 2, 3, math.nan))]),
        lambda folder: draw(FRAME, [Mark((1, 2, 3, 4), score="much")]),
        lambda folder: draw(FRAME, [Mark((1, 2, 3, 4), trail=[(1, None)])]),
        lambda folder: draw(FRAME[..., 0], [Mark((1, 2, 3, 4))]),
        lambda folder: draw(FRAME.astype(np.float32), [Mark((1, 2, 3, 4))]),
        lambda folder: BoxWriter(folder / "a.csv", 1).write(0, [None]),
        lambda folder: BoxWriter(folder / "a.csv", 1).write(0, [replace(RESULT, box=None)]),
        lambda folder: BoxWriter(folder / "a.csv", 1).write(0, [replace(RESULT, box=(1, 2, 3, "x"))]),
        lambda folder: BoxWriter(folder / "a.json", 1).write(0, [replace(RESULT, score=math.nan)]),
        lambda folder: BoxWriter(folder / "a.jsonl", 1).write(0, [replace(RESULT, presence="?")]),
    ],
)
def test_contents_of_another_kind_are_one_line(function: Callable[[Path], Any], tmp_path: Path) -> None:
    error = raised(lambda: function(tmp_path))
    assert isinstance(error, InputError), repr(error)
    assert str(error) and "\n" not in str(error) and len(str(error)) < 400


def test_plain_lists_are_scored_as_arrays_are() -> None:
    truth = Truth("a", BOXES, visible=[True, False, True], tags={"fast": [True, False, False]})  # type: ignore[arg-type]
    lists = score_results("lasot", {"a": truth}, {"a": BOXES})
    arrays = score_results("lasot", {"a": truth}, {"a": np.array(BOXES)})
    assert lists.as_dict() == arrays.as_dict()


def test_what_stands_for_a_type_is_taken() -> None:
    @checked
    def told(path: Path, number: int, size: tuple[int, int], share: float = 1.0, names: str | None = None) -> Any:
        return path, number, size, share, names

    assert told("a", np.int64(3), [1, 2], np.float32(2)) == (Path("a"), 3, [1, 2], 2, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^number: expected int; got float$"):
        told(Path(), 3.0, (1, 2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^size: expected tuple\[int, int\]; got tuple of int and str$"):
        told(Path(), 3, (1, "b"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'sise'"):
        told(Path(), 3, sise=3)  # type: ignore[call-arg]
