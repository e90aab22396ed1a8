"""The studies of the papers: each table and figure is named, each row builds, and a small one runs and resumes."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from siamtrack.apps.cli.main import app
from siamtrack.apps.cli.options import parse_settings
from siamtrack.config import Preset, load_preset, preset_to_json
from siamtrack.errors import ConfigError, DataError, InputError
from siamtrack.models.families.spm import Spm
from siamtrack.studies.figures import attention_weights, candidate_recall, candidates, channel_responses, look
from siamtrack.studies.papers import STUDIES
from siamtrack.studies.runner import StudyRun, jobs_of, open_rows, read_results, row_preset, table
from siamtrack.training.validate import find_clips
from siamtrack.zoo.networks import open_network
from training_toys import write_sequence, write_shard

# What the four papers have, from their texts.
ITEMS = {
    "SiamRPN++": ({1, 2, 3}, set(range(1, 12))),
    "SiamCAR": ({1, 2}, set(range(1, 8))),
    "SA-Siam": (set(range(1, 7)), set(range(1, 7))),
    "SPM": (set(range(1, 5)), set(range(1, 11))),
}


def numbers(paper: str, kind: str) -> set[int]:
    found: set[int] = set()
    for study in STUDIES.values():
        name, _, item = study.item.partition(",")
        if name != paper:
            continue
        for part in re.findall(rf"{kind}s? ([\d]+(?:(?: \([ab]\))?(?: to | and )?\d*)*)", item):
            ends = [int(n) for n in re.findall(r"\d+", part)]
            found |= set(range(ends[0], ends[-1] + 1)) if " to " in part else set(ends)
    return found


@pytest.mark.parametrize("paper", ITEMS)
def test_every_table_and_figure_is_named(paper: str) -> None:
    tables, figures = ITEMS[paper]
    assert numbers(paper, "table") == tables and numbers(paper, "figure") == figures


@pytest.mark.parametrize("paper", ITEMS)
def test_every_table_and_figure_has_a_command(paper: str) -> None:
    short = {"SiamRPN++": "siamrpnpp", "SiamCAR": "siamcar", "SA-Siam": "sasiam", "SPM": "spm"}[paper]
    for kind, items in zip(("table", "figure"), ITEMS[paper], strict=True):
        for number in items:
            name = f"{short}-{kind}{number}"
            (found,) = (study for study in STUDIES.values() if name in (study.name, *study.aliases))
            assert number in numbers(paper, kind) and kind in found.item
            code, text = run("study", name, "--help")
            assert code == 0 and found.item in " ".join(text.split())


def test_what_other_commands_make_says_how() -> None:
    code, text = run("study", "spm-figure10")
    assert code == 0 and "siamtrack report" in text
    code, text = run("study", "siamrpnpp-figure1")
    assert code == 0 and "center-bias" in text


def run(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return found.exit_code, found.output


def test_the_list_says_how_to_run_each() -> None:
    code, text = run("study", "list")
    assert code == 0
    for study in STUDIES.values():
        assert study.name in text and study.command in text and study.shows in text
    code, text = run("study", "siamrpnpp-tabel1")
    assert code == 2 and "siamrpnpp-table1" in text


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.rows])
def test_every_row_is_a_preset_that_builds(name: str) -> None:
    study = STUDIES[name]
    assert len({row.name for row in study.rows}) == len(study.rows)
    assert all(row.small is None and row.paper for row in study.rows if row.full is None)
    for scale in ("full", "small"):
        plan = StudyRun(study, "", {}, Path(), scale)
        assert plan.rows(), "no row at this scale"
        for row in plan.rows():
            preset = row_preset(plan, row.name, 3)
            assert preset.train.seed == 3
            if row.of:
                trained = row_preset(plan, row.of, 3)
                assert trained.train == preset.train and trained.data == preset.data, "a row of tracking alone"
            else:
                with torch.device("cpu" if scale == "small" else "meta"):
                    preset.model.build()
            if scale == "small":
                side = 255 if name == "siamrpnpp-table1" else 127
                assert preset.crops.search == side and preset.train.steps * preset.train.batch <= 3200
        presets = [row_preset(plan, row.name, 0) for row in plan.rows()]
        texts = {json.dumps([str(p.model), str(p.track), str(p.data), str(p.train)]) for p in presets}
        assert len(texts) == len(presets), "two rows are the same"


def test_the_numbers_are_the_papers() -> None:
    """Spot checks against the tables, which an independent reading of the texts gave."""
    stated = {
        ("siamrpnpp-table1", "L4, DW", "vot2018", "EAO"): 0.374,
        ("siamrpnpp-table1", "L3 L4 L5, UP", "otb100", "success_auc"): 0.684,
        ("sasiam-table1", "App. Sem. Att.", "otb50", "precision@20"): 0.803,
        ("sasiam-joint", "together", "otb100", "precision@20"): 0.819,
        ("sasiam-table2", "S2", "otb2013", "precision@20"): 0.822,
        ("spm-table1", "CM+FM, series", "vot2017", "EAO"): 0.296,
        ("spm-table2", "S-P model + GT", "vot2016", "EAO"): 0.434,
        ("siamcar-table2", "AlexNet", "uav123", "fps"): 170,
        ("siamcar-table1", "SiamRPN++", "got10k-test", "SR0.75"): 0.325,
        ("siamcar-table1", "THOR", "got10k-test", "AO"): 0.447,
        ("siamrpnpp-table2", "DaSiamRPN", "vot2018-unsupervised", "accuracy"): 0.398,
        ("siamrpnpp-table3", "SiamFC", "trackingnet", "norm_precision"): 66.3,
        ("siamrpnpp-figure7", "DaSiamRPN", "otb100", "precision@20"): 0.880,
        ("siamrpnpp-figure8", "ResNet-50", "vot2018", "fps"): 35,
        ("siamrpnpp-figure9", "MBMD", "vot2018-lt", "F"): 0.610,
        ("siamcar-figure5", "MDNet", "lasot", "success_auc"): 0.397,
        ("siamcar-figure7", "ECO", "uav123", "success_auc"): 0.525,
        ("sasiam-table4", "the paper's tracker", "vot2015", "failures"): 1.26,
        ("sasiam-table5", "SiamAN (SiamFC)", "vot2016", "failures"): 1.91,
        ("sasiam-table6", "Staple", "vot2017", "robustness"): 0.688,
        ("spm-figure7", "SA-Siam", "otb50", "success_auc"): 0.610,
        ("spm-table4", "C-COT", "vot2016", "fps"): 0.3,
    }
    for (study, name, suite, metric), value in stated.items():
        (row,) = (row for row in STUDIES[study].rows if row.name == name)
        assert row.paper[suite, metric] == value


def test_a_study_of_one_benchmark_tracks_with_the_numbers_for_it() -> None:
    """Where the authors published some: OTB2015 in figure 6 of SiamRPN++, UAV123 in table 2 of SiamCAR."""
    for name, row, preset in (
        ("siamrpnpp-figure6", "ResNet-18", "siamrpn_r50_otb"), ("siamcar-table2", "ResNet-34", "siamcar_r50_uav"),
        ("siamcar-figure5", "the paper's tracker", "siamcar_r50_lasot"),
        ("siamcar-figure7", "the paper's tracker", "siamcar_r50_uav"),
    ):  # fmt: skip
        assert row_preset(StudyRun(STUDIES[name], "", {}, Path()), row, 0).track == load_preset(preset).track


def test_rows_of_tracking_alone_share_a_network() -> None:
    jobs = jobs_of(StudyRun(STUDIES["spm-figure6a"], "", {}, Path(), "small", seeds=(0, 1)))
    assert [(job.trained, job.seed, len(job.rows)) for job in jobs] == [("K = 9", 0, 7), ("K = 9", 1, 7)]
    some = StudyRun(STUDIES["spm-figure6a"], "", {}, Path(), only=("K = 3", "K = 5"))
    assert [(job.trained, job.rows) for job in jobs_of(some)] == [("K = 9", ("K = 3", "K = 5"))]
    with pytest.raises(ConfigError, match="has no row 'K = 4'"):
        jobs_of(StudyRun(STUDIES["spm-figure6a"], "", {}, Path(), only=("K = 4",)))


def test_rows_keep_the_settings_that_they_compare() -> None:
    def presets(**settings: object) -> list[Preset]:
        plan = StudyRun(STUDIES["spm-table1"], "", {}, Path(), "small", settings=settings)
        jobs_of(plan)
        return [row_preset(plan, row.name, 0) for row in plan.rows()]

    coarse, series, both = presets(**{"model.fusion": "series_parallel", "train.batch": 4})
    assert coarse.train.batch == both.train.batch == 4, "it goes over what all rows share"
    assert isinstance(series.model, Spm) and series.model.fusion == "series"
    with pytest.raises(ConfigError, match=r"each row of spm-table1 sets .* itself"):
        presets(**{"data.same_category": True})
    with pytest.raises(ConfigError, match=r"makes the rows .* of spm-table1 the same"):
        presets(**{"model.fusion": "series"})


TINY = ("train.batch=2", "train.precision=float32", "train.from_scratch=all", "data.object_part_prob=0")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.rows])
def test_each_study_runs_at_the_small_scale(name: str, tmp_path: Path) -> None:
    write_shard(tmp_path / "data", tracks=6, frames=2)
    write_sequence(tmp_path / "clips", frames=3)
    words = ["study", name, "--data", tmp_path / "data", "--out", tmp_path / "out", "--scale", "small", "--steps", 1]
    words += ["--suites", f"folder={tmp_path / 'clips'}", *(part for text in TINY for part in ("--set", text))]
    code, text = run(*words)
    assert code == 0, text
    lines = list(csv.reader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    own = {row.name: row.small is not None for row in STUDIES[name].rows if row.small is not None or row.full is None}
    assert [line[0] for line in lines[1:]] == list(own)
    ours = lines[0].index("folder success_auc, ours")
    assert all(0 <= float(line[ours]) <= 1 if own[line[0]] else line[ours] == "" for line in lines[1:])


def test_a_small_study_runs_resumes_and_writes_its_table(tmp_path: Path) -> None:
    write_shard(tmp_path / "data", tracks=6, frames=2)
    write_sequence(tmp_path / "clips", frames=4)
    words = ["study", "siamcar-figure3", "--data", tmp_path / "data", "--out", tmp_path / "out", "--scale", "small"]
    words += ["--suites", f"folder={tmp_path / 'clips'}", "--steps", 2, "--frames", 3, "--seeds", 2]
    words += [part for text in TINY for part in ("--set", text)]
    code, text = run(*words)
    assert code == 0 and "seed 1: 2 steps" in text
    lines = list(csv.reader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert [line[0] for line in lines[1:]] == [row.name for row in STUDIES["siamcar-figure3"].rows]
    assert lines[0][1:3] == ["folder success_auc, paper", "folder success_auc, ours"]
    assert all(re.fullmatch(r"\d\.\d{3} ± \d\.\d{3} \(2\)", line[2]) for line in lines[1:])
    assert (tmp_path / "out" / "table.md").read_text().count("|") > 20
    # Given again, nothing is done again; other settings are refused.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*/*.json")}
    assert len(before) == 16 and run(*words)[0] == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    # What was measured of another suite stays beside what is missing.
    path = next((tmp_path / "out").glob("*/seed-0/result.json"))
    stored = json.loads(path.read_text())
    wanted = stored["metrics"]["folder"]["success_auc"]
    for key in ("metrics", "suites"):
        stored[key]["other"] = stored[key].pop("folder")
    path.write_text(json.dumps(stored))
    assert run(*words)[0] == 0
    stored = json.loads(path.read_text())
    assert stored["metrics"].keys() == stored["suites"].keys() == {"folder", "other"}
    assert stored["metrics"]["folder"]["success_auc"] == wanted
    with pytest.raises(ConfigError, match=r"was made with track\.window = 0\.\d+, now it is 0\.9; give another"):
        run(*words, "--set", "track.window=0.9")
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match=r"was made with data = .*, now it is .*; give another"):
        run(*words, "--data", tmp_path / "moved")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suites", "folder=a,folder=b"], "--suites names 'folder' twice, a and b"),
        (["--suites", "folder=a", "--suites", "folder=b"], "--suites names 'folder' twice, a and b"),
        (["--suites", "folder=a", "--out", "OUT/file"], "file' is a file"),
        (["--suites", "folder=a", "--out", "OUT/file/deep"], "file' is a file"),
    ],
)
def test_what_a_study_cannot_do_is_told_before_anything_is_read(words: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = [word.replace("OUT", str(tmp_path)) for word in words]
    with pytest.raises(InputError, match=message):
        run("study", "siamcar-figure3", "--data", "nowhere", "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def small_plan(home: Path) -> StudyRun:
    """One row, trained for a step and evaluated on one sequence."""
    write_shard(home / "data", tracks=6, frames=2)
    write_sequence(home / "clips", frames=3)
    study = STUDIES["siamcar-figure3"]
    only = (next(row.name for row in study.rows if not row.of),)
    places = {"folder": home / "clips"}
    return StudyRun(
        study, str(home / "data"), places, home / "out", "small", 1, settings=parse_settings(TINY), only=only
    )


def test_a_row_that_lost_a_sequence_is_not_done(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    write_sequence(tmp_path / "clips", "broken", frames=3)
    frame = tmp_path / "clips" / "broken" / "img" / "00000002.jpg"
    whole = frame.read_bytes()
    frame.write_bytes(whole[:200])
    (job,) = jobs_of(plan)
    with pytest.raises(DataError, match=r"has no results for broken of folder \(.*00000002\.jpg"):
        open_rows(plan)(job, lambda: None)
    assert not any(read_results(plan).values()), "a mean over fewer sequences is no result"
    frame.write_bytes(whole)
    assert open_rows(plan)(job, lambda: None)
    assert all(read_results(plan).values())


def test_a_stop_ends_the_evaluation_of_a_row_too(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    (job,) = jobs_of(plan)

    def evaluating() -> bool:
        return any(plan.out.rglob("manifest.json"))

    assert not open_rows(plan, stop=evaluating)(job, lambda: None)
    assert not any(plan.out.rglob("results/*.txt")) and not any(plan.out.rglob("failed/*"))
    assert open_rows(plan)(job, lambda: None) and all(read_results(plan).values())


def test_a_table_has_papers_numbers_beside_ours() -> None:
    study = STUDIES["siamrpnpp-table1"]
    plan = StudyRun(study, "", {"otb100": Path(), "folder": Path()}, Path(), only=("L4, DW", "L5, DW"))
    results = {"L4, DW": [{"otb100": {"success_auc": 0.5}, "folder": {"success_auc": 0.25}}]}
    head, first, second = table(plan, results)
    assert head == [
        "row", "otb100 success_auc, paper", "otb100 success_auc, ours", "folder success_auc, paper",
        "folder success_auc, ours", "vot2018 EAO, paper",
    ]  # fmt: skip
    assert first == ["L4, DW", "0.678", "0.500", "", "0.250", "0.374"]
    assert second == ["L5, DW", "0.646", "", "", "", "0.320"]


def test_a_comparison_shows_other_trackers_by_the_papers_numbers_alone() -> None:
    study = STUDIES["spm-figure7"]
    assert "spm-table3" in study.aliases
    plan = StudyRun(study, "", {"otb100": Path()}, Path())
    names = [job.trained for job in jobs_of(plan)]
    assert names == ["the paper's tracker", "SiamFC", "SiamRPN", "SA-Siam", "DaSiamRPN"]
    head, *lines = table(plan, {"SiamFC": [{"otb100": {"success_auc": 0.5, "fps": 12.0}}]})
    found = {line[0]: dict(zip(head, line, strict=True)) for line in lines}
    assert len(found) == 22
    assert found["SiamFC"]["otb100 success_auc, ours"] == "0.500"
    assert found["LCT"]["otb100 success_auc, paper"] == "0.568" and found["LCT"]["otb100 success_auc, ours"] == ""
    assert found["the paper's tracker"]["paper's machine"] == "P100"
    assert row_preset(plan, "DaSiamRPN", 0).track == load_preset("dasiamrpn").track
    with pytest.raises(ConfigError, match="has no row 'LCT' to run"):
        jobs_of(replace(plan, only=("LCT",)))


def test_results_of_before_a_field_was_added_are_read(tmp_path: Path) -> None:
    plan = StudyRun(STUDIES["spm-table2"], "", {"folder": Path()}, tmp_path, only=("S-P model",))
    stored = json.loads(preset_to_json(row_preset(plan, "S-P model", 0)))
    stored |= {"published": [], "description": "as it was"}
    del stored["model"]["low_score"], stored["data"]["noise"]
    text = json.dumps({"preset": stored, "frames": 0, "metrics": {"folder": {"success_auc": 0.5}}})
    (tmp_path / "s-p-model" / "seed-0").mkdir(parents=True)
    (tmp_path / "s-p-model" / "seed-0" / "result.json").write_text(text)
    assert read_results(plan) == {"S-P model": [{"folder": {"success_auc": 0.5}}]}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequence(tmp_path_factory.mktemp("figures") / "clips", frames=5)


@pytest.mark.parametrize(
    ("kind", "model"),
    [("channels", "siamcar_lite0"), ("attention", "sasiam_lite0"), ("responses", "siamfc_lite0"),
     ("scores", "spm_lite0"), ("scores", "siamrpn_lite0"), ("recall", "spm_lite0")],
)  # fmt: skip
def test_figures_are_drawn_from_any_model(kind: str, model: str, clips: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, _ = run(
        "study", "figure", kind, "--model", model, "--clips", clips, "--out", tmp_path / "f.png", "--frames", 2
    )
    assert code == 0 and (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_does_not_replace_a_frame_that_it_is_drawn_from(clips: Path) -> None:
    frame = next(path for path in clips.rglob("img/*") if path.is_file())
    before = frame.read_bytes()
    words = ["study", "figure", "responses", "--model", "siamcar_pico", "--clips", str(clips), "--out", str(frame)]
    assert "would lie among the sequences" in str(CliRunner().invoke(app, words).exception)
    assert frame.read_bytes() == before


def test_frames_without_the_target_are_left_out(clips: Path, tmp_path: Path) -> None:
    (clip,) = find_clips(clips, 5)
    truth = clip.truth.copy()
    truth[2] = 0
    engine = open_network("siamcar_pico")
    assert len(list(look(engine.net, engine.preset, replace(clip, truth=truth), 10))) == 2  # frames 1 and 4


def test_what_figures_show(clips: Path) -> None:
    (clip,) = find_clips(clips, 10)
    engines = {name: open_network(name) for name in ("spm_lite0", "sasiam_lite0", "siamrpnpp_lite0")}
    with torch.inference_mode():
        for engine in engines.values():
            seen = list(look(engine.net, engine.preset, clip, 3))
            assert len(seen) == 3 and seen[0].search.shape[-1] == engine.preset.crops.search
        spm = list(look(engines["spm_lite0"].net, engines["spm_lite0"].preset, clip, 3))
        boxes, scores, overlaps = candidates(spm[0], 5)
        assert boxes.shape == (5, 4) and bool((scores[:-1] >= scores[1:]).all()) and bool((overlaps <= 1).all())
        recall = candidate_recall(spm, (1, 5))
        assert all(np.all(np.diff(curve) <= 0) and curve[0] == 1 for curve in recall.values())
        assert np.all(recall[5] >= recall[1])
        weights = attention_weights(next(look(engines["sasiam_lite0"].net, engines["sasiam_lite0"].preset, clip, 1)))
        assert [len(layer.shape) for layer in weights] == [1, 1]
        assert all(float(layer.min()) >= 0.5 and float(layer.max()) <= 1.5 for layer in weights)
        with pytest.raises(ConfigError, match="needs a model of SA-Siam"):
            attention_weights(spm[0])
        rpn = next(look(engines["siamrpnpp_lite0"].net, engines["siamrpnpp_lite0"].preset, clip, 1))
        assert channel_responses(rpn).shape[0] == load_preset("siamrpnpp_lite0").model.width
        for correlation in ("depthwise", "up"):
            preset = load_preset("siamrpn", {"model.correlation": correlation, "model.correlation_gain": 1.0})
            net = preset.model.build().eval()
            seen = next(look(net, preset, clip, 1))
            maps = net.respond(net.embed(seen.template, seen.template_sizes), seen.search)
            shown = channel_responses(seen)
            if correlation == "up":  # PySOT's head classifies by the correlation alone: two responses an anchor
                assert torch.allclose(shown, maps["cls"][0], atol=1e-4)
            else:
                assert shown.shape == (256, *maps["cls"].shape[2:])
    code = CliRunner().invoke(
        app, ["study", "figure", "chanels", "--model", "spm_lite0", "--clips", str(clips), "--out", "x.png"]
    )
    assert "channels" in str(code.exception)
