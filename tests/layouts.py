"""Tiny data sets, laid out as they are distributed: one walking object (x = 20 + 5 frame) of 30×24 pixels.

Each writer returns the boxes xyxy in continuous pixels that a reader has to find: {track: {frame: box}}.
"""

from __future__ import annotations

import csv
import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from made_crops import picture

WIDTH, HEIGHT = 160, 120
Truth = dict[str, dict[int, tuple[float, float, float, float]]]


def box(frame: int) -> tuple[float, float, float, float]:
    x = 20.0 + 5 * frame
    return (x, 40.0, x + 30, 64.0)


def xywh(frame: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box(frame)
    return (x0, y0, x1 - x0, y1 - y0)


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture(seed, WIDTH, HEIGHT), cv2.COLOR_RGB2BGR))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def rows(frames: range, origin: int = 0, form: str = "{:.2f},{:.2f},{:.2f},{:.2f}") -> str:
    text = ""
    for frame in frames:
        x0, y0, x1, y1 = box(frame)
        text += form.format(x0 + origin, y0 + origin, x1 - x0, y1 - y0) + "\n"
    return text


def voc(track: str | None, category: str, frame: int) -> str:
    """The first and last pixel of the box, counted from 0."""
    x0, y0, x1, y1 = (int(v) for v in box(frame))
    named = f"<trackid>{track}</trackid>" if track is not None else ""
    corners = f"<xmax>{x1 - 1}</xmax><xmin>{x0}</xmin><ymax>{y1 - 1}</ymax><ymin>{y0}</ymin>"
    thing = f"<object>{named}<name>{category}</name><bndbox>{corners}</bndbox><occluded>0</occluded></object>"
    return f"<annotation><folder>x</folder><size><width>160</width><height>120</height></size>{thing}</annotation>"


def vid(root: Path) -> Truth:
    truth: Truth = {}
    for place in ("train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000", "val/ILSVRC2015_val_00000001"):
        for frame in range(4):
            save(root / f"Data/VID/{place}/{frame:06d}.JPEG", frame)
            write(root / f"Annotations/VID/{place}/{frame:06d}.xml", voc("2", "n02084071", frame))
        write(root / f"Annotations/VID/{place}/000004.xml", "<annotation></annotation>")
        truth[f"VID/{place}/2"] = {frame: box(frame) for frame in range(4)}
    return truth


def det(root: Path) -> Truth:
    for place in ("train/ILSVRC2013_train/n01440764/n01440764_10040", "train/ILSVRC2014_train_0006/ILSVRC2014_train_1"):
        save(root / f"Data/DET/{place}.JPEG")
        write(root / f"Annotations/DET/{place}.xml", voc(None, "n01440764", 0))
    return {
        "DET/train/ILSVRC2013_train/n01440764/n01440764_10040/0": {0: box(0)},
        "DET/train/ILSVRC2014_train_0006/ILSVRC2014_train_1/0": {0: box(0)},
    }


def widerface(root: Path) -> Truth:
    """One face; an image without any, whose line is zeros; a face marked as invalid."""
    face, lines = " ".join(f"{v:g}" for v in xywh(0)), ""
    for split in ("train", "val"):
        event = "0--Parade/0_Parade_marchingband_1_"
        lines = f"{event}849.jpg\n2\n{face} 0 0 0 0 0 0 \n1 2 3 4 2 0 0 1 2 0 \n"
        lines += f"{event}452.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n{event}799.jpg\n1\n{face} 1 0 1 0 2 1 \n"
        write(root / f"wider_face_split/wider_face_{split}_bbx_gt.txt", lines)
        for number in ("849", "452", "799"):
            save(root / f"WIDER_{split}/images/{event}{number}.jpg")
    write(root / "wider_face_split/wider_face_test_filelist.txt", f"{event}1.jpg\n")
    names = [f"{split}/{event}{number}/0" for split in ("train", "val") for number in ("849", "799")]
    return {name: {0: box(0)} for name in names}


def citypersons(root: Path) -> Truth:
    """The whole body of a rider and of one who is partly hidden; a poster and a group; a street without persons."""
    truth: Truth = {}
    seen, none = [20, 40, 30, 12], [0, 0, 50, 50]
    for place in ("train/aachen/aachen_000000_000019", "val/frankfurt/frankfurt_000001_005898"):
        things = [
            {"instanceId": 24000, "bbox": xywh(0), "bboxVis": seen, "label": "pedestrian"},
            {"instanceId": 24000, "bbox": none, "bboxVis": none, "label": "ignore"},
            {"instanceId": 25000, "bbox": xywh(1), "bboxVis": xywh(1), "label": "rider"},
            {"instanceId": 24001, "bbox": none, "bboxVis": none, "label": "person group"},
        ]
        for number, objects in ((place, things), (place[:-1] + "7", [])):
            save(root / f"leftImg8bit/{number}_leftImg8bit.png")
            table = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}
            write(root / f"gtBboxCityPersons/{number}_gtBboxCityPersons.json", json.dumps(table))
        truth |= {f"{place}/0": {0: box(0)}, f"{place}/2": {0: box(1)}}
    return truth


def coco(root: Path) -> Truth:
    save(root / "train2017/000000000009.jpg")
    x0, y0, x1, y1 = box(0)
    annotation = {"id": 7, "image_id": 9, "category_id": 18, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
    crowd = {"id": 8, "image_id": 9, "category_id": 18, "bbox": [0, 0, 99, 99], "iscrowd": 1}
    image = {"id": 9, "file_name": "000000000009.jpg", "width": WIDTH, "height": HEIGHT}
    table = {"images": [image], "annotations": [annotation, crowd], "categories": [{"id": 18, "name": "dog"}]}
    write(root / "annotations/instances_train2017.json", json.dumps(table))
    write(root / "annotations/captions_train2017.json", "{}")
    return {"instances_train2017/7": {0: box(0)}}


def coco_video(root: Path) -> Truth:
    """Own data: frames of a video with track ids, the JSON beside `images/`."""
    images, annotations = [], []
    for frame in range(3):
        save(root / f"images/f{frame}.png", frame)
        images.append({"id": frame, "file_name": f"f{frame}.png", "video_id": 1, "frame_id": frame})
        x0, y0, x1, y1 = box(frame)
        annotations.append({"id": frame, "image_id": frame, "track_id": 5, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    write(root / "labels.json", json.dumps({"images": images, "annotations": annotations}))
    return {"labels/1/5": {frame: box(frame) for frame in range(3)}}


def youtubebb(root: Path) -> Truth:
    root.mkdir(exist_ok=True)
    with (root / "yt_bb_detection_train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        for frame in range(3):
            stamp = 1000 * frame
            save(root / f"train/AAAA+5+0/{stamp}.jpg", frame)
            x0, y0, x1, y1 = box(frame)
            shares = [x0 / WIDTH, x1 / WIDTH, y0 / HEIGHT, y1 / HEIGHT]
            table.writerow(["AAAA", stamp, 5, "cat", 0, "present", *shares])
        table.writerow(["AAAA", 3000, 5, "cat", 0, "absent", -1, -1, -1, -1])
        save(root / "train/BBBB_500.jpg")
        table.writerow(["BBBB", 500, 1, "bird", 2, "present", *shares])
    return {"train/AAAA+5+0": {f: box(f) for f in range(3)}, "train/BBBB+1+2": {0: box(2)}}


def got10k(root: Path) -> Truth:
    name = "GOT-10k_Train_000001"
    folder = root / "train" / name
    for frame in range(5):
        save(folder / f"{frame + 1:08d}.jpg", frame)
    write(root / "train/list.txt", f"{name}\n")
    write(folder / "groundtruth.txt", rows(range(5), form="{:.4f},{:.4f},{:.4f},{:.4f}"))
    write(folder / "absence.label", "0\n0\n1\n0\n0\n")
    write(folder / "cover.label", "8\n" * 5)
    write(folder / "meta_info.ini", "[METAINFO]\nurl: https://x/%20y\nobject_class: lioness\n")
    return {f"train/{name}": {frame: box(frame) for frame in (0, 1, 3, 4)}}


def lasot(root: Path) -> Truth:
    for name in ("airplane/airplane-1", "airplane/airplane-3"):  # the first is of the official test set
        for frame in range(4):
            save(root / name / f"img/{frame + 1:08d}.jpg", frame)
        write(root / name / "groundtruth.txt", rows(range(4), origin=1, form="{:.0f},{:.0f},{:.0f},{:.0f}"))
        write(root / name / "full_occlusion.txt", "0,1,0,0")
        write(root / name / "out_of_view.txt", "0,0,1,0")
    write(root / "testing_set.txt", "airplane-1\n")
    return {"airplane/airplane-3": {0: box(0), 3: box(3)}}


def trackingnet(root: Path) -> Truth:
    for frame in range(12):
        save(root / f"TRAIN_0/frames/abc_0/{frame}.jpg", frame)
    write(root / "TRAIN_0/anno/abc_0.txt", rows(range(12)))
    return {"TRAIN_0/anno/abc_0": {frame: box(frame) for frame in range(12)}}


def mot(root: Path) -> Truth:
    text = ""
    for frame in range(3):
        save(root / f"walk/img1/{frame + 1:06d}.jpg", frame)
        x0, y0, x1, y1 = box(frame)
        text += f"{frame + 1},4,{x0 + 1},{y0 + 1},{x1 - x0},{y1 - y0},1,1,1.0\n"
        text += f"{frame + 1},9,1,1,50,50,0,8,1.0\n"
    write(root / "walk/gt/gt.txt", text)
    write(root / "walk/seqinfo.ini", "[Sequence]\nname=walk\nimDir=img1\nseqLength=3\nimExt=.jpg\n")
    return {"walk/4": {frame: box(frame) for frame in range(3)}}


def corners(frame: int) -> str:
    return 'xtl="{}" ytl="{}" xbr="{}" ybr="{}"'.format(*box(frame))


def cvat_images(root: Path) -> Truth:
    save(root / "images/a.jpg")
    write(
        root / "annotations.xml",
        f'<?xml version="1.0"?><annotations><version>1.1</version><image id="0" name="a.jpg" width="160" height="120">'
        f'<box label="cup" occluded="0" {corners(0)} z_order="0"></box></image></annotations>',
    )
    return {"annotations/a.jpg/0": {0: box(0)}}


def film(path: Path) -> None:
    """A real video file of six frames."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in range(6):
            shown = av.VideoFrame.from_ndarray(picture(frame, WIDTH, HEIGHT), format="rgb24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode())


def cvat_video(root: Path) -> Truth:
    film(root / "clip.mp4")
    boxes = "".join(f'<box frame="{f}" outside="{int(f == 3)}" keyframe="1" {corners(f)}></box>' for f in range(5))
    write(
        root / "annotations.xml",
        f"<annotations><meta><job><source>clip.mp4</source></job></meta>"
        f'<track id="2" label="cup" source="manual">{boxes}</track></annotations>',
    )
    return {"annotations/2": {frame: box(frame) for frame in (0, 1, 2, 4)}}


def coco_film(root: Path) -> Truth:
    """COCO's JSON of tracks in a video file, whose frames are no images of their own."""
    film(root / "videos/clip.mp4")
    table = {
        "videos": [{"id": 1, "name": "clip"}],
        "images": [{"id": f, "file_name": f"clip/{f}.jpg", "video_id": 1, "frame_id": f} for f in range(4)],
        "annotations": [{"id": f, "image_id": f, "category_id": 3, "track_id": 8, "bbox": xywh(f)} for f in range(4)],
        "categories": [{"id": 3, "name": "cup"}],
    }
    write(root / "labels.json", json.dumps(table))
    return {"labels/1/8": {frame: box(frame) for frame in range(4)}}


def mot_video(root: Path) -> Truth:
    film(root / "walk/walk.mp4")
    lines = [f"{f + 1},4,{x + 1},{y + 1},{w},{h},1,1,1.0" for f in range(3) for x, y, w, h in [xywh(f)]]
    write(root / "walk/gt/gt.txt", "\n".join(lines) + "\n")
    return {"walk/4": {frame: box(frame) for frame in range(3)}}


def sequence_video(root: Path) -> Truth:
    film(root / "walk.mp4")
    write(root / "walk.txt", rows(range(6)))
    return {"walk": {frame: box(frame) for frame in range(6)}}


def sequences(root: Path) -> Truth:
    for frame in range(11):
        save(root / f"one/{frame}.jpg", frame)  # 2 comes before 10
        save(root / f"two/img/{frame:04d}.jpg", frame)
    write(root / "one.txt", rows(range(10)) + "nan,nan,nan,nan\n")
    write(root / "two/groundtruth.txt", rows(range(11), form="{}\t{}\t{}\t{}"))
    return {"one": {f: box(f) for f in range(10)}, "two": {f: box(f) for f in range(11)}}


def cvat_coco(root: Path) -> Truth:
    """CVAT's export as COCO 1.0: track ids under `attributes`, frames numbered by the names of their files."""
    table = {
        "images": [{"id": f + 1, "file_name": f"frame_{f:06d}.PNG", "width": 160, "height": 120} for f in range(3)],
        "annotations": [
            {"id": f + 1, "image_id": f + 1, "category_id": 1, "bbox": xywh(f), "iscrowd": 0,
             "attributes": {"occluded": False, "track_id": 4, "keyframe": True}}
            for f in range(3)
        ],
        "categories": [{"id": 1, "name": "cup", "supercategory": ""}],
    }  # fmt: skip
    for frame in range(3):
        save(root / f"images/frame_{frame:06d}.PNG", frame)
    write(root / "annotations/instances_default.json", json.dumps(table))
    return {"instances_default/0/4": {frame: box(frame) for frame in range(3)}}


def voc_file(names: dict[str, tuple[float, float, float, float]], track: str = "") -> str:
    """Pascal VOC: the first and last pixel of each box, counted from 1."""
    things = ""
    for name, (x0, y0, x1, y1) in names.items():
        corners = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        things += f"<object><name>{name}</name>{track}<bndbox>{corners}</bndbox></object>"
    return f"<annotation><filename>a picture</filename>{things}</annotation>"


def voc_stills(root: Path) -> Truth:
    save(root / "JPEGImages/2007_000027.jpg")
    other = (1.0, 2.0, 30.0, 40.0)
    write(root / "Annotations/2007_000027.xml", voc_file({"person": box(0), "dog": other}))
    return {"Annotations/2007_000027/0": {0: box(0)}, "Annotations/2007_000027/1": {0: other}}


def voc_tracks(root: Path) -> Truth:
    for frame in range(3):
        save(root / f"JPEGImages/walk/{frame:04d}.jpg", frame)
        write(root / f"Annotations/walk/{frame:04d}.xml", voc_file({"dog": box(frame)}, "<trackid>3</trackid>"))
    return {"Annotations/walk/3": {frame: box(frame) for frame in range(3)}}


def voc_video(root: Path) -> Truth:
    """A folder is a video: the one dog of its frames is one track."""
    for frame in range(3):
        save(root / f"walk/{frame:04d}.png", frame)
        write(root / f"walk/{frame:04d}.xml", voc_file({"dog": box(frame)}))
    return {"walk/dog": {frame: box(frame) for frame in range(3)}}


def yolo_line(kind: int, frame: int, track: str = "") -> str:
    x, y, w, h = xywh(frame)
    return f"{kind} {(x + w / 2) / WIDTH} {(y + h / 2) / HEIGHT} {w / WIDTH} {h / HEIGHT}{track}\n"


def yolo_stills(root: Path) -> Truth:
    write(root / "data.yaml", "train: images/train\nnc: 2\nnames:\n  0: cat\n  1: 'dog'\n")
    save(root / "images/train/a.jpg")
    x0, y0, x1, y1 = box(1)
    points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    polygon = "0 " + " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in points)
    write(root / "labels/train/a.txt", yolo_line(1, 0) + polygon + "\n")
    save(root / "images/train/b.jpg")
    write(root / "labels/train/b.txt", "")
    return {"labels/train/a/0": {0: box(0)}, "labels/train/a/1": {0: box(1)}}


def yolo_tracks(root: Path) -> Truth:
    """As trackers write it: labels beside frames, the number of the track behind the box."""
    write(root / "classes.txt", "person\ndog\n")
    for frame in range(3):
        save(root / f"walk_{frame + 1}.jpg", frame)
        write(root / f"walk_{frame + 1}.txt", yolo_line(1, frame, " 12"))
    return {"./12": {frame + 1: box(frame) for frame in range(3)}}


def yolo_video(root: Path) -> Truth:
    write(root / "data.yaml", "names: [cat, dog]\n")
    for frame in range(3):
        save(root / f"walk/frames/{frame:03d}.png", frame)
        write(root / f"walk/labels/{frame:03d}.txt", yolo_line(1, frame))
    return {"walk/labels/dog": {frame: box(frame) for frame in range(3)}}


def palette_png(path: Path, numbers: np.ndarray) -> None:
    """A PNG of indices into a palette, as DAVIS has it, which OpenCV cannot write."""
    palette = b"".join(bytes([i, i // 2, 7 * i % 256]) for i in range(256))
    lines = b"".join(b"\0" + row.tobytes() for row in numbers)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def masks(root: Path) -> Truth:
    """DAVIS 2017 with two objects in a palette, DAVIS 2016 with one in white."""
    second = (100.0, 5.0, 130.0, 25.0)
    for frame in range(3):
        numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
        for number, (x0, y0, x1, y1) in ((1, box(frame)), (2, second)):
            if not (number == 2 and frame == 1):
                numbers[int(y0) : int(y1), int(x0) : int(x1)] = number
        numbers[100:110, 100:110] = 255
        palette_png(root / f"Annotations/480p/bear/{frame:05d}.png", numbers)
        save(root / f"JPEGImages/480p/bear/{frame:05d}.jpg", frame)
        white = (numbers == 1).astype(np.uint8) * 255
        place = root / f"Annotations/480p/old/{frame:05d}.png"
        place.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(place), white)
        save(root / f"JPEGImages/480p/old/{frame:05d}.jpg", frame)
    return {
        "480p/bear/1": {frame: box(frame) for frame in range(3)},
        "480p/bear/2": dict.fromkeys((0, 2), second),
        "480p/old/255": {frame: box(frame) for frame in range(3)},
    }


LAYOUTS = {
    "vid": ("vid", vid, "dog"),
    "det": ("det", det, "n01440764"),
    "coco": ("coco", coco, "dog"),
    "coco_video": ("coco", coco_video, ""),
    "youtubebb": ("youtubebb", youtubebb, "cat"),
    "got10k": ("got10k", got10k, "lioness"),
    "lasot": ("lasot", lasot, "airplane"),
    "trackingnet": ("trackingnet", trackingnet, ""),
    "widerface": ("widerface", widerface, "face"),
    "citypersons": ("citypersons", citypersons, "person"),
    "mot": ("mot", mot, "class 1"),
    "coco_film": ("coco", coco_film, "cup"),
    "mot_video": ("mot", mot_video, "class 1"),
    "sequence_video": ("folder", sequence_video, ""),
    "cvat_images": ("cvat", cvat_images, "cup"),
    "cvat_video": ("cvat", cvat_video, "cup"),
    "sequences": ("folder", sequences, ""),
    "cvat_coco": ("coco", cvat_coco, "cup"),
    "voc_stills": ("voc", voc_stills, "dog"),
    "voc_tracks": ("voc", voc_tracks, "dog"),
    "yolo_stills": ("yolo", yolo_stills, "cat"),
    "yolo_tracks": ("yolo", yolo_tracks, "dog"),
    "masks": ("masks", masks, ""),
}
"""Those that are recognised: the layout's name, what makes it, a category that it has."""

BY_NAME = {"voc-video": voc_video, "yolo-video": yolo_video}
"""Those that have to be named."""
