"""The format of shards: what is written is read again, and what is not of the format is refused in one line."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from made_crops import jpeg
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel, OtherObject, decode, iterate_shard
from siamtrack.errors import DataError

PLAIN: dict[str, Any] = {"track_id": "t", "frame": 3, "box": [10, 20, 30, 45.5], "category": "dog", "source": "s"}


def shard_of(*annotations: bytes) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for number, annotation in enumerate(annotations):
            for kind, blob in (("jpg", jpeg(number, 64)), ("json", annotation)):
                member = tarfile.TarInfo(f"{number}.{kind}")
                member.size = len(blob)
                tar.addfile(member, io.BytesIO(blob))
    stream.seek(0)
    return stream


def read(*annotations: bytes) -> list[CropLabel]:
    return [label for _, _, label in iterate_shard(shard_of(*annotations), "a.tar")]


def test_what_is_written_is_read_again():
    others = (OtherObject((1.5, 2, 3, 4), "cat"), OtherObject((-5, 0, 80, 60), ""))
    labels = [
        CropLabel("t", 3, (10.0, 20.0, 30.0, 45.5), "dog", "s"),
        CropLabel("u", 0, (1, 2, 3, 4), "d", "s", others),
    ]
    assert read(*(label.as_json() for label in labels)) == labels
    assert read(json.dumps(PLAIN).encode())[0].others == ()
    assert "others" not in json.loads(labels[0].as_json())


def test_others_are_padded_with_nan():
    boxes = [(float(i), 0.0, i + 2.0, 5.0) for i in range(6)]
    labels = [
        CropLabel("t", 0, (1, 2, 3, 4), "dog", "s", tuple(OtherObject(box, "cat") for box in boxes[:count]))
        for count in (0, 2, 6)
    ]
    crops = ResidentSet.listed([(str(i), label) for i, label in enumerate(labels)])
    assert crops.others.shape == (3, 6, 4) and crops.category_names == ("cat", "dog")
    assert [int((~row[:, 0].isnan()).sum()) for row in crops.others] == [0, 2, 6]
    assert torch.equal(crops.others[2], torch.tensor(boxes))
    assert crops.categories.tolist() == [1, 1, 1]
    assert [(row >= 0).sum().item() for row in crops.other_categories] == [0, 2, 6]
    assert set(crops.other_categories.unique().tolist()) == {-1, 0}
    assert crops.rows(torch.tensor([1])).others.shape == (1, 6, 4)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"box": [1, 2, 3]}, "a box of 4 numbers"),
        ({"box": [3, 2, 1, 4]}, "x0 < x1"),
        ({"box": [1, 2, float("inf"), 4]}, "x0 < x1"),
        ({"box": [-1e300, -1e300, 1e300, 1e300]}, "none beyond 10000000"),
        ({"box": [1, 2, 3, float("nan")]}, "x0 < x1"),
        ({"frame": "first"}, "whole frame number"),
        ({"frame": float("inf")}, "whole frame number"),
        ({"frame": 2**64}, "a frame number of at most"),
        ({"frame": int("9" * 400)}, "a frame number of at most"),
        ({"others": {"a": 1}}, "list of at most 6"),
        ({"others": [[1, 2, 3, 4, "cat"]] * 7}, "list of at most 6"),
        ({"others": [[1, 2, 3, 4]]}, "category"),
        ({"others": [[1, 2, 3, 4, 5]]}, "category"),
        ({"others": [[1, 2, 1, 4, "cat"]]}, "others: a box is"),
        ({"others": [[1, 2, None, 4, "cat"]]}, "others: expected a box"),
    ],
)
def test_what_is_not_of_the_format_is_refused(change: dict[str, Any], said: str):
    with pytest.raises(DataError, match=said) as caught:
        read(json.dumps(PLAIN | change).encode())
    assert str(caught.value).startswith("a.tar: the annotation 0.json") and "\n" not in str(caught.value)


@pytest.mark.parametrize("annotation", [b"[" * 100_000, b"\xff", b"[1]", b"{"])
def test_annotations_that_are_no_objects_are_refused(annotation: bytes):
    with pytest.raises(DataError, match=r"a\.tar"):
        read(annotation)


def photo(thumbnail: bytes = b"") -> bytes:
    """A JPEG, if wanted with another one in its EXIF segment, as cameras write them."""
    plain = jpeg(1, 64)
    exif = b"Exif\0\0" + thumbnail
    return plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:] if thumbnail else plain


@pytest.mark.parametrize("thumbnail", [b"", jpeg(2, 16)])
@pytest.mark.parametrize("behind", [b"", b"\0" * 1500, jpeg(3, 64), b"ftypmp42" * 9000])
def test_a_photo_is_read_whatever_lies_behind_its_end(thumbnail: bytes, behind: bytes):
    found = decode(photo(thumbnail) + behind)
    assert found is not None and (found == decode(jpeg(1, 64))).all()


@pytest.mark.parametrize("thumbnail", [b"", jpeg(2, 16)])
def test_a_photo_that_was_cut_short_is_unreadable(thumbnail: bytes):
    whole = photo(thumbnail)
    for left in range(0, len(whole) - 1, 7):
        assert decode(whole[:left]) is None, f"{left} of {len(whole)} bytes"


def test_a_picture_wider_than_opencv_takes_is_unreadable() -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", (1 << 20) + 1, 1, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    assert decode(png + bytes(100)) is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_libraries_print_nothing_of_damaged_pictures(suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    whole = cv2.imencode(suffix, pixels.astype(np.float32) if suffix == ".tif" else pixels)[1].tobytes()
    for at in range(len(whole) // 2, len(whole) - 8, len(whole) // 9):
        decode(whole[:at] + b"\xff" * 4 + whole[at + 4 :])
        decode(whole[:at] + whole[at + 4 :])
    assert capfd.readouterr() == ("", "")


def test_a_shard_that_was_cut_between_two_members_is_unreadable():
    """A tar ends with two empty blocks; without them tarfile takes what is left for all of it."""
    whole = shard_of(*[json.dumps(PLAIN).encode()] * 3).getvalue()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        cuts = [member.offset for member in tar.getmembers()][1:]
    assert len(list(iterate_shard(io.BytesIO(whole), "a.tar"))) == 3
    for cut in cuts:
        with pytest.raises(DataError, match=r"a\.tar is no readable WebDataset shard: .* cut off"):
            list(iterate_shard(io.BytesIO(whole[:cut]), "a.tar"))
