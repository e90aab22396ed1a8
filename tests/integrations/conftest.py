"""What the tests with other projects' packages share: a small made video, and a model to run on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the made videos and trackers


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A siamtrack model with random weights: a tracker whose boxes are not simple, the same on every run."""
    import torch

    from siamtrack.config import load_preset, preset_to_json
    from siamtrack.models.weights import save_weights

    torch.manual_seed(0)
    preset = load_preset("siamcar_lite0", {"track.rate": 0.9, "track.window": 0.2})
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_weights(path, preset.model.build(), {"preset": preset_to_json(preset)})
    return path
