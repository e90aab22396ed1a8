"""Tracking in CVAT: the real agent's classes, Nuclio's, and states that travel as text."""

from __future__ import annotations

import base64
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from footage import moving_patches
from siamtrack.errors import ConfigError, InputError
from siamtrack.integrations.cvat import create, track_shapes
from siamtrack.integrations.states import pack_state, unpack_state
from siamtrack.presets import DEFAULT_MODEL
from siamtrack.tracking.tracker import results
from siamtrack.zoo import open_engine

ROOT = Path(__file__).resolve().parents[2]
FRAMES, TRUTH = moving_patches(5)
BOX = tuple(TRUTH[0, 0])
POINTS = [BOX[0], BOX[1], BOX[0] + BOX[2], BOX[1] + BOX[3]]


def png(frame: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


@pytest.fixture(scope="module")
def engine() -> Any:
    return open_engine("siamcar_lite0")


@pytest.fixture(scope="module")
def expected(engine: Any) -> list[list[float]]:
    return followed(engine)


def followed(engine: Any) -> list[list[float]]:
    """The rectangles of an ordinary run."""
    state, found = engine.start(FRAMES[0], BOX), []
    for frame in FRAMES[1:]:
        state = engine.step(frame, state)
        x, y, w, h = results(state)[0].box
        found.append([x, y, x + w, y + h])
    return found


@pytest.mark.parametrize("model", ["siamcar_lite0", "siamrpn_lite0", "spm_lite0", "sasiam_lite0"])
def test_a_state_goes_through_bytes_unchanged(model: str) -> None:
    for settings in ({}, {"track.rerank": 3}) if model == "siamrpn_lite0" else ({},):
        engine = open_engine(model, settings=settings or None)
        kept = sent = engine.start(FRAMES[0], [BOX, tuple(TRUTH[0, 1])])
        for frame in FRAMES[1:]:
            sent = unpack_state(pack_state(sent), engine)
            kept, sent = engine.step(frame, kept), engine.step(frame, sent)
            np.testing.assert_array_equal(np.asarray(kept.boxes), np.asarray(sent.boxes))
            np.testing.assert_array_equal(np.asarray(kept.scores), np.asarray(sent.scores))


@pytest.mark.parametrize("damage", ["nothing", "text", "cut", "pickle"])
def test_bytes_that_are_no_state_are_refused(engine: Any, damage: str) -> None:
    data = pack_state(engine.start(FRAMES[0], BOX))
    if damage == "pickle":
        out = io.BytesIO()
        np.savez(out, form=np.array([{"a": 1}], dtype=object))
        data = out.getvalue()
    wrong = {"nothing": b"", "text": b"a state", "cut": data[: len(data) // 2], "pickle": data}[damage]
    with pytest.raises(InputError, match="not a state of a tracker"):
        unpack_state(wrong, engine)


def test_a_serverless_tracker_keeps_nothing_and_follows_as_ever(engine: Any, expected: list[list[float]]) -> None:
    answer = track_shapes(engine, {"image": png(FRAMES[0]), "shapes": [POINTS], "states": []})
    assert answer["shapes"] == [POINTS]
    for frame, points in zip(FRAMES[1:], expected, strict=True):
        request = {"image": png(frame), "shapes": answer["shapes"], "states": answer["states"]}
        answer = track_shapes(engine, json.loads(json.dumps(request)))
        assert answer["shapes"][0] == pytest.approx(points, abs=1e-3)
    for wrong in (
        {},
        {"image": "!"},
        {"image": png(FRAMES[0]), "shapes": [[1, 2]]},
        {"image": png(FRAMES[0]), "states": [5]},
    ):
        with pytest.raises(InputError):
            track_shapes(engine, wrong)


def test_the_nuclio_function_answers_as_cvat_expects() -> None:
    nuclio = pytest.importorskip("nuclio_sdk", reason="nuclio-sdk is not installed")
    main = runpy.run_path(str(ROOT / "examples" / "cvat_nuclio" / "main.py"))
    context = nuclio.Context()
    main["init_context"](context)
    body: dict[str, Any] = {"shapes": [POINTS], "states": []}
    for frame, points in zip(FRAMES, [POINTS, *followed(open_engine(DEFAULT_MODEL))], strict=True):
        event = nuclio.Event(body={"image": png(frame), **body}, content_type="application/json")
        response = main["handler"](context, event)
        assert response.status_code == 200
        body = json.loads(response.body)
        assert body["shapes"][0] == pytest.approx(points, abs=1e-3)
    bad = main["handler"](context, nuclio.Event(body=b"{}"))
    assert bad.status_code == 400 and "expected an object with image" in bad.body


def test_the_agent_of_cvat_runs_the_function(expected: list[list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cvat_sdk.auto_annotation", reason="cvat-sdk is not installed")
    pytest.importorskip("cvat_cli", reason="cvat-cli is not installed")
    from cvat_cli._internal import agent_driver_tracking as agent
    from cvat_cli._internal.common import FunctionLoader
    from cvat_sdk.auto_annotation import TrackableShape

    function = FunctionLoader("siamtrack.integrations.cvat", None, {"model": "siamcar_lite0"}).load()
    assert function.spec.supported_shape_types == {"rectangle"}
    monkeypatch.setattr(agent, "worker_current_function", lambda: function)
    names = iter("abcdef")
    agent.AgentTrackingFunctionDriver.init_worker(lambda: next(names))
    images = [Image.fromarray(frame) for frame in FRAMES]
    states = agent._worker_job_init_tracking(7, images[0], [TrackableShape(type="rectangle", points=POINTS)])
    for image, points in zip(images[1:], expected, strict=True):
        (shape,) = agent._worker_job_track(7, image, states)
        assert shape.type == "rectangle" and shape.points == pytest.approx(points, abs=1e-3)


def test_without_cvats_sdk_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvat_sdk.auto_annotation", None)
    with pytest.raises(
        ConfigError, match="tracking in CVAT needs cvat-sdk and cvat-cli: pip install cvat-sdk cvat-cli"
    ):
        create()
