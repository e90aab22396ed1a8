"""docs/integrations.md's way from a detector through trackers to supervision, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from footage import FIRST_BOX, SECOND_BOX, moving_patches

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"


def test_results_of_trackers_are_detections_of_supervision() -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    frames, truth = moving_patches(6)

    def detector(frame: np.ndarray) -> list[tuple[float, float, float, float]]:
        assert frame is frames[0]
        return [(x, y, x + w, y + h) for x, y, w, h in (FIRST_BOX, SECOND_BOX)]

    names: dict[str, Any] = {"detector": detector, "first_frame": frames[0], "frames": frames[1:]}
    (code,) = (block for block in re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.S) if "supervision" in block)
    exec(code, names)
    shown = names["shown"]
    assert shown.tracker_id.tolist() == [0, 1]
    wanted = [(x, y, x + w, y + h) for x, y, w, h in truth[-1].tolist()]
    np.testing.assert_allclose(shown.xyxy, wanted, atol=8)
    assert names["picture"].shape == frames[0].shape and (names["picture"] != frames[-1]).any()
