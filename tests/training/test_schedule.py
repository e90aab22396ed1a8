"""Learning rates against those that PySOT and siamfc-pytorch give, and as functions of the step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamtrack.config import Train, load_preset
from siamtrack.errors import ConfigError
from siamtrack.training.parameters import backbone_trains, learning_rate

PER_EPOCH = 7


SHIPPED = {
    "siamrpn_alex_dwxcorr_16gpu": "siamrpn_alex",
    "siamrpn_r50_l234_dwxcorr_8gpu": "siamrpn_r50",
    "siamrpn_r50_l234_dwxcorr_otb_8gpu": "siamrpn_r50_otb",
}


def _from_pysot(config: dict) -> Train:  # type: ignore[type-arg]
    """PySOT's sections as fields of `Train`; its groups' rates are relative to BASE_LR."""
    start, end = config["LR"]["KWARGS"]["start_lr"], config["LR"]["KWARGS"]["end_lr"]
    warm = config["LR_WARMUP"]
    return Train(
        steps=config["EPOCH"] * PER_EPOCH,
        epochs=config["EPOCH"],
        lr=config["BASE_LR"],
        backbone_rate=config["BACKBONE"]["LAYERS_LR"],
        unfreeze_at=config["BACKBONE"]["TRAIN_EPOCH"] / config["EPOCH"],
        warmup=warm["EPOCH"] / config["EPOCH"],
        warmup_from=warm["KWARGS"]["start_lr"] / start,
        warmup_shape="exponential",
        schedule="logspace",
        final_rate=end / start,
    )


NAMES = [
    "siamrpn_alex_dwxcorr_16gpu",
    "siamrpn_r50_l234_dwxcorr_16gpu",
    "siamrpn_r50_l234_dwxcorr_8gpu",
    "siamrpn_r50_l234_dwxcorr_otb_8gpu",
]


@pytest.mark.parametrize("name", NAMES)
def test_pysot_experiments(name: str, shared: Path) -> None:
    blocks = shared / "golden" / "blocks"
    config = json.loads((blocks / "block_pysot_lr.json").read_text())["configs"][name]
    _, backbone, rest = np.load(blocks / "block_pysot_lr.npz")[name].T
    train = _from_pysot(config)
    if name in SHIPPED:
        shipped = load_preset(SHIPPED[name]).train
        for field in ("epochs", "lr", "backbone_rate", "unfreeze_at", "warmup", "warmup_from", "warmup_shape"):
            assert getattr(shipped, field) == pytest.approx(getattr(train, field)), field
        assert (shipped.schedule, shipped.final_rate) == (train.schedule, pytest.approx(train.final_rate))
        assert shipped.batch % config["BATCH_SIZE"] == 0 and shipped.weight_decay == config["WEIGHT_DECAY"]
        assert load_preset(SHIPPED[name]).model.loss_weights == (config["CLS_WEIGHT"], config["LOC_WEIGHT"])
    for offset in (0, PER_EPOCH - 1):
        steps = np.arange(config["EPOCH"]) * PER_EPOCH + offset
        rates = np.array([learning_rate(train, int(s)) for s in steps])
        np.testing.assert_allclose(rates, rest, rtol=1e-12)
        np.testing.assert_allclose(rates * train.backbone_rate, backbone, rtol=1e-12)
    opened = [backbone_trains(train, s) for s in range(train.steps)]
    first = config["BACKBONE"]["TRAIN_EPOCH"] * PER_EPOCH
    assert opened == [step >= first for step in range(train.steps)]


def test_sa_siam_drops_to_a_tenth_for_the_last_five_of_thirty_epochs() -> None:
    train = load_preset("sa_siam").train
    rates = [learning_rate(train, step) for step in range(0, train.steps, train.steps // 30)]
    assert rates[:30] == pytest.approx([0.01] * 25 + [0.001] * 5)


def test_siamfc_exponential(shared: Path) -> None:
    blocks = shared / "golden" / "blocks"
    config = json.loads((blocks / "block_siamfc.json").read_text())["config"]
    epochs = config["epoch_num"]
    shipped = load_preset("siamfc").train
    assert (shipped.epochs, shipped.lr, shipped.schedule) == (epochs, config["initial_lr"], "exponential")
    assert shipped.final_rate == pytest.approx(config["ultimate_lr"] / config["initial_lr"])
    train = Train(
        steps=epochs * PER_EPOCH,
        epochs=epochs,
        lr=config["initial_lr"],
        warmup=0,
        schedule="exponential",
        final_rate=config["ultimate_lr"] / config["initial_lr"],
    )
    rates = [learning_rate(train, e * PER_EPOCH) for e in range(epochs)]
    np.testing.assert_allclose(rates, np.load(blocks / "block_siamfc.npz")["lr"], rtol=1e-12)


def test_the_shipped_preset_warms_up_and_ends_near_zero() -> None:
    train = load_preset("siamcar_lite0").train
    rates = [learning_rate(train, s) for s in range(train.steps)]
    warm = round(train.warmup * train.steps)
    assert rates[0] == pytest.approx(train.lr / warm) and max(rates) == pytest.approx(train.lr)
    assert rates.index(max(rates)) in (warm - 1, warm)
    assert rates[-1] < 1e-4 * train.lr


@given(
    steps=st.integers(1, 300),
    epochs=st.integers(0, 30),
    warmup=st.floats(0, 0.9),
    start=st.floats(0.01, 1),
    shape=st.sampled_from(["linear", "exponential", "constant"]),
    schedule=st.sampled_from(["cosine", "exponential", "logspace", "drop"]),
    final=st.floats(0.001, 1),
)
def test_rates_rise_to_the_peak_and_fall(
    steps: int, epochs: int, warmup: float, start: float, shape: str, schedule: str, final: float
) -> None:
    train = Train(
        steps=steps, epochs=epochs, warmup=warmup, warmup_from=start, warmup_shape=shape,  # type: ignore[arg-type]
        schedule=schedule, final_rate=final, lr=0.1,  # type: ignore[arg-type]
    )  # fmt: skip
    rates = np.array([learning_rate(train, s) for s in range(steps)])
    assert np.isfinite(rates).all() and (rates >= 0).all() and (rates <= 0.1 * (1 + 1e-9)).all()
    peak = int(rates.argmax())
    assert (np.diff(rates[: peak + 1]) >= -1e-12).all() and (np.diff(rates[peak:]) <= 1e-12).all()
    if schedule != "cosine" and round(warmup * (epochs or steps)) < (epochs or steps):
        assert rates[-1] >= 0.1 * min(final, start) * (1 - 1e-9)


def test_a_constant_warm_up_ends_in_the_peak() -> None:
    train = Train(steps=40, epochs=4, warmup=0.25, warmup_from=0.2, warmup_shape="constant", lr=0.005)
    rates = [learning_rate(train, step) for step in range(40)]
    assert rates[:10] == [0.001] * 10 and rates[10] == 0.005


@pytest.mark.parametrize("shape", ["exponential", "constant"])
def test_a_warm_up_from_zero_that_stays_there_is_refused(shape: str) -> None:
    with pytest.raises(ConfigError, match="warmup_from"):
        Train(warmup_shape=shape, warmup=0.1)  # type: ignore[arg-type]
