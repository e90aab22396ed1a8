"""`siamtrack import` with checkpoints rebuilt from the reference implementations' own tensors."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from references import embed, reference_net, reference_state
from siamtrack.apps.cli.main import app
from siamtrack.errors import SiamtrackError
from siamtrack.zoo.networks import open_network

SIAMFC = "siamfc"


@pytest.fixture(scope="module")
def checkpoint(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "siamfc.pth"
    torch.save(reference_state(golden / "portable", SIAMFC), path)
    return path


def call(*arguments: object) -> str:
    return str(CliRunner().invoke(app, ["import", *map(str, arguments)], catch_exceptions=False).stdout)


def test_an_imported_checkpoint_is_a_model_that_answers_as_the_reference(
    checkpoint: Path, golden: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    text = call(checkpoint, "--from", "siamfc-pytorch", "--preset", "siamfc", "--out", out)
    assert "2,336,320" in text
    net = open_network(out).net
    reference = reference_net(golden / "portable", SIAMFC)
    generator = torch.Generator().manual_seed(0)
    template, search = (torch.rand(1, 3, size, size, generator=generator) * 255 for size in (127, 255))
    with torch.inference_mode():
        found = net.respond(embed(net, template), search)["response"].numpy()
        expected = reference.respond(embed(reference, template), search)["response"].numpy()
    # To rounding: the loaded network has its BatchNorms folded.
    assert np.allclose(found, expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    ("source", "preset", "words"),
    [
        ("pysot", "siamfc", "does not use|names"),
        ("siamfc-pytorch", "siamrpn_alex", "missing|lack|tensors"),
        ("pysott", "siamfc", "pysot"),
        ("siamfc-pytorch", "siamfcc", "siamfc"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    checkpoint: Path, tmp_path: Path, source: str, preset: str, words: str
) -> None:
    out = tmp_path / "mine.safetensors"
    with pytest.raises(SiamtrackError, match=words) as caught:
        call(checkpoint, "--from", source, "--preset", preset, "--out", out)
    assert "\n" not in str(caught.value)
    assert not out.exists()


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("1/0",))


def test_a_file_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"a": Malicious()}))
    with pytest.raises(SiamtrackError, match="plain tensors"):
        call(path, "--from", "pysot", "--preset", "siamrpn_alex", "--out", tmp_path / "x.safetensors")


def test_the_output_is_checked_first(checkpoint: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "x.pth", tmp_path / "nowhere" / "x.safetensors"):
        with pytest.raises(SiamtrackError, match="--out"):
            call(checkpoint, "--from", "siamfc-pytorch", "--preset", "siamfc", "--out", out)
