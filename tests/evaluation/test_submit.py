"""Files for the evaluation servers: what is packed, and why a server would reject one."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from siamtrack.apps.cli.main import app
from siamtrack.errors import ConfigError, DataError
from siamtrack.evaluation.evaluate import evaluate, open_store, read_suite
from siamtrack.evaluation.jobs import Workers
from siamtrack.evaluation.submit import SERVERS, check_submission, pack
from siamtrack.evaluation.suites import find_suite
from toy_sets import Quiet, ToySpec, draw, lines, path_of

GOT = [f"GOT-10k_Test_{n:06d}" for n in (1, 2)]
NET = ["-_0o9F4rRAo_0", "AbCdEfGhIj1_12"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for n, name in enumerate(GOT):
        draw(root / "got" / "test" / name, path_of(5 + n))
        (root / "got" / "test" / name / "groundtruth.txt").write_text(lines(path_of(1)))
    (root / "got" / "test" / "list.txt").write_text("\n".join(GOT))
    (root / "net" / "TEST" / "anno").mkdir(parents=True)
    for n, name in enumerate(NET):
        draw(root / "net" / "TEST" / "frames" / name, path_of(4 + n), "%d.jpg", 0)
        (root / "net" / "TEST" / "anno" / f"{name}.txt").write_text(lines(path_of(1)))
    return root


@pytest.fixture(scope="module")
def stores(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out, found = tmp_path_factory.mktemp("out"), {}
    for server, folder in (("got10k", "got"), ("trackingnet", "net")):
        suite = find_suite(SERVERS[server].suite)
        store = open_store(ToySpec(), suite, out)
        result = evaluate(ToySpec(), suite, read_suite(suite, data / folder), store, Workers(), Quiet())
        assert result.complete and result.scores is None  # the truth is the server's secret
        found[server] = store.root
    return found


def test_got10k(data: Path, stores: dict[str, Path], tmp_path: Path) -> None:
    lengths = {GOT[0]: 5, GOT[1]: 6}
    file = tmp_path / "mine.zip"
    assert pack(stores["got10k"], file, lengths).name == "got10k"
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted(f"{n}/{n}_{kind}.txt" for n in GOT for kind in ("001", "time"))
        boxes = np.loadtxt(archive.open(f"{GOT[1]}/{GOT[1]}_001.txt"), delimiter=",")
        times = np.loadtxt(archive.open(f"{GOT[1]}/{GOT[1]}_time.txt"))
        first = archive.read(f"{GOT[0]}/{GOT[0]}_001.txt").splitlines()[0]
    np.testing.assert_array_equal(boxes, path_of(6))
    assert first == b"4.000,6.000,12.000,10.000"
    assert times.shape == (6,) and (times >= 0).all()
    assert check_submission(file, SERVERS["got10k"], lengths) == []
    again = tmp_path / "again.zip"
    pack(stores["got10k"], again, lengths)
    assert file.read_bytes() == again.read_bytes()


def test_trackingnet(stores: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "mine.zip"
    pack(stores["trackingnet"], file, {NET[0]: 4, NET[1]: 5})
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted(f"{n}.txt" for n in NET)


def test_what_a_server_would_reject_is_not_packed(stores: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 sequences; the server expects 180"):
        pack(stores["got10k"], tmp_path / "x.zip")
    with pytest.raises(DataError, match=f"{NET[0]}: 4 lines for 9 frames"):
        pack(stores["trackingnet"], tmp_path / "x.zip", {NET[0]: 9, NET[1]: 5})
    assert not list(tmp_path.iterdir())
    wrong = tmp_path / "toy" / "folder"
    shutil.copytree(stores["got10k"], wrong)
    text = (wrong / "manifest.json").read_text()
    (wrong / "manifest.json").write_text(text.replace("got10k-test", "otb100"))
    with pytest.raises(ConfigError, match="holds results on otb100"):
        pack(wrong, tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (f"{GOT[0]}/{GOT[0]}_001.txt", "1,2,3,4\n" * 4, "4 lines for 5 frames"),
        (f"{GOT[0]}/{GOT[0]}_001.txt", "1,2,3,4\n1,nan,3,4\n" + "1,2,3,4\n" * 3, "line 2 is not finite"),
        (f"{GOT[0]}/{GOT[0]}_001.txt", "1,2,3,4\n1,2,-3,4\n" + "1,2,3,4\n" * 3, "line 2 has a negative size"),
        (f"{GOT[0]}/{GOT[0]}_001.txt", "1 2 3 4\n" * 5, "separated by commas"),
        (f"{GOT[0]}/{GOT[0]}_001.txt", "1,2,3,x\n" * 5, "expected numbers, got 'x'"),
        (f"{GOT[0]}/{GOT[0]}_001.txt", None, f"1 of 2 sequences are missing: {GOT[0]}"),
        (f"{GOT[0]}/{GOT[0]}_time.txt", None, f"{GOT[0]}_time.txt is missing"),
        (f"{GOT[0]}/{GOT[0]}_time.txt", "0.1\n" * 3, "3 lines for 5 boxes"),
        ("notes.txt", "hello", "unexpected files"),
        ("GOT-10k_Test_000003/GOT-10k_Test_000003_001.txt", "1,2,3,4\n", "unknown sequences"),
    ],
)
def test_check_says_why(
    data: Path, stores: dict[str, Path], tmp_path: Path, file: str, content: str | None, says: str
) -> None:
    packed = tmp_path / "good.zip"
    pack(stores["got10k"], packed, {GOT[0]: 5, GOT[1]: 6})
    with zipfile.ZipFile(packed) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    if content is None:
        del members[file]
    else:
        members[file] = content.encode()
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    result = CliRunner().invoke(app, ["submit", str(bad), "--check", "--data", str(data / "got")])
    assert result.exit_code == 1
    assert says in result.output
    good = CliRunner().invoke(app, ["submit", str(packed), "--check", "--data", str(data / "got")])
    assert good.exit_code == 0, good.output


def test_files_that_the_server_does_not_know_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sent.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("notes/1.txt", "some notes")
    path.write_bytes(path.read_bytes().replace(b"some notes", b"SOME NOTES"))  # whose check sum is wrong
    for server in SERVERS.values():
        assert "notes/1.txt" in check_submission(path, server)[0]
