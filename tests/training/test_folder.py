"""A run's folder under pressure: a full disk, a second run, a backbone without its weights."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from siamtrack.config import load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError, WeightsError
from siamtrack.training.checkpoint import latest_state, load_checkpoint, lock_folder, write_checkpoint
from siamtrack.training.loop import RunOptions, train
from training_toys import TINY, write_preset, write_shard

PROGRAM = "import torch; torch.set_num_threads(1); from siamtrack.apps.cli.main import run; run()"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    write_shard(folder / "data")
    write_preset(folder)
    return folder


def command(home: Path, out: Path, *more: object) -> list[str]:
    arguments = ["train", home / "tiny.toml", "--data", home / "data", "--out", out, "--set", "train.batch=2", *more]
    return [sys.executable, "-c", PROGRAM, *map(str, arguments)]


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(home: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the log still fits, a checkpoint does not."""
    out = tmp_path / "out"
    subprocess.run(command(home, out, "--steps", 2), check=True, capture_output=True)
    before = {path.name: path.read_bytes() for path in out.glob("*.pt")}
    full = subprocess.run(
        command(home, out, "--steps", 4, "--resume"),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert full.returncode == 2
    said = [line for line in full.stderr.splitlines() if line.startswith("siamtrack:")]
    assert len(said) == 1 and re.search(r"cannot write .*step-00000003\.pt: .*large", said[0]), full.stderr
    assert "Traceback" not in full.stderr
    assert {path.name: path.read_bytes() for path in out.glob("*.pt")} == before
    assert {path.name for path in out.iterdir()} == {*before, "log.jsonl", "tiny.safetensors"}
    done = subprocess.run(command(home, out, "--steps", 4, "--resume"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert latest_state(out)["step"] == 4  # type: ignore[index]


def test_two_runs_do_not_share_a_folder(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = subprocess.Popen(
        command(home, out, "--set", "train.steps=100000"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 300
        while not (out / "log.jsonl").exists():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        for more in ([], ["--resume"]):
            second = subprocess.run(command(home, out, *more), capture_output=True, text=True)
            assert second.returncode == 2 and second.stderr.count("siamtrack:") == 1
            assert f"in use by process {first.pid} on {socket.gethostname()}; wait" in second.stderr
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    # The lock of a killed process is free, and its file is taken away by the next one.
    assert (out / ".lock").exists()
    with lock_folder(out):
        assert str(os.getpid()) in (out / ".lock").read_text()
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on"), lock_folder(out):
            pass
    assert not (out / ".lock").exists()


def test_a_backbone_without_imagenet_weights_is_refused(home: Path, tmp_path: Path) -> None:
    preset = load_preset(write_preset(tmp_path, TINY))
    pairs = ResidentPairs(ResidentSet.load(home / "data"), preset.crops, preset.data)
    with pytest.raises(ConfigError, match=r"mobilenetv2.*backbone_weights=FILE.*train\.from_scratch=true"):
        train(preset, pairs, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    texts = ["weight", "".join(["wei", "ght"])]
    assert texts[0] is not texts[1]
    for number, text in enumerate(texts):
        state = {"step": 1, "preset": "{}", "model": {text: torch.ones(3)}, "optimiser": {"weight": (1, 2)}}
        write_checkpoint(tmp_path / f"{number}.pt", state)
    assert (tmp_path / "0.pt").read_bytes() == (tmp_path / "1.pt").read_bytes()
    assert load_checkpoint(tmp_path / "1.pt")["optimiser"] == {"weight": (1, 2)}


def test_a_checkpoint_of_another_network_is_named(home: Path, tmp_path: Path) -> None:
    preset = load_preset(home / "tiny.toml", {"train.batch": 2})
    pairs = ResidentPairs(ResidentSet.load(home / "data"), preset.crops, preset.data)
    train(preset, pairs, tmp_path, RunOptions(until=1))
    state = latest_state(tmp_path)
    assert state is not None
    state["model"].popitem()
    write_checkpoint(tmp_path / "step-00000001.pt", state)
    with pytest.raises(WeightsError, match="does not fit this run's network") as caught:
        train(preset, pairs, tmp_path, RunOptions(resume=True))
    assert "\n" not in str(caught.value)
