"""What a command finds around it: streams that are closed or full, variables that libraries cannot read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from siamtrack.apps.cli import surroundings


def siamtrack(*arguments: str, shell: str = '"$@"', **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program by a line of a shell, in which `"$@"` is the command."""
    command = ["bash", "-c", shell, "bash", sys.executable, "-m", "siamtrack", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_file_gets_no_number_of_a_closed_stream(tmp_path: Path) -> None:
    program = (
        "import sys; from siamtrack.apps.cli.surroundings import fill_streams; fill_streams();"
        "file = open(sys.argv[1], 'w'); file.write(str(file.fileno()))"
    )
    line = f'"{sys.executable}" -c "{program}" "{tmp_path / "number"}" <&- >&- 2>&-'
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(["bash", "-c", line], env=environment, check=True, timeout=120)
    assert int((tmp_path / "number").read_text()) > 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_what_cannot_be_printed_is_told_in_one_line() -> None:
    done = siamtrack("--version", shell='"$@" > /dev/full')
    assert done.returncode == 2
    assert done.stderr == "siamtrack: no space left on device\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("OPENCV_FOR_THREADS_NUM", "abc"), ("OPENCV_FOR_THREADS_NUM", "99999"), ("OPENCV_IO_MAX_IMAGE_PIXELS", "-1"),
     ("OPENCV_IO_MAX_IMAGE_WIDTH", "1e9"), ("SOURCE_DATE_EPOCH", "99999999999999999")],
)  # fmt: skip
def test_a_variable_that_ends_a_library_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    wrong = surroundings.strange_variable()
    assert name in wrong and value in wrong


@pytest.mark.parametrize(
    ("name", "value"),
    [("OPENCV_FOR_THREADS_NUM", "4"), ("OPENCV_IO_MAX_IMAGE_PIXELS", "512MB"), ("SOURCE_DATE_EPOCH", "0"),
     ("OPENCV_IO_MAX_IMAGE_WIDTH", "")],
)  # fmt: skip
def test_variables_that_libraries_read_are_left_alone(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert surroundings.strange_variable() == ""


def test_help_is_as_wide_as_a_terminal_can_be() -> None:
    done = siamtrack("track", "--help", COLUMNS="1000000000", TERMINAL_WIDTH="abc", _SIAMTRACK_COMPLETE="x")
    assert done.returncode == 0 and len(done.stdout) < 100_000


def test_a_library_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picky_library.py").write_text("import os\n\nint(os.environ['PICKY'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PICKY", "many")
    with pytest.raises(ValueError) as caught:
        import picky_library  # type: ignore[import-not-found]  # noqa: F401
    assert surroundings.library_that_failed(caught.value) == "picky_library"
    with pytest.raises(ValueError) as usual:
        int("many")
    assert surroundings.library_that_failed(usual.value) == ""
