"""Checkpoints: whole or not at all, damage is seen, the one before is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from siamtrack.errors import WeightsError
from siamtrack.training.checkpoint import latest_checkpoint, latest_state, load_checkpoint, save_checkpoint


def _state(step: int) -> dict[str, object]:
    return {"step": step, "preset": "{}", "model": {"w": torch.full((200,), float(step))}, "optimiser": {}}


def test_the_newest_two_stay(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, _state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000010.pt", "step-00000100.pt"]
    newest = latest_checkpoint(tmp_path)
    assert newest is not None and load_checkpoint(newest)["step"] == 100


def _cut(blob: bytes) -> bytes:
    return blob[: len(blob) // 2]


def _flip(blob: bytes) -> bytes:
    """One bit of a weight."""
    place = blob.index(torch.full((4,), 2.0).numpy().tobytes()) + 5
    return blob[:place] + bytes([blob[place] ^ 4]) + blob[place + 1 :]


def _tail(blob: bytes) -> bytes:
    """The zip's directory, which lies at the end, with wrong numbers in it."""
    return blob[:-60] + bytes(range(38)) + blob[-22:]


def _noise(blob: bytes) -> bytes:
    return bytes(range(256)) * (len(blob) // 256)


@pytest.mark.parametrize("damage", [_cut, _flip, _noise, _tail, lambda blob: b""])
def test_a_damaged_newest_falls_back(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    save_checkpoint(tmp_path, 1, _state(1))
    path = save_checkpoint(tmp_path, 2, _state(2))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"step-00000002.*checkpoint before it"):
        state = latest_state(tmp_path)
    assert state is not None and state["step"] == 1


def test_nothing_readable_is_an_error_and_nothing_at_all_is_none(tmp_path: Path) -> None:
    assert latest_state(tmp_path) is None
    save_checkpoint(tmp_path, 1, _state(1)).write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="no readable checkpoint"):
        latest_state(tmp_path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.pt"
    torch.save({"step": 1, "preset": Path("x"), "model": {}, "optimiser": {}}, path)
    with pytest.raises(WeightsError):
        load_checkpoint(path)
    torch.save({"step": 1}, path)
    with pytest.raises(WeightsError, match="no checkpoint of siamtrack"):
        load_checkpoint(path)
