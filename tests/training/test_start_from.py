"""Training that begins with the weights of another run."""

import json

import pytest
import torch

from siamtrack.config import Train, preset_from_json, preset_to_json
from siamtrack.errors import ConfigError, WeightsError
from siamtrack.models.weights import save_weights
from siamtrack.training.loop import build_network
from training_toys import small_model

CPU = torch.device("cpu")


def preset(**train):
    return preset_from_json(
        json.dumps({"name": "toy", "model": {"family": "siamcar", **small_model("siamcar")}, "train": train}), "toy"
    )


def test_start_from_a_file(tmp_path):
    torch.manual_seed(5)
    first = preset(from_scratch=True)
    net = first.model.build()
    path = tmp_path / "first.safetensors"
    save_weights(path, net, {"preset": preset_to_json(first)}, half=False)
    began = build_network(preset(start_from=str(path)), CPU)
    for name, value in net.state_dict().items():
        assert torch.equal(began.state_dict()[name], value), name


def test_start_from_another_network_is_one_line(tmp_path):
    with pytest.raises(WeightsError, match="was made for another network"):
        build_network(preset(start_from="siamfc_lite0"), CPU)
    with pytest.raises(ConfigError, match="unknown model 'nothing'"):
        build_network(preset(start_from="nothing"), CPU)


def test_start_from_excludes_other_beginnings():
    with pytest.raises(ConfigError, match="start_from does without"):
        Train(start_from="siamcar_lite0", from_scratch=True)
