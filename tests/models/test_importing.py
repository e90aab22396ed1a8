from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from references import REFERENCES, reference_state
from siamtrack.config import load_preset
from siamtrack.errors import ConfigError, WeightsError
from siamtrack.models.families import SiamFc, SiamRpn, SiamRpnPlusPlus
from siamtrack.models.importing import _RULES, _rename, check_source, import_state_dict, read_checkpoint
from siamtrack.models.siamese import SiameseNet

FC = "siamfc"


@pytest.fixture(scope="module")
def fc_state(golden: Path) -> dict[str, Tensor]:
    return reference_state(golden / "portable", FC)


@pytest.fixture
def net() -> SiameseNet:
    return REFERENCES[FC].model.build()


def test_every_tensor_is_read_once(golden: Path, fc_state: dict[str, Tensor], net: SiameseNet) -> None:
    report = import_state_dict(fc_state, "siamfc-pytorch", net)
    assert {theirs for theirs, _ in report.names} == set(fc_state)
    assert {ours for _, ours in report.names} == set(net.state_dict())
    assert report.transposed == report.absent == ()
    assert torch.equal(net.state_dict()["backbone.conv4.0.weight"], fc_state["backbone.conv4.0.weight"])


def test_counters_of_batch_norm_may_be_absent(fc_state: dict[str, Tensor], net: SiameseNet) -> None:
    old = {key: value for key, value in fc_state.items() if not key.endswith("num_batches_tracked")}
    report = import_state_dict(old, "siamfc-pytorch", net)
    assert len(report.absent) == 4
    assert all(name.endswith("num_batches_tracked") for name in report.absent)


def test_missing_and_unknown_names_are_named(fc_state: dict[str, Tensor], net: SiameseNet) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=r"missing backbone\.conv2\.0\.bias$"):
        partial = {key: value for key, value in fc_state.items() if key != "backbone.conv2.0.bias"}
        import_state_dict(partial, "siamfc-pytorch", net)
    with pytest.raises(WeightsError, match=r"siamfc-pytorch does not use: backbone\.conv6\.0\.bias$"):
        import_state_dict(fc_state | {"backbone.conv6.0.bias": torch.zeros(1)}, "siamfc-pytorch", net)
    with pytest.raises(WeightsError, match=r"unknown backbone\.conv5\.1\.bias$"):
        import_state_dict(fc_state | {"backbone.conv5.1.bias": torch.zeros(1)}, "siamfc-pytorch", net)
    with pytest.raises(WeightsError, match=r"wrong shapes backbone\.conv1\.0\.bias \(1,\) instead of \(96,\)"):
        import_state_dict(fc_state | {"backbone.conv1.0.bias": torch.zeros(1)}, "siamfc-pytorch", net)
    with pytest.raises(WeightsError, match=r"names that pysot does not use: .* and \d+ more$"):
        import_state_dict(fc_state | {f"x{i}": torch.zeros(1) for i in range(28)}, "pysot", net)
    with pytest.raises(ConfigError, match="unknown source 'pysott'; did you mean 'pysot'"):
        import_state_dict(fc_state, "pysott", net)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())


def test_weights_of_another_configuration_do_not_fit(golden: Path) -> None:
    alex = reference_state(golden / "portable", "pysot_siamrpn_alex_dwxcorr")
    with pytest.raises(WeightsError, match=r"missing .*unknown"):
        import_state_dict(alex, "pysot", SiamRpn(correlation="up").build())
    with pytest.raises(WeightsError, match="missing neck"):
        import_state_dict(alex, "pysot", SiamRpnPlusPlus(backbone="alexnet", levels=(5,)).build())


def test_pysots_other_names(golden: Path) -> None:
    """`alexnet` in place of `alexnetlegacy`, and the up-channel head, have names of their own."""
    legacy = reference_state(golden / "portable", "pysot_siamrpn_alex_dwxcorr")
    places = dict(zip((0, 4, 8, 11, 14), range(1, 6), strict=True))
    renamed = {}
    for key, value in legacy.items():
        for at, layer in places.items():
            key = key.replace(f"features.{at}.", f"layer{layer}.0.").replace(f"features.{at + 1}.", f"layer{layer}.1.")
        renamed[key] = value
    assert set(renamed) != set(legacy)
    one, two = (SiamRpn(correlation="depthwise").build() for _ in range(2))
    import_state_dict(legacy, "pysot", one)
    import_state_dict(renamed, "pysot", two)
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize(
    ("preset", "like", "without"),
    [
        ("siamrpn_alex_otb", "pysot_siamrpn_alex_dwxcorr", ()),
        ("siamrpn_r50_otb", "pysot_siamrpn_r50_l234_dwxcorr", ("rpn_head.cls_weight", "rpn_head.loc_weight")),
        ("siamrpn_r50_lt", "pysot_siamrpn_r50_l234_dwxcorr", ()),
    ],
)
def test_the_zoo_s_other_entries_have_the_names_of_those_that_were_recorded(
    golden: Path, preset: str, like: str, without: tuple[str, ...]
) -> None:
    """They differ in tracking numbers, in weights of the levels that are not learned, and in widths."""
    recorded = set(reference_state(golden / "portable", like))
    net = load_preset(preset).model.build()
    ours = {theirs: _rename(theirs, _RULES["pysot"]) for theirs in recorded - set(without)}
    state = {theirs: net.state_dict()[str(name)] for theirs, name in ours.items()}
    report = import_state_dict(state, "pysot", net)
    assert {name for _, name in report.names} == set(net.state_dict()) and report.absent == ()
    if without:
        with pytest.raises(WeightsError, match=r"unknown head\.cls_weight, head\.loc_weight$"):
            import_state_dict(state | {name: torch.ones(3) for name in without}, "pysot", net)


# ------------------------------------------------------------------------------------------------ files
def test_wrapped_and_prefixed_checkpoints(tmp_path: Path) -> None:
    plain = {"backbone.conv1.0.bias": torch.ones(2), "module.inner": torch.zeros(1)}
    torch.save(plain, tmp_path / "plain.pth")
    prefixed = {f"module.{key}": value for key, value in plain.items()}
    torch.save({"epoch": 3, "state_dict": prefixed, "optimizer": {"lr": 0.1}}, tmp_path / "wrapped.pth")
    for name in ("plain", "wrapped"):
        state = read_checkpoint(tmp_path / f"{name}.pth")
        assert set(state) == set(plain)
        assert torch.equal(state["backbone.conv1.0.bias"], torch.ones(2))


class Payload:
    """Something whose unpickling would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code of the file ran",)


def test_only_plain_tensors_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Payload()}, tmp_path / "code.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    torch.save({"a": torch.zeros(1), "lr": 0.1}, tmp_path / "mixed.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    whole = (tmp_path / "mixed.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    for name in ("code", "module", "mixed", "list", "text", "empty", "cut", "absent"):
        with pytest.raises(WeightsError) as caught:
            read_checkpoint(tmp_path / f"{name}.pth")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.to_sparse(),
        lambda value: value.to("meta"),
        lambda value: value.to(torch.complex64),
        lambda value: value > 0,
    ],
)
def test_tensors_that_are_not_plain_are_refused(tmp_path: Path, change: Callable[[Tensor], Tensor]) -> None:
    torch.save({"good": torch.ones(2), "strange": change(torch.ones(2, 2))}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"plain tensors by name; others are strange$"):
        read_checkpoint(tmp_path / "x.pth")


def test_names_of_any_kind_stay_on_one_line(tmp_path: Path, net: SiameseNet) -> None:
    torch.save({7: torch.ones(1)}, tmp_path / "number.pth")
    with pytest.raises(WeightsError, match=r"others are 7$"):
        read_checkpoint(tmp_path / "number.pth")
    for name in ("two\nlines", "long" * 10_000):
        with pytest.raises(WeightsError) as caught:
            import_state_dict({name: torch.ones(1)}, "pysot", net)
        assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 250


def test_values_that_cannot_be_weights_are_refused(fc_state: dict[str, Tensor], net: SiameseNet) -> None:
    name = "backbone.conv1.0.weight"
    before = net.state_dict()[name].clone()
    for value, expected in (
        (fc_state[name] * torch.nan, "not finite"),
        (fc_state[name].long(), "another kind of number"),
        (torch.zeros(1).expand(10**11), "wrong shapes"),
    ):
        with pytest.raises(WeightsError, match=expected):
            import_state_dict(fc_state | {name: value}, "siamfc-pytorch", net)
    assert torch.equal(net.state_dict()[name], before)


@settings(max_examples=150, deadline=None)
@given(zipped=st.booleans(), cut=st.floats(0.02, 1), seed=st.integers(0, 10**6), changed=st.integers(0, 4))
def test_a_damaged_file_is_refused_or_read_and_never_breaks(
    tmp_path_factory: pytest.TempPathFactory, zipped: bool, cut: float, seed: int, changed: int
) -> None:
    stream = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(3)}, "epoch": 3}, stream, _use_new_zipfile_serialization=zipped)
    blob = bytearray(stream.getvalue())[: round(cut * len(stream.getvalue()))]
    rng = random.Random(seed)
    for _ in range(changed):
        blob[rng.randrange(min(len(blob), 600))] = rng.randrange(256)
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(blob)
    try:
        assert all(isinstance(value, Tensor) for value in read_checkpoint(path).values())
    except WeightsError as error:
        assert "\n" not in str(error)


def test_an_imported_checkpoint_from_a_file(tmp_path: Path, fc_state: dict[str, Tensor], net: SiameseNet) -> None:
    torch.save({"state_dict": {f"module.{key}": value for key, value in fc_state.items()}}, tmp_path / "fc.pth")
    import_state_dict(read_checkpoint(tmp_path / "fc.pth"), "siamfc-pytorch", net)
    again = SiamFc().build()
    import_state_dict(fc_state, "siamfc-pytorch", again)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in again.state_dict().items())


def test_sources() -> None:
    with pytest.raises(ConfigError, match=r"Known: pysot, siamcar, siamfc-pytorch$"):
        check_source("pytracking")
