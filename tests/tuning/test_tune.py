"""The tuning as a whole, on trackers whose best setting is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quick import QuickVariants, Silent, sequences

from siamtrack.errors import DataError, InputError
from siamtrack.evaluation.jobs import Workers
from siamtrack.formats.sequence import VideoSequence
from siamtrack.tuning.scores import Ledger
from siamtrack.tuning.search import make_space
from siamtrack.tuning.tune import Tuning, TuningPlan, tune

WINDOWS = [0.2, 0.3, 0.4, 0.5, 0.6]
SAME = {"a": 0.4, "b": 0.4, "c": 0.4, "d": 0.4}


def plan(grid: dict[str, list[float]] | None = None, **more: object) -> TuningPlan:
    return TuningPlan(make_space(QuickVariants().preset, grid or {"track.window": WINDOWS}), **more)  # type: ignore[arg-type]


def run(folder: Path, found: list[VideoSequence], what: TuningPlan, watcher: Silent | None = None) -> Tuning:
    variants = QuickVariants()
    ledger = Ledger.open(folder / "scores.jsonl", variants.identity)
    return tune(variants, found, what, ledger, watcher or Silent())


def test_the_known_best_is_found_and_holds_on_what_was_held_out(tmp_path: Path) -> None:
    watcher = Silent()
    found = run(tmp_path, sequences(tmp_path / "data", SAME), plan(), watcher)
    assert watcher.plans == [20] and watcher.done == 20  # the preset's own 0.5 is on the grid
    assert found.choice == found.best == (0.4,) and found.plateau == ((0.4,),)
    assert found.table[0.4,].mean() == pytest.approx(20 / 21)  # overlap 1: above all thresholds but 1
    assert found.table[0.3,].mean() < found.table[0.4,].mean() > found.table[0.5,].mean()
    assert len(found.folds) == 4 and all(fold.setting == (0.4,) for fold in found.folds)
    assert np.array_equal(found.held_out, found.table[0.4,])
    assert found.gain[0] == pytest.approx(20 / 21 - found.table[0.5,].mean()) and found.worth_it


def test_a_choice_that_does_not_carry_over_is_shown_as_worthless(tmp_path: Path) -> None:
    found = run(tmp_path, sequences(tmp_path / "data", {"a": 0.2, "b": 0.6}), plan())
    chosen = {fold.names: fold.setting for fold in found.folds}
    assert chosen == {("a",): (0.6,), ("b",): (0.2,)}  # each by the other sequence alone
    assert found.held_out.tolist() == [found.table[0.6,][0], found.table[0.2,][1]]
    assert found.gain[0] < 0 and not found.worth_it
    assert found.table[found.choice].mean() > found.held_out.mean()


def test_a_flat_optimum_is_taken_in_its_middle(tmp_path: Path) -> None:
    # 0.3 and 0.5 are each the best of a half and a little better on the whole, but not surely so
    best = {"a": 0.3, "b": 0.5, "c": 0.3, "d": 0.5}
    grid = {"track.window": [0.3, 0.4, 0.5]}
    found = run(tmp_path, sequences(tmp_path / "data", best), plan(grid))
    assert found.best != (0.4,) and len(found.plateau) == 3
    assert found.choice == (0.4,)


def test_a_preset_off_the_grid_is_measured_and_not_chosen(tmp_path: Path) -> None:
    found = run(tmp_path, sequences(tmp_path / "data", {"a": 0.5, "b": 0.5}), plan({"track.window": [0.2, 0.4]}))
    assert found.default == (0.5,) and found.choice == (0.4,)
    assert found.gain[0] < 0 and not found.worth_it and len(found.table) == 3


@pytest.mark.parametrize("kind", ["grid", "coordinate"])
def test_both_searches_find_the_best_of_two_keys(tmp_path: Path, kind: str) -> None:
    grid = {"track.window": WINDOWS, "track.penalty": [0.0, 0.1, 0.2, 0.3]}
    found = run(tmp_path, sequences(tmp_path / "data", SAME), plan(grid, kind=kind))
    assert found.plan.space.named(found.choice) == {"track.window": 0.4, "track.penalty": 0.1}
    assert len(found.table) == (20 if kind == "grid" else 8)


def test_a_search_tells_of_its_own_settings_alone(tmp_path: Path) -> None:
    grid = {"track.window": WINDOWS, "track.penalty": [0.0, 0.1, 0.2, 0.3]}
    found = sequences(tmp_path / "data", SAME)
    run(tmp_path, found, plan(grid, kind="grid"))
    assert len(run(tmp_path, found, plan(grid, kind="coordinate")).table) == 8


@pytest.mark.parametrize("kind", ["grid", "coordinate"])
def test_a_stopped_tuning_goes_on_where_it_was(tmp_path: Path, kind: str) -> None:
    grid = {"track.window": WINDOWS, "track.penalty": [0.0, 0.1]}
    found = sequences(tmp_path / "data", SAME | {"d": 0.3})
    whole = run(tmp_path / "whole", found, plan(grid, kind=kind), total := Silent())
    for count in (7, 9):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", found, plan(grid, kind=kind), Silent(stop_after=count))
    parts = run(tmp_path / "parts", found, plan(grid, kind=kind), rest := Silent())
    assert rest.done == total.done - 16
    assert parts.choice == whole.choice and list(parts.table) == list(whole.table)
    assert all(np.array_equal(parts.table[s], whole.table[s]) for s in whole.table)
    run(tmp_path / "parts", found, plan(grid, kind=kind), none := Silent())
    assert none.plans == [] and none.done == 0


def test_a_larger_grid_uses_what_a_smaller_one_measured(tmp_path: Path) -> None:
    found = sequences(tmp_path / "data", SAME)
    run(tmp_path, found, plan({"track.window": [0.3, 0.4]}))
    run(tmp_path, found, plan({"track.penalty": [0.1, 0.2], "track.window": [0.3, 0.4]}), more := Silent())
    assert more.done == 2 * len(SAME)  # those with penalty 0.1, the preset's, are there


def test_several_processes_find_the_same_and_a_failing_one_loses_nothing(tmp_path: Path) -> None:
    found = sequences(tmp_path / "data", SAME | {"b": 0.3})
    one = run(tmp_path / "one", found, plan())
    frame = tmp_path / "data" / "d" / "img" / "00000002.png"
    image = frame.read_bytes()
    frame.write_bytes(b"")  # "d" is the last to be run
    with pytest.raises(DataError, match="cannot be decoded"):
        run(tmp_path / "two", found, plan(workers=Workers(2)), workers := Silent())
    assert workers.done >= 14  # all of a, b and c, but for one that the other worker was still at
    frame.write_bytes(image)
    two = run(tmp_path / "two", found, plan(), rest := Silent())
    assert rest.done == 20 - workers.done
    assert one.choice == two.choice and all(np.array_equal(one.table[s], two.table[s]) for s in one.table)


def test_a_run_that_fails_is_told_and_what_was_done_is_kept(tmp_path: Path) -> None:
    found = sequences(tmp_path / "data", {"a": 0.4, "b": 0.4})
    grid = {"track.select": ["best", "upsampled"]}
    with pytest.raises(InputError, match="no map"):
        run(tmp_path, found, plan(grid))
    assert len(Ledger.open(tmp_path / "scores.jsonl", QuickVariants().identity)) == 1


def test_a_sequence_that_cannot_be_started_is_refused_at_once(tmp_path: Path) -> None:
    one, two = sequences(tmp_path / "data", {"a": 0.4, "b": 0.4})
    truth = one.truth.copy()
    truth[0] = np.nan
    with pytest.raises(DataError, match="a: the first frame has no box"):
        run(tmp_path, [replace(one, truth=truth), two], plan())
    with pytest.raises(DataError, match="two sequences are called a"):
        run(tmp_path, [one, replace(two, name="a")], plan())
