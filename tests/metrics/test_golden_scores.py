"""Every recorded number of an official scorer whose rule is supported, from the raw files."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from siamtrack.errors import DataError
from siamtrack.evaluation.scoring import score_results
from siamtrack.evaluation.suites import find_suite
from siamtrack.formats.datasets import read_truths
from siamtrack.formats.records import Predictions, Truth
from siamtrack.formats.results import read_results
from siamtrack.metrics.scores import Scores

RECORDS = Path(__file__).resolve().parents[1] / "golden" / "metrics" / "golden.json"
RULES = {
    r"ExperimentOTB|ExperimentLaSOT|ExperimentVOT": "got10k-toolkit",
    r"ExperimentGOT10k": "got10k",
    r"LaSOT_Evaluation_Toolkit": "lasot",
    r"^OTB v1\.1 MATLAB": "otb",
    r"^STVIR/pysot toolkit OPE": "pysot",
    r"^TrackingNet-devkit": "trackingnet",
    r"pysot.* (AccuracyRobustness|F1)|pysot F1": "vot-pysot",
    r"analysis\.supervised|longterm\.determine": "vot-toolkit",
}
# benchmark: suite, truth, folder of results
PLACES = {
    "otb100": ("otb100", "gt/otb100.zip", "results/otb100/{}.zip"),
    "lasot": ("lasot", "gt/lasot_test.zip", "results/lasot/{}.zip"),
    "vot2018": ("vot2018", "gt/vot2018.zip", "results/vot2018/{}.zip"),
    "longterm_lasot20": ("vot2018-lt", "gt/longterm_lasot20.zip", "gt/longterm_lasot20.zip"),
    "trackingnet_dummy": ("trackingnet", "gt/trackingnet_dummy_gt.zip", "results/trackingnet_dummy/{}.zip"),
}
PER_SEQUENCE = {
    "got10k": {"ao": "AO", "sr0.5": "SR0.5"},
    "vot": {"mean_overlap_burnin10": "accuracy"},
    "longterm": {"bestF": "F"},
}


def rule_of(scorer: str) -> str | None:
    return next((rule for pattern, rule in RULES.items() if re.search(pattern, scorer)), None)


def left_out(settings: dict[str, Any]) -> tuple[str, ...]:
    """Return the sequences at which the official code stopped, and which the recorded value goes without."""
    told = json.dumps([settings.get(k) for k in ("left_out_because_of_length", "official_code_raised")])
    note = settings.get("note")
    told += json.dumps(note) if isinstance(note, list) else ""
    return tuple(name for name in ("Tiger1", "Board", "Twinnings", "bag", "fish1") if re.search(rf"\b{name}\b", told))


@cache
def truth_of(pack: Path, benchmark: str) -> dict[str, Truth]:
    return read_truths(pack / PLACES[benchmark][1], find_suite(PLACES[benchmark][0]).data)


@cache
def runs_of(pack: Path, benchmark: str, tracker: str) -> dict[str, list[Predictions]]:
    suite, _, results = PLACES[benchmark]
    path = pack / results.format(tracker)
    return read_results(path, truth_of(pack, benchmark), find_suite(suite).kind)


@cache
def scored(pack: Path, benchmark: str, tracker: str, rule: str, out: tuple[str, ...]) -> Scores:
    runs = runs_of(pack, benchmark, tracker)
    return score_results(PLACES[benchmark][0], truth_of(pack, benchmark), runs, rule, leave_out=out)


def supported() -> list[dict[str, Any]]:
    found = []
    for record in json.loads(RECORDS.read_text()):
        base = record["benchmark"].split("_on_")[-1]
        rule = rule_of(record["computed_by"])
        if rule is not None and base in PLACES and record["raw_results_in_pack"]:
            found.append({**record, "base": base, "rule": rule, "out": left_out(record["settings"])})
    return found


def test_every_record_of_a_supported_rule(metrics_pack: Path) -> None:
    wrong = []
    records = supported()
    for r in records:
        metrics = scored(metrics_pack, r["base"], r["tracker"], r["rule"], r["out"]).metrics
        name = r["metric"] if r["metric"] in metrics else r["metric"].split("(")[0]
        tolerance = 1e-8 if r["base"] == "vot2018" else 1e-9
        if abs(metrics[name] - r["value"]) > tolerance:
            wrong.append((r["benchmark"], r["tracker"], r["rule"], r["metric"], metrics[name], r["value"]))
    assert not wrong
    assert len(records) == 150


def test_results_at_which_the_official_code_stops_are_refused_by_name(metrics_pack: Path) -> None:
    stopped = {(r["base"], r["tracker"], r["rule"], r["out"]) for r in supported() if r["out"]}
    assert len(stopped) == 6
    for base, tracker, rule, out in stopped:
        with pytest.raises(DataError) as error:
            scored(metrics_pack, base, tracker, rule, ())
        for name in out:
            assert re.search(rf"\b{name}: \d+ rows for \d+ frames", str(error.value))


RULE_OF_FILE = {
    "got10k_protocol_on_lasot/got10k": "got10k",
    "got10k_protocol_on_otb100/got10k": "got10k",
    "lasot/got10k": "got10k-toolkit",
    "lasot/lasot_matlab": "lasot",
    "lasot/pysot": "pysot",
    "otb100/got10k": "got10k-toolkit",
    "otb100/otb_matlab": "otb",
    "otb100/pysot": "pysot",
    "vot2018/pysot": "vot-pysot",
    "vot2018/vot_toolkit": "vot-toolkit",
    "longterm_lasot20/pysot": "vot-pysot",
    "longterm_lasot20/vot_toolkit": "vot-toolkit",
}


@pytest.mark.parametrize("name", ["otb100", "lasot", "vot2018", "longterm_lasot20", "got10k_protocol_on_otb100"])
def test_every_sequence(metrics_pack: Path, name: str) -> None:
    with gzip.open(metrics_pack / "per_sequence" / f"{name}.json.gz") as file:
        recorded = json.load(file)
    kind = next((k for k in PER_SEQUENCE if name.startswith(k)), "")
    compared = 0
    for key, sequences in recorded.items():
        scorer, tracker = key.rsplit("/", 1)
        rule = RULE_OF_FILE.get(scorer)
        if rule is None:
            continue
        base = name.split("_on_")[-1]
        known = {"otb100": 100, "vot2018": 60}.get(base)
        every = set() if known == len(sequences) else {"Tiger1", "Board", "Twinnings", "bag", "fish1"}
        out = tuple(sorted(n for n in every - set(sequences) if (n[0].islower()) == (base == "vot2018")))
        found = scored(metrics_pack, base, tracker, rule, out if base in ("otb100", "vot2018") else ())
        assert set(found.sequences) == set(sequences)
        for sequence, expected in sequences.items():
            for metric, value in expected.items():
                ours = PER_SEQUENCE.get(kind, {}).get(metric, metric)
                if ours in found.sequences[sequence]:
                    assert found.sequences[sequence][ours] == pytest.approx(value, abs=1e-7), (key, sequence)
                    compared += 1
    assert compared >= 40


def test_the_numbers_that_papers_print(metrics_pack: Path) -> None:
    for tracker, metric, printed in [
        ("SiamCAR", "accuracy", "0.571"),
        ("SiamCAR", "robustness", "0.309"),
        ("SiamCAR", "lost_number", "66.000"),
        ("SiamCAR", "EAO", "0.318"),
        ("NanoTrackV3", "EAO", "0.449"),
    ]:
        found = scored(metrics_pack, "vot2018", tracker, "vot-pysot", ())
        assert f"{found.metrics[metric]:.3f}" == printed
