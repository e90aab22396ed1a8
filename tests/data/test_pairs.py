"""Which pairs are drawn: the shares that the papers give, the gaps, and nothing but (seed, rank, step)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.config import Data, load_preset
from siamtrack.data.pairs import NAMELESS, Pairs, PairSampler, check_sources, generator, unmet_gaps
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel
from siamtrack.errors import ConfigError

COUNT = 40_000


def table(rng: np.random.Generator, tracks: int):
    """Annotations of random tracks with 1 to 6 frames, in random order."""
    labels = []
    for track in range(tracks):
        source, category = f"s{rng.integers(3)}", ("object", "dog", "cat", "car")[rng.integers(4)]
        for frame in rng.choice(500, rng.integers(1, 7), replace=False):
            labels.append(CropLabel(f"t{track}", int(frame), (0.0, 0.0, 9.0, 9.0), category, source))
    rng.shuffle(labels)
    return ResidentSet.listed([("", label) for label in labels])


@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_every_pair_keeps_the_rules(seed, tracks, negative, same, gap):
    crops = table(np.random.default_rng(seed), tracks)
    data = Data(gap=gap, negative=negative, negative_same=same, same_category=True)
    pairs = PairSampler(crops, data).draw(200, generator(seed, 0, 0))
    t, s = crops.tracks[pairs.template], crops.tracks[pairs.search]
    assert torch.equal(t == s, pairs.present)
    apart = (crops.frames[pairs.template] - crops.frames[pairs.search]).abs()
    assert bool((apart[pairs.present] <= gap).all())
    pasted = pairs.other >= 0
    o = crops.tracks[pairs.other.clamp(min=0)]
    assert not bool(((o == t) | (o == s))[pasted].any())
    if tracks > 2:
        # A second draw is made where the first hits the template's object; both may.
        assert float(pasted.float().mean()) > 0.6
    kinds = crops.categories[pairs.template] == crops.categories[pairs.search]
    named = torch.tensor([crops.category_names[c] not in NAMELESS for c in crops.categories[pairs.search]])
    assert torch.equal(pairs.alike, pairs.present | (kinds & named))
    plain = PairSampler(crops, replace(data, same_category=False)).draw(200, generator(seed, 0, 0))
    assert plain.alike is None and torch.equal(plain.template, pairs.template)


def test_spm_shares_two_to_one_to_one_and_video_four_to_one(small_set: ResidentSet):
    published = load_preset("spm").data
    pairs = PairSampler(small_set, replace(published, frames_weight=1)).draw(COUNT, generator(0, 0, 0))
    same_kind = pairs.alike & ~pairs.present
    assert float(pairs.present.float().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(same_kind.float().mean()) == pytest.approx(0.25, abs=0.01)
    moving = torch.tensor([len(torch.nonzero(small_set.tracks == t)) > 1 for t in range(6)])
    drawn = moving[small_set.tracks[pairs.search]]
    for kind in (pairs.present, same_kind, ~pairs.alike):
        assert float(drawn[kind].float().mean()) == pytest.approx(0.8, abs=0.015)


def test_sources_and_lengths_weigh(small_set: ResidentSet):
    data = Data(source_weights={"shots": 0.5}, frames_weight=2)
    search = PairSampler(small_set, data).draw(COUNT, generator(0, 0, 0)).search
    share = torch.bincount(small_set.tracks[search], minlength=6).double() / COUNT
    weights = torch.tensor([2, 2, 2**0.5, 0.5, 0.5, 0.5], dtype=torch.float64)  # 10, 5 and 2 frames; three stills
    assert torch.allclose(share, weights / weights.sum(), atol=0.01)


def test_a_source_of_weight_zero_is_never_shown(small_set: ResidentSet):
    data = Data(source_weights={"shots": 0.0}, negative=0.5)
    pairs = PairSampler(small_set, data).draw(COUNT, generator(0, 0, 0))
    shots = small_set.source_names.index("shots")
    shown = torch.cat([pairs.search, pairs.template, pairs.other[pairs.other >= 0]])
    assert not bool((small_set.sources[shown] == shots).any())


def test_a_gap_of_one_source(small_set: ResidentSet):
    data = Data(gap=100, gaps={"film": 4})
    pairs = PairSampler(small_set, data).draw(COUNT, generator(0, 0, 0))
    apart = (small_set.frames[pairs.template] - small_set.frames[pairs.search]).abs()
    assert int(apart.max()) == 4


def test_draws_depend_on_seed_rank_and_step_alone(small_set: ResidentSet):
    def keys(pairs: Pairs) -> list[int]:
        return pairs.template.tolist() + pairs.search.tolist() + pairs.other.tolist()

    def draw(*key: int) -> list[int]:
        return keys(PairSampler(small_set, Data(negative=0.3)).draw(50, generator(*key)))

    sampler = PairSampler(small_set, Data(negative=0.3))
    sampler.draw(7, generator(9, 9, 9))
    assert keys(sampler.draw(50, generator(1, 2, 3))) == draw(1, 2, 3)
    assert len({str(draw(*key)) for key in ((1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0))}) == 4


def test_sources_that_the_data_lack_have_no_effect(small_set: ResidentSet):
    plain, other = (
        PairSampler(small_set, data).draw(200, generator(0, 0, 0))
        for data in (Data(gap=4), Data(gap=4, source_weights={"elsewhere": 9.0}, gaps={"elsewhere": 50}))
    )
    assert torch.equal(plain.search, other.search) and torch.equal(plain.template, other.template)


def test_unknown_sources_are_named_with_the_nearest(small_set: ResidentSet):
    with pytest.raises(ConfigError, match=r"source_weights names the unknown source 'flim'.*'film'"):
        check_sources(["shots", "flim"], small_set.source_names, "data.source_weights")
    check_sources(["shots", "film"], small_set.source_names, "data.gaps")
    with pytest.raises(ConfigError, match="leave no crop"):
        PairSampler(small_set, Data(source_weights={"film": 0.0, "shots": 0.0}))


def test_a_source_counts_as_many_objects_as_it_is_said_to(small_set: ResidentSet):
    """PySOT's NUM_USE: three objects of `film` count as 9, the three of `shots` as they are."""
    data = Data(source_counts={"film": 9.0, "elsewhere": 5.0}, frames_weight=1.0)
    search = PairSampler(small_set, data).draw(COUNT, generator(0, 0, 0)).search
    share = torch.bincount(small_set.tracks[search], minlength=6).double() / COUNT
    assert torch.allclose(share, torch.tensor([3, 3, 3, 1, 1, 1]).double() / 12, atol=0.01)


def test_negatives_of_any_category(small_set: ResidentSet):
    data = Data(negative=1.0, negative_same="any", frames_weight=1.0, same_category=True)
    pairs = PairSampler(small_set, data).draw(COUNT, generator(0, 0, 0))
    assert not bool(pairs.present.any())
    # Of the 30 pairs of two of the six objects, 2 are of two persons and 2 of two dogs.
    assert float(pairs.alike.float().mean()) == pytest.approx(4 / 30, abs=0.01)
    never = PairSampler(small_set, replace(data, negative_same=0.0)).draw(COUNT, generator(0, 0, 0))
    assert not bool(never.alike.any())


def test_two_frames_of_an_object_are_two_where_there_are_two(small_set: ResidentSet):
    data = Data(gap=4, distinct_frames=True)
    pairs = PairSampler(small_set, data).draw(COUNT, generator(0, 0, 0))
    track, same = small_set.tracks[pairs.search], pairs.template == pairs.search
    assert not bool(same[track < 2].any()) and bool(same[track >= 2].all())  # the dog's frames are 300 apart
    apart = (small_set.frames[pairs.template] - small_set.frames[pairs.search])[track == 1]
    share = torch.bincount(apart + 4, minlength=9).double() / len(apart)
    # Frames 0 to 4, all within the gap: the four others are equally likely, so that d comes up (5 - |d|) / 20 times.
    expected = torch.tensor([1, 2, 3, 4, 0, 4, 3, 2, 1]).double() / 20
    assert torch.allclose(share, expected, atol=0.015)


def test_gaps_that_no_object_meets(small_set: ResidentSet):
    assert unmet_gaps(small_set, Data(gap=1)) == {}
    far = ResidentSet.listed(
        [("", CropLabel(f"t{frame % 2}", 50 * frame, (0.0, 0.0, 9.0, 9.0), "dog", "film")) for frame in range(6)]
        + [("", CropLabel("still", 0, (0.0, 0.0, 9.0, 9.0), "dog", "shots"))]
    )
    assert unmet_gaps(far, Data(gap=99)) == {"film": (99, 100)}
    assert unmet_gaps(far, Data(gap=1, gaps={"film": 100})) == {}
    assert unmet_gaps(far, Data(gap=0)) == {} == unmet_gaps(far, Data(gap=1, source_weights={"film": 0.0}))
