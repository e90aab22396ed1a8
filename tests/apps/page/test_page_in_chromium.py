"""The page in a real browser: what is drawn and pressed there gives the boxes that Python gives."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import FRAMES, Person

import siamtrack
from footage import moving_patches, write_mp4
from siamtrack.apps.page.server import FILES
from siamtrack.apps.page.session import Frames
from siamtrack.errors import InputError
from siamtrack.geometry.overlap import rectangle_iou
from siamtrack.video.boxes import FORMATS, BoxRow, Clip, render_boxes
from siamtrack.video.reader import open_source

STRANGERS = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|(?:import|fetch|url)\s*\(?\s*["']?(?:https?:)?//""")


@pytest.fixture
def person(browser: Any, address: str) -> Iterator[Person]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    found = Person(page, address)
    found.wait_open("clip.mp4")
    yield found
    page.close()
    assert found.wrong == []


def test_a_dragged_box_is_followed_as_python_follows_it(
    person: Person, clip: Path, tracker: siamtrack.MultiTracker
) -> None:
    person.drag((40, 30), (72, 54))
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    found = person.boxes()
    with open_source(clip) as frames:
        for number, frame in enumerate(frames):
            if number == 0:
                np.testing.assert_allclose(found[1, 0], (40, 30, 32, 24), atol=0.2)  # the screen has whole pixels
                tracker.init(frame, [found[1, 0]])
            else:
                # equal but for the given box's digits, of which the download has four
                np.testing.assert_allclose(found[1, number], tracker.update(frame)[0].box, atol=2e-3)
    assert len(found) == FRAMES
    truth = moving_patches(FRAMES)[1][:, 0]
    assert rectangle_iou(np.array([found[1, n] for n in range(FRAMES)]), truth).min() > 0.6


def test_pause_step_correct_undo_and_a_second_target(person: Person) -> None:
    person.page.select_option("#pace", "0.25")
    person.drag((40, 30), (72, 54))
    person.wait_past(6)
    person.press("Space")
    person.wait_paused()
    stopped = person.frame()
    time.sleep(0.3)
    assert person.frame() == stopped
    person.press("ArrowRight")
    person.wait_frame(stopped + 1)
    person.press("ArrowLeft", "ArrowLeft")
    person.wait_frame(stopped - 1)
    before = person.boxes()
    assert {frame for _, frame in before} == set(range(stopped + 2))

    # correct it by its lower right corner, then take that back
    x, y, w, h = before[1, stopped - 1]
    person.drag((x + w, y + h), (x + w + 6, y + h + 4))
    corrected = person.boxes()
    np.testing.assert_allclose(corrected[1, stopped - 1], (x, y, w + 6, h + 4), atol=0.4)
    assert max(frame for _, frame in corrected) == stopped - 1
    person.press("u")
    person.wait_frame(stopped - 1)
    assert person.boxes() == before

    # another one from here on, then both go on
    person.press("n")
    person.drag((96, 66), (120, 90))
    person.page.select_option("#pace", "0")
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    both = person.boxes()
    assert {frame for target, frame in both if target == 1} == set(range(FRAMES))
    assert {frame for target, frame in both if target == 2} == set(range(stopped - 1, FRAMES))
    assert all(both[key] == box for key, box in before.items())

    # the second one goes; the first one stays as it was
    person.press("ArrowLeft", "ArrowLeft")
    person.wait_frame(FRAMES - 3)
    person.press("2", "e")
    ended = person.boxes()
    assert max(frame for target, frame in ended if target == 2) == FRAMES - 3
    assert max(frame for target, frame in ended if target == 1) == FRAMES - 1


def test_play_follows_through_the_frames_that_were_skipped(person: Person) -> None:
    reached = person.follow_some()
    person.go(30)
    assert person.text(".status") == "not followed up to here"
    assert f"Not followed up to here: target 1 (to frame {reached}). Play to follow it" in person.text("#hint")
    assert max(frame for _, frame in person.boxes()) == reached
    assert person.text("#saved") == (
        f"boxes.csv is downloaded. Not followed, so without boxes: target 1 after frame {reached}."
    )
    person.page.focus("#stage")
    person.press("Space")
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    found = person.boxes()
    truth = moving_patches(FRAMES)[1][:, 0]
    assert rectangle_iou(np.array([found[1, n] for n in range(FRAMES)]), truth).min() > 0.6
    assert person.text("#saved") == "boxes.csv is downloaded."


def test_a_target_is_followed_up_to_the_frame_shown_or_ended_where_it_was_left(person: Person) -> None:
    reached = person.follow_some()
    person.go(30)
    assert person.text(".follow") == f"Follow from frame {reached} to here"
    person.page.click(".follow")
    person.wait_text(".status", "tracking")
    person.wait_paused()
    assert person.frame() == 30 and {frame for _, frame in person.boxes()} == set(range(31))
    # ended where it was followed to, brought back further on: the frames between are left out on purpose
    person.go(35)
    assert person.text(".end") == "End in 30"
    person.page.click(".end")
    person.wait_text(".status", "ended in frame 30")
    person.page.focus("#stage")
    person.press("r")
    person.drag((45, 35), (77, 59))
    person.wait_text(".status", "given")
    person.press("Space")
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    assert {frame for _, frame in person.boxes()} == {*range(31), *range(35, FRAMES)}
    assert person.text("#saved") == "boxes.csv is downloaded."
    # followed after all
    person.go(33)
    person.page.click(".follow")
    person.wait_text(".status", "tracking")
    person.wait_paused()
    assert {frame for _, frame in person.boxes()} == {*range(34), *range(35, FRAMES)}


def test_a_new_box_is_followed_at_once_also_where_another_was_left_behind(person: Person) -> None:
    reached = person.follow_some()
    person.go(30)
    person.press("n")
    person.drag((96, 66), (120, 90))
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    found = person.boxes()
    assert {frame for target, frame in found if target == 1} == set(range(reached + 1))
    assert {frame for target, frame in found if target == 2} == set(range(30, FRAMES))


def test_the_field_shows_the_frame_that_is_shown(person: Person) -> None:
    for typed, shown in (("9999", FRAMES - 1), ("-7", 0), ("12.4", 12), ("", 12)):
        person.page.fill("#number", typed)
        person.press("Enter")
        person.wait_frame(shown)
        person.page.wait_for_function("n => document.querySelector('#seek').value === String(n)", arg=shown)
        assert person.frame() == shown


def test_a_target_says_that_it_ends_in_the_frame_that_is_shown(person: Person) -> None:
    reached = person.follow_some()
    person.press("e")
    person.wait_text(".status", "ends here")
    assert person.text("#said") == f"Target 1 ends in frame {reached}."
    assert person.text(".end") == "Go on"
    person.press("ArrowRight")
    person.wait_frame(reached + 1)
    assert person.text(".status") == f"ended in frame {reached}"
    person.press("ArrowLeft")
    person.wait_frame(reached)
    person.press("e")
    person.wait_text(".status", "tracking")
    person.press("Space")
    person.wait_frame(FRAMES - 1)
    assert {frame for _, frame in person.boxes()} == set(range(FRAMES))


def test_boxes_that_were_not_downloaded_are_asked_about(person: Person, tmp_path: Path) -> None:
    asked: list[str] = []
    person.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    image = tmp_path / "0.png"
    cv2.imwrite(str(image), moving_patches(1)[0][0])

    def leave() -> None:
        """Open another source, which is asked about, and load the page again, which is too."""
        asked.clear()
        person.page.click("#open")
        person.page.set_input_files("#upload", str(image))
        person.press("Escape")
        person.page.evaluate("setTimeout(() => location.reload())")
        person.page.wait_for_timeout(500)
        assert asked == ["confirm", "beforeunload"]
        assert person.text("#source").startswith("clip.mp4")

    person.follow_some()
    leave()
    assert person.boxes()
    person.page.focus("#stage")
    person.press("e")  # changed after the download
    leave()
    person.boxes()
    asked.clear()
    person.page.click("#open")
    person.page.set_input_files("#upload", str(image))
    person.wait_open("0.png")
    person.page.reload()
    person.wait_open("clip.mp4")
    assert asked == []


def test_a_download_is_loaded_again_and_goes_on(person: Person, tmp_path: Path) -> None:
    person.follow_some()
    person.press("e")
    person.press("n")
    reached = person.follow_some((100, 70, 128, 100))
    person.page.fill(".target:last-child .label", 'a "big" fish, é')
    person.press("Enter")
    texts = {kind: person.download(kind) for kind in ("json", "jsonl", "csv", "mot")}
    assert '"label": "a \\"big\\" fish' in texts["json"]
    assert 'tracking,"a ""big"" fish, é"\n' in texts["csv"]
    for kind, text in texts.items():
        (tmp_path / f"boxes.{kind}").write_text(text)
    person.page.reload()
    person.wait_open("clip.mp4")
    for kind in ("json", "jsonl"):
        person.page.set_input_files("#load", str(tmp_path / f"boxes.{kind}"))
        person.wait_text("#saved", f"Loaded from boxes.{kind}: 2 targets.")
        person.wait_frame(reached)
        assert {some: person.download(some) for some in texts} == texts
    for kind in ("csv", "mot"):
        person.page.set_input_files("#load", str(tmp_path / f"boxes.{kind}"))
        person.page.wait_for_selector("#error:not([hidden])")
        assert "expected boxes as Download writes them in JSON or JSON Lines" in person.text("#error")
        person.page.click("#error")
    ended = max(frame for target, frame in person.boxes() if target == 1)
    person.page.focus("#stage")
    person.press("Space")
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    found = person.boxes()
    assert {frame for target, frame in found if target == 1} == set(range(ended + 1))
    second = np.array([found[2, n] for n in range(ended, FRAMES)])
    assert rectangle_iou(second, moving_patches(FRAMES)[1][ended:, 1]).min() > 0.5
    person.page.click("#undo")
    person.page.click("#undo")
    person.page.wait_for_function("() => document.querySelectorAll('.target').length === 0")


def test_boxes_of_a_longer_source_are_refused(person: Person, tmp_path: Path) -> None:
    row = {"frame": FRAMES, "target": 1, "x": 1, "y": 2, "w": 3, "h": 4, "score": 1, "presence": 1, "status": "lost"}
    (tmp_path / "boxes.json").write_text(json.dumps([row]))
    person.page.set_input_files("#load", str(tmp_path / "boxes.json"))
    person.wait_text("#error", f"has a box in frame {FRAMES}, and clip.mp4 ends with frame {FRAMES - 1}")


@pytest.mark.parametrize(
    "change",
    [
        {"frame": -1}, {"frame": 0.5}, {"target": 0}, {"target": 10**6}, {"x": "1"}, {"w": 0}, {"score": 1.5},
        {"presence": None}, {"status": "here"}, {"label": 3}, {"label": "x" * 300},
    ],
)  # fmt: skip
def test_boxes_that_are_none_are_refused_in_a_line(person: Person, change: dict[str, Any]) -> None:
    row = {"frame": 0, "target": 1, "x": 1, "y": 2, "w": 3, "h": 4, "score": 1, "presence": 1, "status": "lost"}
    read = """(texts) => import("./boxes.js").then(({ readBoxes }) => Promise.all(
      texts.map((text) => readBoxes(new File([text], "a.json")).then(() => "read", ({ message }) => message))))"""
    texts = [json.dumps([row]), json.dumps([row, row | change]), "[]", "[null]", "{", "", "7"]
    told = person.page.evaluate(read, texts)
    assert told[0] == "read"
    assert "a.json has something else in entry 2: expected boxes as Download" in told[1]
    assert all(line.startswith("a.json ") and "\n" not in line for line in told[2:])


def test_each_target_has_a_class(person: Person) -> None:
    person.follow_some()
    assert person.page.input_value(".label") == "object"
    person.page.fill(".label", "fish")
    person.press("Enter")
    person.press("n")
    person.follow_some((96, 66, 120, 90))
    labels = person.page.locator(".label")
    assert labels.nth(1).input_value() == "fish"  # as the one before
    labels.nth(1).fill(" <crab> ")
    person.press("Enter")
    names = {row["target"]: row["label"] for row in json.loads(person.download("json"))}
    assert names == {1: "fish", 2: "<crab>"}
    assert [entry["name"] for entry in json.loads(person.download("coco"))["categories"]] == ["fish", "<crab>"]
    assert 'id="1" label="&lt;crab&gt;"' in person.download("cvat")
    person.page.focus("#stage")
    person.press("u")
    assert labels.nth(1).input_value() == "fish"
    labels.nth(1).fill("")
    person.press("Enter")
    assert labels.nth(1).input_value() == "fish"


def test_everything_can_be_done_with_the_keys(person: Person) -> None:
    person.page.focus("#stage")
    person.press("n", "Enter", *["ArrowLeft"] * 5, *["Shift+ArrowDown"] * 3, "Enter")
    person.wait_frame(FRAMES - 1)
    assert person.boxes()[1, 0] == [60 - 10, 45, 40, 30 + 6]
    assert person.page.get_attribute("#play", "data-playing") is None
    assert "target 1" in person.page.inner_text("#said").lower() or person.page.inner_text("#said") == "The end."


def test_an_upload_is_followed_and_every_download_is_the_same_boxes(person: Person, tmp_path: Path) -> None:
    for n, frame in enumerate(moving_patches(12)[0]):
        cv2.imwrite(str(tmp_path / f"{n}.png"), frame[..., ::-1])
    person.page.click("#open")
    person.page.set_input_files("#upload", [str(path) for path in tmp_path.iterdir()])
    person.page.wait_for_function("() => document.querySelector('#count').textContent === 'of 12'")
    person.drag((40, 30), (72, 54))
    person.wait_past(11)
    person.wait_paused()
    found = person.boxes()
    for rows in (json.loads(person.download("json")), list(map(json.loads, person.download("jsonl").splitlines()))):
        assert {(r["target"], r["frame"]): [r[key] for key in "xywh"] for r in rows} == found
    truth = moving_patches(12)[1][:, 0]
    assert np.abs(np.array([found[1, n] for n in range(12)]) - truth).max() < 8


@pytest.mark.parametrize("size", [(360, 640), (640, 480), (1600, 300)])
@pytest.mark.parametrize("viewport", [(1280, 900), (360, 740), (1400, 400)])
def test_a_picture_keeps_its_shape(
    person: Person, tmp_path: Path, size: tuple[int, int], viewport: tuple[int, int]
) -> None:
    person.page.set_viewport_size({"width": viewport[0], "height": viewport[1]})
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((size[1], size[0], 3), np.uint8))
    person.page.click("#open")
    person.page.set_input_files("#upload", str(tmp_path / "0.png"))
    person.wait_open("0.png")
    shown = "b => (b = document.querySelector('#stage').getBoundingClientRect()) && [b.width, b.height]"
    width, height = person.page.evaluate(shown)
    assert width / height == pytest.approx(size[0] / size[1], rel=0.01)
    assert width <= viewport[0] and height <= 0.7 * viewport[1]


def test_without_a_source_there_is_nothing_to_press_but_open(browser: Any, bare_address: str, clip: Path) -> None:
    page = browser.new_page()
    person = Person(page, bare_address)
    asleep = ["back", "play", "forward", "number", "seek", "new", "undo", "download", "load"]
    assert [name for name in asleep if page.is_enabled(f"#{name}")] == []
    assert person.text("#hint") == "No source is open yet."
    page.click("#open-first")
    page.set_input_files("#upload", str(clip))
    person.wait_open("clip.mp4")
    assert [name for name in asleep if page.is_enabled(f"#{name}")] == [
        "back",
        "play",
        "forward",
        "number",
        "seek",
        "new",
        "load",
    ]
    page.close()
    assert person.wrong == []


@pytest.fixture
def slowed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the server takes for a frame, for a test to change."""
    seconds, at = [0.0], Frames.at

    def late(frames: Frames, number: int) -> np.ndarray | None:
        time.sleep(seconds[0])
        return at(frames, number)

    monkeypatch.setattr(Frames, "at", late)
    return seconds


def test_a_box_is_one_of_the_frame_that_it_was_drawn_on(person: Person, slowed: list[float]) -> None:
    slowed[0] = 0.6
    person.page.fill("#number", "30")
    person.press("Enter")  # that frame is on its way while the box is drawn
    person.page.select_option("#pace", "0.25")
    person.drag((40, 30), (72, 54), wait=1.0)
    slowed[0] = 0.0
    person.wait_past(1)
    person.press("Space")
    person.wait_paused()
    found = person.boxes()
    assert min(frame for _, frame in found) == 0
    np.testing.assert_allclose(found[1, 0], (40, 30, 32, 24), atol=0.2)


def test_clicks_while_it_plays_make_it_no_faster(person: Person) -> None:
    person.page.evaluate("document.querySelector('#pace').append(new Option('slow', '0.04'))")  # a frame a second
    person.page.select_option("#pace", "0.04")
    person.press("Space")
    person.wait_past(1)
    for _ in range(4):
        person.drag((80, 10), (80, 10))
    began, first = time.monotonic(), person.frame()
    time.sleep(2)
    assert person.frame() - first <= time.monotonic() - began + 2
    person.wait_past(first + 3)  # and no slower


def test_a_target_that_is_removed_while_its_box_is_placed_holds_nothing_up(person: Person) -> None:
    person.drag((40, 30), (72, 54))
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    person.page.focus("#stage")
    person.press("r", "Enter", "ArrowLeft")
    person.page.click(".remove")
    person.page.wait_for_selector(".target", state="detached")
    person.page.focus("#stage")
    person.press("ArrowLeft")
    person.wait_frame(FRAMES - 2)
    person.drag((40, 30), (72, 54))
    person.wait_frame(FRAMES - 1)
    assert {target for target, _ in person.boxes()} == {2}


def test_a_source_that_cannot_be_opened_leaves_the_run_as_it_is(person: Person) -> None:
    person.drag((40, 30), (72, 54))
    person.wait_frame(FRAMES - 1)
    person.wait_paused()
    person.boxes()  # downloaded, so that nothing is asked
    person.page.click("#open")
    person.page.fill("#stream", "rtsp://127.0.0.1:1/nothing")
    person.page.click("#open-stream")
    person.page.wait_for_selector("#error:not([hidden])")
    person.press("Escape")
    person.page.wait_for_selector("#sources", state="hidden")
    person.page.focus("#stage")
    person.press("ArrowLeft")
    person.wait_frame(FRAMES - 2)
    assert len(person.boxes()) == FRAMES


def test_too_much_to_send_is_told_in_megabytes(person: Person) -> None:
    told = person.page.evaluate(
        """async () => {
          const { ServerEngine } = await import("./engine_server.js");
          const engine = new ServerEngine({ upload_limit: 2048 * 2 ** 20 });
          return engine.open({ kind: "upload", files: [{ size: 2 ** 40 }] }).catch((error) => error.message);
        }"""
    )
    assert told == "These files have more than 2048 MB."


def test_what_cannot_be_opened_is_told_in_one_line(person: Person, tmp_path: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\nfile:///etc/passwd\n")
    person.page.click("#open")
    person.page.set_input_files("#upload", str(playlist))
    person.page.wait_for_selector("#error:not([hidden])")
    assert "expected a video" in person.page.inner_text("#error")
    person.wrong.clear()  # the browser itself logs the refusal


def test_a_phone_in_the_dark_has_everything_within_its_width(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark", has_touch=True)
    person = Person(page, address)
    person.wait_open("clip.mp4")
    person.drag((40, 30), (60, 45), (72, 54), touch=True)
    person.wait_frame(FRAMES - 1)
    np.testing.assert_allclose(person.boxes()[1, 0], (40, 30, 32, 24), atol=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 64
    page.close()


def test_every_control_has_a_name_for_screen_readers(person: Person) -> None:
    person.drag((40, 30), (72, 54))
    person.wait_past(2)
    person.page.click("#open")
    nameless = person.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas:not([aria-hidden]), meter')]
          .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("left_out", [(), (1, 12, 13, 26)])
def test_the_frames_of_a_video_are_those_of_python(person: Person, tmp_path: Path, left_out: tuple[int, ...]) -> None:
    """Each frame by its number, in any order: its mean colour, which rises from frame to frame, tells which it is.

    In the place of one that the camera left out is the one before it.
    """
    times = [n for n in range(28) if n not in left_out]
    shades = [np.full((64, 96, 3), 8 * n, np.uint8) for n in times]
    clip = write_mp4(tmp_path / "shades.mp4", shades, fps=30, times=times).read_bytes()
    order = [0, 1, 2, 9, 3, 27, 26, 12, 13, 14, 28]
    seen = person.page.evaluate(
        """async ([order, text]) => {
          const { openFrames } = await import("./frames.js");
          const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const files = [new File([data], "shades.mp4", { type: "video/mp4" })];
          const frames = await openFrames({ kind: "upload", files });
          const context = new OffscreenCanvas(1, 1).getContext("2d", { alpha: false });
          const seen = [[frames.about.fps, frames.about.count]];
          for (const number of order) {
            const image = await frames.at(number);
            if (image) context.drawImage(image, 0, 0, 1, 1);
            seen.push(image && context.getImageData(0, 0, 1, 1).data[1]);
          }
          return seen;
        }""",
        [order, base64.b64encode(clip).decode()],
    )
    assert seen[0] == [30, 28]
    assert seen[-1] is None
    shown = [max(time for time in times if time <= n) for n in order[:-1]]
    np.testing.assert_allclose(seen[1:-1], [8 * n for n in shown], atol=3)


def plain(name: str, text: str) -> Any:
    """A text as what it says: JSON as its values, XML without the blanks between its elements."""
    if name.endswith(".json"):
        return json.loads(text)
    if name.endswith(".jsonl"):
        return list(map(json.loads, text.removesuffix("\n").split("\n")))
    return re.sub(r">\s+<", "><", text) if name.endswith(".xml") else text


@pytest.mark.parametrize("labels", [["object"], ["fish", "object", "fish"], ['a "b", <c> & \u200d\u2028é\x7f', "d"]])
@pytest.mark.parametrize("images", [[], ["a.png", "b 2.png", "c.jpg", "d.e.png"]])
def test_the_texts_of_the_page_are_those_of_python(person: Person, images: list[str], labels: list[str]) -> None:
    rows = [
        (0, 1, (1.0, 2.0, 3.5, 4.0), 1.0, 1.0, "tracking"),
        (0, 3, (9.0, 20.0, 30.0, 40.0), 1.0, 1.0, "tracking"),
        (1, 1, (-0.00001, 2.00004, 3.25, 4.123456), 0.512345, 0.75, "uncertain"),
        (1, 2, (1e-5, 200.5, 33.333333, 4.0), 0.0, 0.1, "lost"),
        (2, 1, (150.5, 2.0, 30.0, 1234.56789), 0.25, 1.0, "tracking"),
        (2, 2, (170.0, 2.0, 3.0, 4.0), 0.25, 0.5, "uncertain"),
        (3, 3, (9.0, 60.0, 30.0, 40.0), 0.5, 0.5, "tracking"),  # ended after frame 0, and brought back
    ]
    keys = ("frame", "target", "box", "score", "presence", "status")
    about = {"name": "a <clip> & more.mp4", "width": 160, "height": 120, "fps": 29.97, "count": 4, "images": images}
    about["labels"] = labels
    for some in (rows, [row for row in rows if row[1] == 1], [row for row in rows if row[1] == 3]):
        texts, packed = person.page.evaluate(
            """async ([rows, clip]) => {
              const { FORMATS, packBoxes, renderBoxes } = await import("./boxes.js");
              const texts = FORMATS.map((kind) => [kind, renderBoxes(kind, rows, clip)]);
              const { name, blob } = packBoxes("yolo", rows, clip);
              return [Object.fromEntries(texts), [name, Array.from(new Uint8Array(await blob.arrayBuffer()))]];
            }""",
            [[dict(zip(keys, row, strict=True)) for row in some], about],
        )
        assert list(texts) == list(FORMATS)
        clip = Clip(about["name"], (160, 120), 29.97, 4, images, labels)
        for kind, found in texts.items():
            expected = render_boxes([BoxRow(*row) for row in some], clip, kind)
            assert {name: plain(name, text) for name, text in found.items()} == {
                name: plain(name, text) for name, text in expected.items()
            }, kind
        with zipfile.ZipFile(io.BytesIO(bytes(packed[1]))) as file:
            assert packed[0] == "boxes.zip" and file.testzip() is None
            assert {name: file.read(name).decode() for name in file.namelist()} == texts["yolo"]


def test_images_that_yolo_would_mix_up_are_refused_on_the_page_as_in_python(person: Person) -> None:
    images = ["a.jpg", "b.jpg", "a.png"]
    told = person.page.evaluate(
        """async (images) => {
          const { packBoxes } = await import("./boxes.js");
          try { packBoxes("yolo", [], { name: "a", width: 9, height: 9, fps: 30, count: 3, images }); }
          catch (error) { return error.message; }
        }""",
        images,
    )
    with pytest.raises(InputError) as expected:
        render_boxes([], Clip("a", (9, 9), 30, 3, images), "yolo")
    assert told == str(expected.value)


def test_nothing_in_the_page_names_another_site() -> None:
    for path in FILES.iterdir():
        assert not STRANGERS.search(path.read_text()), path.name
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', (FILES / "index.html").read_text())
    assert policy is not None
    assert "default-src 'none'" in policy[1] and "connect-src 'self'" in policy[1] and "http" not in policy[1]
