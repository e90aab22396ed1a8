"""A newcomer's walk: the commands of every page are run in their order, or a table here says why they are not.

A page begins in a folder that holds what its reader brings along, and nothing else. Data are tiny and trainings end
after a step; what a command writes is what the next one of the page reads.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import made_sets
from doc_pages import PAGES, ROOT, blocks, shell_lines
from references import reference_state
from siamtrack.apps.cli.main import app
from siamtrack.config import load_preset, preset_to_json
from siamtrack.models.weights import save_weights
from toy_sets import folder_set

CLIP = ROOT / "src/siamtrack/video/demo/clip.mp4"

ELSEWHERE = {
    r"(\. |source )\S+/activate|export |cd ": "the shell's own",
    r"(scripts/(demo|test(-tools|-apart)?|setup|docs)|\.ci/run)( -m slow)?$": "the project's own; .ci/run runs them",
    r"(uv venv|python3 -m venv|conda (create|activate)|(uv |\S+/)?pip (install|wheel)|npm install) ?": "installs; "
    "tests/test_plain_install.py, and test_snippets.py for the names of extras",
    r"python benchmarks/|OMP_WAIT_POLICY=passive python benchmarks/": "measurements; their options are checked below",
    r"scripts/fuzz ": "campaigns; tests/fuzz runs short ones",
    r"g\+\+ |ffmpeg .*\|\s+(\./track|node) ": "tests/examples/test_languages.py",
    r"rm -r onnxruntime/|find \. -name tests ": "would strip this environment",
    r"dask (scheduler|worker) ": "tests/evaluation/test_pool.py has a cluster",
    r"(\S+/)?vot (test|evaluate|initialize|analysis) ": "tests/integrations: test_vot_toolkit.py, test_vot_official.py",
    r"cvat-cli |nuctl ": "tests/integrations/test_cvat.py; both need a server of CVAT",
    r"python -m siamtrack.integrations.labelstudio ": "tests/integrations/test_labelstudio.py",
    r"hf upload ": "needs an account",
    r"python -m http.server ": "tests/apps/page/test_page_in_wasm.py serves the page",
    r"torchrun ": "needs four GPUs; tests/training/test_distributed.py",
}
"""Other programs, by the beginning of their lines: why the walk does not run them, or what does."""

NOT_WALKED = {
    r"app (?!--static)": "serves until it is stopped; tests/apps/page/test_app_cli.py",
    r"app --static": "npm fetches the runtime; tests/apps/page/test_page_in_wasm.py",
    r".* --cluster tcp://head": "needs the machine `head`; tests/evaluation/test_pool.py",
    r".* s3://bucket/": "needs the bucket; tests/evaluation/test_runner.py has one of its own",
    r"study siamrpnpp-table1 .*--device cuda": "needs a GPU and days",
    r"study \S+ .*--scale small": "minutes a row; tests/studies/test_paper_studies.py takes a step of each",
    r"study center-bias ": "needs crops of many objects; tests/studies/test_center_bias.py",
    r"train --replay ": "needs a run that failed; tests/training/test_train_cli.py makes one",
}
"""Commands of siamtrack, from their first word on, that the walk leaves out."""

SHORTER = {
    r"track .*--box \d+:": ["--end", "64"],
    "track": ["--end", "6"],
    "train (?!--replay)": ["--set", "train.steps=2", "--set", "train.batch=2", "--set", "train.compile=false"],
}
"""What is appended to commands to make them short; what is said later replaces what was said before."""

QUICK = {"data.md", "evaluation.md", "page.md"}
"""Pages whose commands take less than half a minute together; the others run with `-m slow`."""

GIVEN = {
    "data.md": ["my_data"],
    "deploy.md": ["clip.mp4"],
    "evaluation.md": ["OTB100", "runs/dasiamrpn", "someone_elses.zip", "their_results.zip"],
    "integrations.md": ["VOT2018", "checkpoint.pth", "my_tracker.py", "sequences", "video.mp4"],
    "studies.md": ["SEQUENCES", "SHARDS"],
    "tracking.md": ["clip.mp4", "mine.safetensors"],
    "training.md": ["sequences", "shards", "video.mp4"],
    "tuning.md": ["dev"],
}
"""What the reader of a page brings along; data sets also lie in ~/data."""

WALKED = [page for page in PAGES if any(line.siamtrack for line in shell_lines(page))]


def reason(table: dict[str, str], text: str) -> str | None:
    """The reason of the first pattern that the text begins with."""
    return next((why for pattern, why in table.items() if re.match(pattern, text)), None)


def all_commands() -> Iterator[tuple[str, Any]]:
    """The commands of siamtrack by name, groups too."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for child, found in getattr(command, "commands", {}).items():
            yield from below(f"{name} {child}".strip(), found)

    return below("", typer.main.get_command(app))


COMMANDS = dict(all_commands())


def test_every_line_is_a_command_of_siamtrack_or_has_a_reason() -> None:
    lines = [line for page in PAGES for line in shell_lines(page)]
    others = [line.text for line in lines if not line.siamtrack]
    assert len(lines) > 100
    assert [text for text in others if reason(ELSEWHERE, text) is None] == []
    assert [pattern for pattern in ELSEWHERE if not any(re.match(pattern, text) for text in others)] == []
    ours = [" ".join(line.siamtrack) for line in lines if line.siamtrack]
    assert [pattern for pattern in NOT_WALKED if not any(re.match(pattern, text) for text in ours)] == []


def test_options_of_other_programs_of_the_project_exist() -> None:
    """Of scripts in benchmarks/ and scripts/: the file names every option that a line shows."""
    text = "\n".join(page.read_text() for page in PAGES)
    shown = re.findall(r"((?:benchmarks|scripts)/\w+(?:\.py)?)((?: [^`\n|#;]*)?)", text)
    used = [(name, option) for name, rest in shown for option in re.findall(r"(?<=\s)--[a-z][\w-]*", rest)]
    assert len(used) > 15
    unknown = [(name, option) for name, option in used if option not in source_of(name)]
    assert unknown == []


def source_of(name: str) -> str:
    """The text of a script, and of the program that a shell script hands its arguments to."""
    path = ROOT / name
    text = path.read_text()
    return text + (ROOT / "tests/fuzz/campaign.py").read_text() if name == "scripts/fuzz" else text


@pytest.mark.parametrize("name", [name for name in COMMANDS if name], ids=lambda name: name.replace(" ", "-"))
def test_the_help_of_a_command_says_what_all_its_options_do_and_a_page_has_them(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0 and COMMANDS[name].help
    text = "\n".join(page.read_text() for page in PAGES)
    for option in COMMANDS[name].params:
        if option.param_type_name == "option" and "--help" not in option.opts:
            assert option.help, option.opts
            spellings = [word for word in (*option.opts, *option.secondary_opts) if word.startswith("--")]
            assert any(re.search(rf"{word}(?![\w-])", text) for word in spellings), f"no page has {spellings}"


def test_commands_and_options_named_in_the_text_exist() -> None:
    options = {word for command in COMMANDS.values() for o in command.params for word in (*o.opts, *o.secondary_opts)}
    for page in PAGES:
        text = page.read_text().replace("\n", " ")
        for words in re.findall(r"`siamtrack ([a-z][^`]*)`", text):
            group, _, rest = words.partition(" ")
            assert group in COMMANDS, (page.name, words)
            if group in ("data", "study") and re.match(r"[a-z]", rest):
                assert f"{group} {rest.split()[0]}" in COMMANDS, (page.name, words)
            for option in re.findall(r"(?<=\s)--[a-z][\w-]*", words):
                assert option in options, (page.name, words)


def test_packages_of_npm_are_installed_without_scripts_as_the_tests_have_them() -> None:
    """One of onnxruntime-node fetches libraries for GPUs from a server of its own, and npm fails where it cannot."""
    command = "npm install --prefix examples/js --ignore-scripts"
    assert command in (ROOT / "scripts/test-tools").read_text()
    shown = [line.text for page in PAGES for line in shell_lines(page) if line.text.startswith("npm install")]
    assert shown and all(text.startswith(command) for text in shown)


def test_files_and_modules_named_in_the_text_exist() -> None:
    rooms = "|".join(path.name for path in (ROOT / "src/siamtrack").iterdir() if path.is_dir())
    for page in PAGES:
        text = page.read_text()
        for name in re.findall(r"(?<![\w/.~-])((?:tests|benchmarks|scripts|examples|src|docs)/[\w./-]*\w)", text):
            assert "NAME" in name or (ROOT / name).exists(), (page.name, name)
        for name in re.findall(rf"`((?:{rooms})/[\w./-]*\.(?:py|toml))`", text):
            assert (ROOT / "src/siamtrack" / name).exists(), (page.name, name)


def test_links_lead_to_pages_files_and_headings() -> None:
    found = 0
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith(("http://", "https://")):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name) if name else page
            assert path.exists(), (page.name, target)
            assert not anchor or anchor in headings(path), (page.name, target)
            found += 1
    assert found > 50


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and Python-Markdown make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, golden: Path) -> Path:
    """All that readers bring along, under the names that pages use."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    for name in ("clip.mp4", "video.mp4", "my_data/clip.mp4"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.copy(CLIP, home / name)
    shutil.copy(CLIP.with_suffix(".txt"), home / "my_data/clip.txt")
    for name in ("sequences", "SEQUENCES", "dev"):
        folder_set(home / name, {"a": 8, "b": 8})
    make_benchmarks(home, rng)
    (home / "my_tracker.py").write_text(
        "class MyTracker:\n    def init(self, frame, box):\n        self.box = box\n\n"
        "    def update(self, frame):\n        return self.box\n"
    )
    torch.save(reference_state(golden / "portable", "pysot_siamrpn_r50_l234_dwxcorr"), home / "checkpoint.pth")
    preset = load_preset("siamcar_pico")
    save_weights(home / "mine.safetensors", preset.model.build(), {"preset": preset_to_json(preset)})
    siamtrack("data", "pack", str(home / "my_data"), "-o", str(home / "shards"), "--processes", "1")
    (home / "SHARDS").symlink_to(home / "shards")
    return home


def make_benchmarks(home: Path, rng: np.random.Generator) -> None:
    """Small data sets in `home/data`, VOT's in `home`, and raw results, which are the truth itself."""
    data = home / "data"
    made_sets.otb(data / "OTB100", rng)
    for sequence in (data / "OTB100").iterdir():
        if sequence.name not in ("Basketball", "BlurCar2"):
            shutil.rmtree(sequence)
    (home / "OTB100").symlink_to(data / "OTB100")
    for number in range(1, 181):  # as many as the server expects
        sequence = data / "GOT-10k/test" / f"GOT-10k_Test_{number:06d}"
        made_sets.frames(sequence, "%08d.jpg", 1, 2)
        made_sets.put(sequence / "groundtruth.txt", "10,12,14,16\n")
    made_sets.vot(home / "VOT2018", rng, 2018)
    results = {home / "runs/dasiamrpn": {"Basketball": "OTB100/Basketball/groundtruth_rect.txt",
                                         "BlurCar2": "OTB100/BlurCar2/groundtruth_rect.txt"}}  # fmt: skip
    lasot = made_sets.lasot(data / "LaSOT", rng)
    results[home / "theirs"] = {name: f"LaSOT/{name.partition('-')[0]}/{name}/groundtruth.txt" for name in lasot}
    for folder, files in results.items():
        folder.mkdir(parents=True)
        for name, truth in files.items():
            shutil.copy(data / truth, folder / f"{name}.txt")
    for name in ("their_results", "someone_elses"):
        shutil.make_archive(str(home / name), "zip", home / "theirs")


def siamtrack(*words: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command in this process; what it prints."""
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code in codes, f"siamtrack {' '.join(words)}\n{done.output}"
    return str(done.stdout)


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.name, marks=[] if p.name in QUICK else [pytest.mark.slow]) for p in WALKED]
)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    for name in GIVEN.get(page.name, []):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(home / name)
    if page.name == "README.md":
        siamtrack("demo", "--end", "64")  # `scripts/demo`
    for words in [line.siamtrack for line in shell_lines(page) if line.siamtrack]:
        text = " ".join(words)
        if reason(NOT_WALKED, text) is None:
            more = next((options for start, options in SHORTER.items() if re.match(start, text)), [])
            codes = (0, 1) if "submit --check" in text else (0,)  # 1: it found something to complain of
            siamtrack(*(str(Path(word).expanduser()) for word in words), *more, codes=codes)


@pytest.mark.slow
def test_what_the_readme_says_that_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = ["\n".join(block.lines) for block in blocks(ROOT / "README.md") if block.language == "text"]
    (evaluation,) = [line.siamtrack for line in shell_lines(ROOT / "README.md") if line.siamtrack[:1] == ["eval"]]
    for printed, promised in zip([siamtrack("demo"), siamtrack(*evaluation)], shown, strict=True):
        number = r"\d+(?:\.\d+)?"
        # the same words; scores are those of another processor, times are not compared
        assert re.sub(rf" *{number}", " N", printed.strip()) == re.sub(rf" *{number}", " N", promised.strip())
        scores = [[float(n) for n in re.findall(r"\b[01]\.\d+", text)] for text in (printed, promised)]
        assert scores[0] == pytest.approx(scores[1], abs=0.05)
