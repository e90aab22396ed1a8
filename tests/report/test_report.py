"""The report: its page says what the stores hold, needs nothing else, and can be seen in a browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from report_toys import FRAMES, GRADES, PATHS, make_data, run_grades
from typer.testing import CliRunner

from siamtrack.apps.cli.main import app
from siamtrack.errors import ConfigError, DataError, InputError
from siamtrack.report import RawSource, write_report
from siamtrack.report.page import read_scored
from siamtrack.report.results import compare
from toy_sets import lines

HOSTILE = '<script>alert(1)</script>,"\n%$_\ud800'
HOSTILE_FILE = '<img src=x onerror=alert(1)> & "q" $x^2$'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"), {"drift": HOSTILE_FILE})


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    run_grades(out, data)
    run_grades(out, data, "vot2019", GRADES[1:])
    run_grades(out, data, "vot2018-lt", GRADES[:2])
    return out


@pytest.fixture(scope="module")
def page(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([out], tmp_path_factory.mktemp("report") / "new").page


class Reader(HTMLParser):
    """Takes tables and addresses out of a page: rows as (name, store's numbers), by caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.tables: list[tuple[str, list[tuple[str, list[float]]]]] = []
        self._into: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href", "data", "poster")]
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag == "table":
            self.tables.append(("", []))
        if tag == "caption":
            self._into = "caption"
        if tag == "th" and found.get("scope") == "row":
            self.tables[-1][1].append(("", []))
            self._into = "row"
        if tag == "td" and "data-value" in found:
            value = found["data-value"]
            self.tables[-1][1][-1][1].append(float(value) if value else float("nan"))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("caption", "th"):
            self._into = None

    def handle_data(self, text: str) -> None:
        caption, rows = self.tables[-1] if self.tables else ("", [])
        if self._into == "caption":
            self.tables[-1] = (caption + text, rows)
        elif self._into == "row":
            rows[-1] = (rows[-1][0] + text, rows[-1][1])

    def table(self, begin: str) -> dict[str, list[float]]:
        return next(dict(rows) for caption, rows in self.tables if caption.startswith(begin))


def stored(out: Path, tracker: str, suite: str, name: str = "scores") -> dict:
    return json.loads((out / tracker / suite / f"{name}.json").read_text())


def test_the_overview_holds_the_stores_numbers(page: Path, out: Path) -> None:
    reader = Reader(page.read_text())
    table = reader.table("folder: trackers ranked by Success")
    assert list(table) == ["good", "mediocre", "failing"]  # the best first
    for tracker, shown in table.items():
        metrics, fps = stored(out, tracker, "folder")["metrics"], stored(out, tracker, "folder", "speed")["fps"]
        wanted = [*(metrics[m] for m in ("success_auc", "precision@20", "success@0.5")), *fps.values()]
        assert [None if np.isnan(v) else v for v in shown] == wanted


@pytest.mark.parametrize(
    ("suite", "metrics"),
    [
        ("folder", ["success_auc", "precision@20"]),
        ("vot2019", ["accuracy", "lost_number"]),
        ("vot2018-lt", ["F", "precision", "recall"]),
    ],
)
def test_the_sequences_hold_the_stores_numbers(page: Path, out: Path, suite: str, metrics: list[str]) -> None:
    trackers = [g for g in GRADES if (out / g / suite).is_dir()]  # GRADES are in order of rank
    table = Reader(page.read_text()).table(f"{suite}: 5 sequences")
    assert set(table) == set(stored(out, trackers[0], suite)["sequences"])
    for name, shown in table.items():
        assert shown == [stored(out, t, suite)["sequences"][name][m] for m in metrics for t in trackers]


def test_the_attributes_hold_the_stores_numbers(page: Path, out: Path) -> None:
    table = Reader(page.read_text()).table("vot2019: attributes")
    assert {"occlusion", "fast motion", "empty"} <= set(table)
    for name, shown in table.items():
        wanted = [
            stored(out, t, "vot2019")["attributes"][name][m]
            for m in ("EAO", "accuracy", "lost_number")
            for t in GRADES[1:]
        ]
        assert [None if np.isnan(v) else v for v in shown] == wanted


def test_the_differences_are_those_of_the_sequences(page: Path, out: Path) -> None:
    mean, low, high = Reader(page.read_text()).table("Success (AUC), mean over sequences")["good − failing"]
    values = [[m["success_auc"] for m in stored(out, t, "folder")["sequences"].values()] for t in ("good", "failing")]
    assert mean == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    assert 0 < low < mean < high  # the good one is better in every video


def test_the_tables_as_files_hold_the_stores_numbers(page: Path, out: Path) -> None:
    with (page.parent / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["suite"], r["tracker"]) for r in rows if r["suite"] == "folder"] == [("folder", t) for t in GRADES]
    for row in rows:
        metrics = stored(out, row["tracker"], row["suite"])["metrics"]
        assert {m: float(row[m]) for m in metrics if row[m]} == {m: v for m, v in metrics.items() if v is not None}
        assert not any(row[m] for m in row if m in ("EAO", "success_auc", "F") and m not in metrics)
    latex = (page.parent / "table.tex").read_text()
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 3
    best = stored(out, "good", "folder")["metrics"]["success_auc"]
    assert f"good & \\textbf{{{best:.3f}}} & " in latex


def test_the_page_says_what_made_the_results(page: Path) -> None:
    text = page.read_text()
    for told in ("Rules: otb (OTB MATLAB toolkit v1.1)", "9.8.7", "toy-device", "feedc0ffeefe"):
        assert told in text
    # printf '{"a":{"c":2},"b":1}' | sha256sum
    assert "5bd51451a14f" in text


def test_the_page_needs_no_other_file(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    reader = Reader(text)
    assert not {"img", "iframe", "object", "embed", "video"} & set(reader.tags)
    assert len(reader.ids) == len(set(reader.ids))
    inner = {a[1:] for a in reader.addresses if a.startswith("#")}
    assert inner <= set(reader.ids)
    files = {a for a in reader.addresses if not a.startswith(("#", "data:"))}
    assert files and all((page.parent / name).is_file() for name in files)


def test_hostile_names_stay_text(page: Path, out: Path, tmp_path: Path) -> None:
    text = page.read_text()
    assert "<img" not in text and "&lt;img src=x onerror=alert(1)&gt; &amp; " in text
    copy = tmp_path / "x"
    shutil.copytree(out / "good" / "folder", copy)
    for name in ("manifest.json", "scores.json"):
        tree = json.loads((copy / name).read_text())
        tree.update({"tracker": HOSTILE} if name == "manifest.json" else {"suite": HOSTILE, "rules": HOSTILE})
        tree |= {"attributes": {f"{HOSTILE}{n}": {"success_auc": 0.5} for n in range(3)}} if "rules" in tree else {}
        (copy / name).write_text(json.dumps(tree))
    report = write_report([copy], tmp_path / "page", title=HOSTILE)
    reader = Reader(report.page.read_text())
    assert reader.tags.count("script") == 1
    with (tmp_path / "page" / "table.csv").open(newline="") as file:
        assert [row["tracker"] for row in csv.DictReader(file)] == [HOSTILE.replace("\ud800", "\\ud800")]
    for svg in (tmp_path / "page" / "plots").glob("*.svg"):
        ElementTree.parse(svg)
    assert {p.parent.name for p in (tmp_path / "page").rglob("*") if p.is_file()} <= {"page", "plots"}


def test_plots_are_pictures(page: Path) -> None:
    names = {p.stem for p in (page.parent / "plots").glob("*.png")}
    assert names == {
        *(f"folder-otb-{n}" for n in ("success", "precision", "speed", "radar", "differences")),
        *(f"folder-otb-attributes-{n}" for n in ("success_auc", "precision-20")),
        *(f"folder-otb-{n}-by-attribute" for n in ("success", "precision")),
        *(f"vot2019-vot-pysot-{n}" for n in ("eao-curve", "eao-rank", "ar", "speed", "radar", "differences")),
        *(f"vot2019-vot-pysot-attributes-{n}" for n in ("EAO", "accuracy", "lost_number")),
        *(f"vot2018-lt-vot-toolkit-{n}" for n in ("precision-recall", "longterm", "speed", "differences")),
    }
    for path in (page.parent / "plots").glob("*.png"):
        image = cv2.imread(str(path))
        assert image.shape[1] == 900 and image.std() > 10
        ElementTree.parse(path.with_suffix(".svg"))


def test_legends_are_ranked_and_begin_with_the_metric(page: Path, out: Path) -> None:
    tree = ElementTree.parse(page.parent / "plots" / "folder-otb-success.svg")
    words = [t.text or "" for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    wanted = [f"[{stored(out, t, 'folder')['metrics']['success_auc']:.3f}]  {t}" for t in GRADES]
    assert [w for w in words if w.startswith("[")] == wanted


def test_curves_of_attributes_are_those_of_their_sequences(page: Path, out: Path) -> None:
    held = stored(out, "mediocre", "folder")
    assert list(held["attribute_curves"]) == ["blur", "fast motion", "occlusion", "scale"]
    for tag, curves in held["attribute_curves"].items():
        assert np.mean(curves["success"]) == pytest.approx(held["attributes"][tag]["success_auc"])
        assert curves["precision"][20] == held["attributes"][tag]["precision@20"]
    assert held["attribute_curves"]["scale"] == held["curves"]  # which all sequences have
    assert held["attribute_curves"]["occlusion"] != held["curves"]
    tree = ElementTree.parse(page.parent / "plots" / "folder-otb-success-by-attribute.svg")
    words = [t.text or "" for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"blur", "fast motion", "occlusion", "scale", *GRADES} <= set(words)
    lines_drawn = [
        p for p in tree.iter("{http://www.w3.org/2000/svg}path") if "stroke-width: 1.3" in p.get("style", "")
    ]
    assert len(lines_drawn) == 4 * len(GRADES) + len(GRADES)  # in the axes and in the legend


def test_a_report_made_again_is_equal(page: Path, out: Path, tmp_path: Path) -> None:
    again = write_report([out], tmp_path).page
    assert again.read_bytes() == page.read_bytes()


def test_clips_show_truth_and_trackers(out: Path, data: Path, tmp_path: Path) -> None:
    import av

    stores = [out / t / "folder" for t in GRADES]
    wanted = f"calm,{HOSTILE_FILE}"
    report = write_report(stores, tmp_path, data=data, clips=wanted)
    reader = Reader(report.page.read_text())
    linked = [a for a in reader.addresses if a.startswith("clips/")]
    assert sorted(p.relative_to(tmp_path).as_posix() for p in report.clips) == sorted(linked)
    assert len(report.clips) == 2 and all(p.is_file() for p in report.clips)
    with av.open(str(report.clips[1])) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert len(frames) == FRAMES and frames[0].shape[1] == 64 and frames[0].shape[0] > 48
    # late in the video the still tracker's box is where the block began, and nothing else is
    corner = frames[-1][4:18, 2:18].astype(int)
    assert corner.max() > 150 and (corner[..., 2] - corner[..., 0]).max() > 40  # its colour is blue


def test_a_clip_with_a_broken_frame_is_not_there(out: Path, data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    shutil.copytree(data, broken)
    frame = sorted((broken / "calm" / "img").iterdir())[3]
    frame.write_bytes(frame.read_bytes()[:300])
    with pytest.raises(DataError, match=frame.name):
        write_report([out / t / "folder" for t in GRADES], tmp_path / "report", data=broken, clips="calm")
    assert [path for path in (tmp_path / "report").rglob("*") if path.suffix == ".mp4"] == []


def test_several_suites_have_their_clips_from_a_data_set_each(out: Path, data: Path, tmp_path: Path) -> None:
    command = ["report", str(out), "--out", str(tmp_path), "--data", f"folder={data}", "--clips", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "clips").rglob("*.mp4"))) == 1 and (tmp_path / "clips" / "folder").is_dir()
    result = CliRunner().invoke(app, [*command[:4], "--data", str(data), "--data", str(data)])
    assert "several --data need the suite of each" in str(result.exception)


def test_choosing_sequences(out: Path) -> None:
    (group,) = compare(read_scored([out / t / "folder" for t in GRADES]))
    assert group.find_sequences("all") == group.sequences
    (first,) = group.find_sequences("1")
    spread = {
        name: np.ptp([stored(out, t, "folder")["sequences"][name]["success_auc"] for t in GRADES])
        for name in group.sequences
    }
    assert spread[first] == max(spread.values())
    with pytest.raises(ConfigError, match="did you mean 'quick'"):
        group.find_sequences("quik")


def test_raw_results_are_scored_beside_stores(out: Path, data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw one"
    shutil.copytree(out / "mediocre" / "folder" / "results", raw)
    report = write_report([out / "good" / "folder", raw], tmp_path / "page", raw=RawSource("folder", data, "otb"))
    table = Reader(report.page.read_text()).table("folder: trackers ranked")
    assert list(table) == ["good", "raw one"]
    assert table["raw one"][0] == stored(out, "mediocre", "folder")["metrics"]["success_auc"]


def test_equal_names_are_told_apart(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "good" / "folder", tmp_path / "second" / "good" / "folder")
    table = Reader(write_report([out / "good" / "folder", tmp_path / "second"], tmp_path / "p").page.read_text())
    assert set(table.table("folder: trackers")) == {f"good ({out.name})", "good (second)"}


def test_unequal_sequences_are_said(out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "o" / "short" / "folder"
    shutil.copytree(out / "good" / "folder", copy)
    for name in ("manifest.json", "scores.json"):
        tree = json.loads((copy / name).read_text())
        tree.update({"tracker": "short"} if name == "manifest.json" else {"left_out": ["calm"]})
        tree.get("sequences", {}).pop("calm", None)
        (copy / name).write_text(json.dumps(tree))
    text = write_report([out / "good" / "folder", tmp_path / "o"], tmp_path / "p").page.read_text()
    assert "Not all trackers were scored on the same sequences: of 5, short (4)" in text
    assert "left out" in text


def test_stores_without_scores_are_named(out: Path, tmp_path: Path) -> None:
    for tracker, kept in (("good", True), ("<b>", False)):
        shutil.copytree(out / "good" / "folder", tmp_path / "o" / tracker / "folder")
        if not kept:
            (tmp_path / "o" / tracker / "folder" / "scores.json").unlink()
    result = CliRunner().invoke(app, ["report", str(tmp_path / "o"), "--out", str(tmp_path / "p")])
    assert result.exit_code == 0
    (told,) = result.stderr.splitlines()
    assert told == f"left out, without scores: {tmp_path}/o/<b>/folder"
    assert set(Reader((tmp_path / "p" / "index.html").read_text()).table("folder: trackers")) == {"good"}


def test_what_cannot_be_reported_is_told(out: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest\.json .*--suite and --truth"):
        write_report([tmp_path], tmp_path / "p")
    with pytest.raises(ConfigError, match="results are of folder, vot2018-lt, vot2019"):
        write_report([out], tmp_path / "p", data=data)
    with pytest.raises(ConfigError, match="--data otb100=DIR: the results are of folder"):
        write_report([out], tmp_path / "p", data={"otb100": data})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expects a folder"):
        write_report([out], tmp_path / "file")
    copy = tmp_path / "good" / "folder"
    shutil.copytree(out / "good" / "folder", copy)
    (copy / "scores.json").write_text('{"suite": "folder"}')
    with pytest.raises(DataError, match="not as `siamtrack eval` writes it"):
        write_report([copy], tmp_path / "p")
    (copy / "scores.json").unlink()
    with pytest.raises(DataError, match=r"no scores\.json"):
        write_report([copy], tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_missing_matplotlib_is_told_in_one_line(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"^a report needs matplotlib: pip install matplotlib \(or, from a clone"):
        write_report([out], tmp_path)


def test_results_that_are_a_link_to_itself_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises((ConfigError, DataError, InputError)):
        write_report([tmp_path / "loop"], tmp_path / "r", raw=RawSource("folder", tmp_path / "loop"))


@pytest.mark.parametrize("name", ["index.html", "table.csv"])
def test_files_that_no_report_wrote_are_kept(out: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html><title>siamtrack</title>my own</html>")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=rf"{name}' is there already; .* --overwrite"):
        write_report([out], tmp_path)
    assert sorted(tmp_path.iterdir()) == before and "my own" in (tmp_path / name).read_text()
    command = ["report", str(out / "good"), "--out", str(tmp_path)]
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 0
    assert "my own" not in (tmp_path / name).read_text()
    assert CliRunner().invoke(app, command).exit_code == 0  # its own it replaces


def test_the_command(out: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(out / "good"), "--out", str(tmp_path / "r"), "--title", "T"])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "r" / "index.html") in done.output
    assert "<h1>T</h1>" in (tmp_path / "r" / "index.html").read_text()


CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)


def shot(address: str, picture: Path, profile: Path, width: int, height: int, *flag: str) -> np.ndarray:
    assert CHROMIUM is not None
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    more = "--disable-component-update --disable-sync --hide-scrollbars"
    size = [f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={picture}"]
    subprocess.run(
        [CHROMIUM, *flags.split(), *more.split(), *size, *flag, address], check=True, capture_output=True, timeout=120
    )
    image = cv2.imread(str(picture))
    assert image is not None and image.shape[:2] == (height, width)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def near(image: np.ndarray, colour: str, within: int = 24) -> int:
    """How many pixels have about this colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(image.astype(int) - rgb).max(axis=2) <= within).sum())


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to look at the page with")
def test_the_page_in_a_browser(page: Path, tmp_path: Path) -> None:
    from siamtrack.report.drawing import DARK, LIGHT

    address = page.resolve().as_uri()
    light = shot(f"{address}#light", tmp_path / "light.png", tmp_path / "a", 1280, 1700)
    dark = shot(f"{address}#dark", tmp_path / "dark.png", tmp_path / "a", 1280, 1700)
    narrow = shot(f"{address}#light", tmp_path / "narrow.png", tmp_path / "a", 500, 1700)
    assert np.median(light) > 230 and np.median(dark) < 40
    # a system that prefers dark gets it unasked, and the button's choice goes before it
    prefers = "--blink-settings=preferredColorScheme=0"
    assert np.median(shot(address, tmp_path / "system.png", tmp_path / "b", 800, 600, prefers)) < 40
    assert np.median(shot(f"{address}#light", tmp_path / "own.png", tmp_path / "b", 800, 600, prefers)) > 230
    for image, colours, others in ((light, LIGHT, DARK), (dark, DARK, LIGHT), (narrow, LIGHT, DARK)):
        for slot in range(3):  # the lines of the three trackers, each in the colour of its theme
            assert near(image, colours[slot]) > 600
            assert near(image, others[slot], 8) < 100
    # the narrow page has no plot beside another, and reaches neither edge
    assert (narrow[:, :6] == narrow[0, 0]).all() and (narrow[:, -6:] == narrow[0, 0]).all()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to look at the page with")
def test_sorting_and_filtering_in_a_browser(page: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    script = """<script>
const table = document.getElementById("folder-otb-sequences");
table.tHead.rows[0].cells[2].querySelector("button").click();
const order = [...table.tBodies[0].rows].map((row) => row.cells[2].dataset.value);
const field = document.getElementById("folder-otb-sequences-filter");
field.value = "QUI"; field.dispatchEvent(new Event("input"));
const shown = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
document.title = JSON.stringify([order, shown, table.tHead.rows[0].cells[2].getAttribute("aria-sort")]);
</script></body>"""
    tried = tmp_path / "tried.html"
    tried.write_text(page.read_text().replace("</body>", script))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    more = ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'p'}"]
    done = subprocess.run(
        [CHROMIUM, *flags, *more, "--dump-dom", tried.as_uri()], check=True, capture_output=True, timeout=120
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout.decode())
    assert title is not None
    order, shown, state = json.loads(title.group(1).replace("&quot;", '"'))
    assert [float(v) for v in order] == sorted((float(v) for v in order), reverse=True) and len(order) == len(PATHS)
    assert shown == ["quick"] and state == "descending"


def test_many_trackers_have_lines_of_their_own(out: Path, tmp_path: Path) -> None:
    for n in range(8):
        copy = tmp_path / "o" / f"t{n}" / "folder"
        shutil.copytree(out / "mediocre" / "folder", copy)
        tree = json.loads((copy / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps(tree | {"tracker": f"t{n}"}))
    report = write_report([tmp_path / "o"], tmp_path / "p")
    # beyond six trackers the best is compared with each other one
    assert len(Reader(report.page.read_text()).table("Success (AUC), mean over sequences")) == 7


def test_the_made_videos_are_read_as_drawn(data: Path) -> None:
    boxes = np.loadtxt(data / "calm" / "groundtruth.txt", delimiter=",")
    assert len(boxes) == FRAMES and lines(boxes[:1]).count(",") == 3
