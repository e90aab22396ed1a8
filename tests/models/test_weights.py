from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from siamtrack.errors import WeightsError
from siamtrack.models.weights import load_weights, read_metadata, save_weights


def small_net(width: int = 4) -> nn.Sequential:
    torch.manual_seed(width)
    net = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
    net.train()(torch.rand(2, 3, 8, 8) * 1e4)
    return net


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    net = small_net()
    with torch.no_grad():
        net[1].running_var.fill_(1e6)
    save_weights(path, net, {"preset": '{"name": "x"}'})
    other = small_net(4)
    nn.init.zeros_(other[0].weight)
    assert load_weights(path, other) == {"preset": '{"name": "x"}'} == read_metadata(path)
    for name, value in net.state_dict().items():
        kept = other.state_dict()[name]
        assert kept.dtype == value.dtype
        if value.ndim >= 2:
            assert torch.equal(kept, value.half().float())
        else:
            assert torch.equal(kept, value), name
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_saving_twice_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_weights(tmp_path / name, small_net(), {"preset": "{}"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_kernels_beyond_half_precision_stay_single(tmp_path: Path) -> None:
    net = small_net()
    with torch.no_grad():
        net[0].weight.mul_(1e6)
    save_weights(tmp_path / "big", net, {})
    other = small_net()
    load_weights(tmp_path / "big", other)
    assert torch.equal(other[0].weight, net[0].weight)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_text("before")
    net = small_net()
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(WeightsError, match=r"nan or infinite.*'0\.weight'"):
        save_weights(path, net, {})
    assert path.read_text() == "before"
    with pytest.raises(WeightsError, match="cannot write"):
        save_weights(path / "below a file.safetensors", small_net(), {})


def test_another_networks_file_is_named_tensor_by_tensor(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(path, small_net(), {})
    wider = small_net(8)
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    with pytest.raises(WeightsError, match=r"wrong shapes 0\.weight \(4, 3, 3, 3\) instead of \(8, 3, 3, 3\)"):
        load_weights(path, wider)
    assert all(torch.equal(value, wider.state_dict()[name]) for name, value in before.items())
    with pytest.raises(WeightsError, match=r"missing 2\.weight, 2\.bias$"):
        load_weights(path, nn.Sequential(*small_net(), nn.Conv2d(4, 4, 1)))
    with pytest.raises(WeightsError, match=r": unknown 1\.[a-z_]+(, 1\.[a-z_]+){4}$"):
        load_weights(path, small_net()[:1])


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "head", "folder", "absent"])
def test_damaged_and_foreign_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(path, small_net(), {})
    whole = path.read_bytes()
    contents = {"text": b"not a weights file at all", "cut": whole[:-10], "empty": b"", "head": b"\xff" * 64}
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage in contents:
        path.write_bytes(contents[damage])
    with pytest.raises(WeightsError) as caught:
        load_weights(path, small_net())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_foreign_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"encoder.weight": torch.zeros(2)}, path)
    assert read_metadata(path) == {}
    with pytest.raises(WeightsError, match=r"missing 0\.weight.*unknown encoder\.weight"):
        load_weights(path, small_net())


def test_weights_that_are_not_finite_or_whole_numbers_are_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for change, words in ((lambda t: t * torch.nan, "finite"), (lambda t: t.to(torch.int8), "kind of number")):
        path = tmp_path / "broken.safetensors"
        safetensors.torch.save_file(state | {"0.weight": change(state["0.weight"])}, path)
        with pytest.raises(WeightsError, match=words):
            load_weights(path, net)
