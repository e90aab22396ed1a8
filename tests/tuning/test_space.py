"""What may be tuned, how a grid is read and checked, and what two settings share."""

from __future__ import annotations

import pytest

from siamtrack.apps.cli.options import parse_grid
from siamtrack.config import Preset, Track
from siamtrack.errors import ConfigError
from siamtrack.models.families import SaSiam, SiamFc
from siamtrack.tuning.search import default_grid, make_space, tunable_keys

PRESET = Preset("plain", track=Track(window=0.35, penalty=0.1))


def test_a_grid_is_read_as_toml_values_and_bare_words() -> None:
    texts = ["track.window=0.3,0.4", "track.select = best, neighbours", "model.scales=[1.0],[0.96,1.0,1.04]"]
    assert parse_grid(texts) == {
        "track.window": [0.3, 0.4],
        "track.select": ["best", "neighbours"],
        "model.scales": [[1.0], [0.96, 1.0, 1.04]],
    }


@pytest.mark.parametrize(
    "texts",
    [
        ["track.window"],
        ["=0.3"],
        ["track.window="],
        ["track.window=0.3;0.4"],
        ["track.window=0.3,,0.4"],
        ["track.window=0.3]\nx=[1"],
        ["track.window=0.3", "track.window=0.4"],
    ],
)
def test_a_grid_that_cannot_be_read_is_refused_in_one_line(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match="--grid") as caught:
        make_space(PRESET, parse_grid(texts))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("track.windw", "did you mean 'track.window'"),
        ("penalty", "did you mean 'track.penalty'"),
        ("train.lr", "Keys that can be tuned"),
        ("model.appearance_weight", "unknown key"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        make_space(PRESET, {key: [0.1, 0.2]})


@pytest.mark.parametrize(("key", "value"), [("track.window", 1.5), ("track.window", "wide"), ("track.rerank", 0.5)])
def test_a_value_that_the_preset_refuses_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        make_space(PRESET, {key: [0, value]})


def test_a_grid_that_no_machine_could_hold_is_refused_before_it_is_made() -> None:
    values = [n / 1000 for n in range(1000)]
    with pytest.raises(ConfigError, match="1000000000 combinations; expected at most"):
        make_space(PRESET, {"track.window": values, "track.penalty": values, "track.rate": values})
    with pytest.raises(ConfigError, match="5000 values of one key"):
        make_space(PRESET, {"track.window": values * 5})


def test_one_value_a_key_is_no_choice() -> None:
    with pytest.raises(ConfigError, match="nothing to choose from"):
        make_space(PRESET, {"track.window": [0.3, 0.3], "track.rate": [0.5]})


def test_values_take_the_presets_type_rise_and_come_once() -> None:
    pyramid = Preset("fc", model=SiamFc())
    space = make_space(pyramid, {"track.window": [1, 0.5, 0, 0.5], "model.scales": [[1], [0.9, 1, 1.1]]})
    assert space.axes[0].values == (0.0, 0.5, 1.0) and type(space.axes[0].values[0]) is float
    assert space.axes[0].ordered and not space.axes[1].ordered
    assert space.axes[1].values == ((1.0,), (0.9, 1.0, 1.1))
    assert len(space.settings()) == 6


def test_a_setting_changes_its_keys_alone() -> None:
    space = make_space(PRESET, {"track.window": [0.2, 0.35], "track.penalty": [0.1, 0.2]})
    found = space.resolve((0.2, 0.1))
    assert (found.track.window, found.track.penalty) == (0.2, 0.1)
    assert space.resolve(space.default) == PRESET
    assert space.changes((0.2, 0.1)) == {"track.window": 0.2}
    assert space.changes(space.default) == {}
    assert make_space(PRESET, {"track.window": [0.1, 0.4]}).start() == (0.4,)


def test_only_a_blend_of_two_branches_has_its_weight_tuned() -> None:
    both, alone = Preset("b", model=SaSiam()), Preset("a", model=SaSiam(branches="semantic"))
    assert "model.appearance_weight" in tunable_keys(both)
    assert "model.appearance_weight" not in tunable_keys(alone)
    # without sizes there is nothing that the penalty could compare
    assert "track.window" in tunable_keys(alone) and "track.penalty" not in tunable_keys(alone)
    assert default_grid(both) == {"model.appearance_weight": [0.1, 0.3, 0.5, 0.7, 0.9]}
    weighed = make_space(both, default_grid(both)).resolve((0.7,))
    assert isinstance(weighed.model, SaSiam) and weighed.model.appearance_weight == 0.7


def test_the_default_grid_is_valid_for_every_kind_of_head() -> None:
    for preset in (PRESET, Preset("fc", model=SiamFc()), Preset("sa", model=SaSiam())):
        assert len(make_space(preset, default_grid(preset)).settings()) >= 5
