"""Small whole inputs of every command, and the commands that are run on them.

A subject is a folder of files made once; a command names them by paths below it and writes to `out/`, which is empty
when it starts. A word of a command that holds `|` offers a choice.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shlex
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from loopback import answer

import made_sets
from layouts import BY_NAME, LAYOUTS
from siamtrack.config import load_preset, preset_to_json
from siamtrack.data.index import build_index, save_index
from siamtrack.evaluation.evaluate import evaluate, open_store, read_suite
from siamtrack.evaluation.jobs import Workers
from siamtrack.evaluation.suites import find_suite
from siamtrack.formats.datasets import read_truths
from siamtrack.formats.objects import OBJECT_LAYOUTS
from siamtrack.formats.records import Predictions
from siamtrack.formats.results import region_lines, result_path
from siamtrack.integrations.cvat import track_shapes
from siamtrack.models.weights import save_weights
from siamtrack.zoo import open_engine
from toy_sets import Quiet, ToySpec, draw, folder_set, lines, path_of
from training_toys import SCRATCH, family_preset, write_preset, write_sequence, write_shard, write_shards

__all__ = ["SUBJECTS", "Subject"]


@dataclass(frozen=True)
class Subject:
    """Inputs and what is done with them.

    Attributes:
        make: fills a folder.
        commands: lines as they are typed.
        weight: how often it is drawn, beside the others.
        seconds: of processor time that a command may take.
        variables: of the environment, as NAME=VALUE; `PORT` is the port of the subject's server, see `loopback`.
        serves: whether a command is a server, which gets Ctrl-C once it says where it is.
    """

    make: Callable[[Path], object]
    commands: tuple[str, ...]
    weight: float = 1.0
    seconds: float = 20.0
    variables: tuple[str, ...] = ()
    serves: bool = False


_FAMILIES = ("siamcar", "siamrpn", "spm", "siamfc")


def weights(folder: Path) -> None:
    """Weights of small networks of some families."""
    for family in _FAMILIES:
        torch.manual_seed(0)
        path = family_preset(folder, family)
        preset = load_preset(path)
        save_weights(folder / f"{family}.safetensors", preset.model.build(), {"preset": preset_to_json(preset)})


def film(path: Path, count: int = 6) -> None:
    from siamtrack.video.writer import VideoWriter

    with VideoWriter(path, (64, 48), 10.0) as writer:
        for frame in moving(count):
            writer.write(frame)


def clips(root: Path) -> None:
    weights(root)
    film(root / "clip.mp4")
    draw(root / "frames", path_of(4))
    draw(root / "pngs", path_of(3), "%d.png")


def pictures(root: Path) -> None:
    """Frames and videos in other formats."""
    from PIL import Image

    weights(root)
    images = [Image.fromarray(frame) for frame in moving(3)]
    for suffix, options in {"png": {}, "bmp": {}, "webp": {"lossless": True}, "tif": {}, "ppm": {}}.items():
        for number, image in enumerate(images):
            path = root / suffix / f"{number}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            image.save(path, **options)
    (root / "turned").mkdir()
    (root / "deep").mkdir()
    for number, image in enumerate(images):
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(root / "turned" / f"{number}.jpg", exif=exif)
        deep = np.asarray(image.convert("L")).astype(np.uint16) * 256
        Image.fromarray(deep).save(root / "deep" / f"{number}.png")
    for suffix, codec in {"mkv": "mpeg4", "avi": "mjpeg", "ts": "mpeg4", "mov": "mpeg4"}.items():
        with av.open(str(root / f"clip.{suffix}"), "w") as out:
            coded = out.add_stream(codec, rate=10)
            coded.width, coded.height = 64, 48
            coded.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for frame in moving(5):
                out.mux(coded.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            out.mux(coded.encode(None))


def moving(count: int) -> np.ndarray:
    """Frames (count, 48, 64, 3) of a bright box."""
    frames = np.full((count, 48, 64, 3), 40, np.uint8)
    for frame, (x, y, w, h) in zip(frames, path_of(count).astype(int).tolist(), strict=True):
        frame[y : y + h, x : x + w] = 220
    return frames


def exported(root: Path) -> None:
    """A model that ships, as ONNX and as OpenVINO, and what the page needs to run it in a browser."""
    import onnx

    from siamtrack.export import write_openvino
    from siamtrack.presets import packaged_export

    packed = packaged_export("siamcar_pico")
    assert packed is not None
    shutil.copyfile(packed, root / "pico.onnx")
    write_openvino(onnx.load(packed), root / "vino.xml", half=False)
    film(root / "clip.mp4", 4)
    folder_set(root / "data", {"one": 3})
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        (root / "web").mkdir(exist_ok=True)
        (root / "web" / name).write_text("none\n")


def sequences(root: Path) -> None:
    weights(root)
    folder_set(root / "data", {"one": 4, "two": 3})


def started(root: Path) -> None:
    """Folders in which an evaluation, a search and a study were done once, to go on in."""
    from siamtrack.apps.cli.main import app

    sequences(root)
    for line in _STARTED:
        app(shlex.split(line), standalone_mode=False)


def store(root: Path) -> None:
    """Two trackers' results on one suite, its data, and the same results as raw files."""
    folder_set(root / "data", {"one": 6, "two": 5})
    suite = find_suite("folder")
    for name in ("toy", "rival"):
        spec = ToySpec(name=name)
        place = open_store(spec, suite, root / "results")
        evaluate(spec, suite, read_suite(suite, root / "data"), place, Workers(0), Quiet())
        shutil.copytree(root / "results" / name / "folder" / "results", root / "raw" / name)


def submissions(root: Path) -> None:
    names = [f"GOT-10k_Test_{n:06d}" for n in (1, 2)]
    for n, name in enumerate(names):
        draw(root / "got" / "test" / name, path_of(3 + n))
        (root / "got" / "test" / name / "groundtruth.txt").write_text(lines(path_of(1)))
    (root / "got" / "test" / "list.txt").write_text("\n".join(names))
    (root / "net" / "TEST" / "anno").mkdir(parents=True)
    for n, name in enumerate(["-_0o9F4rRAo_0", "AbCdEfGhIj1_12"]):
        draw(root / "net" / "TEST" / "frames" / name, path_of(3 + n), "%d.jpg", 0)
        (root / "net" / "TEST" / "anno" / f"{name}.txt").write_text(lines(path_of(1)))
    for suite_name, folder in (("got10k-test", "got"), ("trackingnet", "net")):
        suite = find_suite(suite_name)
        spec = ToySpec()
        place = open_store(spec, suite, root / "results")
        evaluate(spec, suite, read_suite(suite, root / folder), place, Workers(0), Quiet())
    with zipfile.ZipFile(root / "sent.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            packed.writestr(f"{name}/{name}_001.txt", lines(path_of(3)))
            packed.writestr(f"{name}/{name}_time.txt", "0.1\n" * 3)


def truths(name: str) -> Callable[[Path], None]:
    """A benchmark's annotation, results of it, and both as zip files."""

    def make(root: Path) -> None:
        rng = np.random.default_rng(0)
        made_sets.SUITES[name](root / "truth", rng)
        for sequence, annotation in read_truths(root / "truth", find_suite(name).data).items():
            path = root / "results" / result_path("ope", sequence, "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(region_lines(Predictions(annotation.regions.copy())))
        if name == "otb100":
            small_frames(root / "truth")
        for part in ("truth", "results"):
            shutil.make_archive(str(root / part), "zip", root / part)

    return make


def small_frames(root: Path) -> None:
    """Leave a few frames of each folder, as scoring does not read them and copying takes time."""
    for folder in {path.parent for path in root.rglob("*.jpg")}:
        for path in sorted(folder.glob("*.jpg"))[3:]:
            path.unlink()


def layout(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        (LAYOUTS[name][1] if name in LAYOUTS else BY_NAME[name])(root / "data")
        kind = LAYOUTS[name][0] if name in LAYOUTS else name
        made, _ = build_index(root / "data", OBJECT_LAYOUTS[kind], validation=True)
        save_index(made, root / "made.npz")
        shutil.make_archive(str(root / "packed"), "zip", root / "data")

    return make


def shards(root: Path) -> None:
    """Shards, presets, weights, a run's folder with checkpoints, and a failed step."""
    write_shards(root / "shards", 2)
    write_preset(root, SCRATCH)
    for family in _FAMILIES:
        family_preset(root, family)
    write_sequence(root / "val")
    preset = load_preset(root / "tiny.toml")
    from siamtrack.apps.cli.main import app
    from siamtrack.data.pair_source import open_pairs
    from siamtrack.training import loop
    from siamtrack.training.distributed import ProcessGroup
    from siamtrack.training.failure import FailedStep, save_failure
    from siamtrack.training.parameters import prepare, settings_in_force, unfreeze_backbone

    pairs = open_pairs(root / "shards", preset.crops, preset.data)
    command = ["train", str(root / "tiny.toml"), "--data", str(root / "shards"), "--out", str(root / "run")]
    app([*command, "--steps", "4"], standalone_mode=False)
    torch.manual_seed(0)
    net = preset.model.build()
    prepare(net, settings_in_force(preset.train))
    unfreeze_backbone(net, settings_in_force(preset.train), 4)
    batch, rngs = loop.draw_batch(pairs, preset, 4, ProcessGroup())
    random = torch.stack([rng.get_state() for rng in rngs])
    terms = {name: float(value.detach()) for name, value in preset.model.loss(net, batch, rngs).items()}
    save_failure(root / "failed.safetensors", preset, net, FailedStep(4, batch, terms, 1.0, random))
    pairs.close()


def foreign(root: Path) -> None:
    """A checkpoint of another project, whose tensors are small where the format lets them be."""
    net = load_preset("siamfc").model.build()
    state = {f"backbone.conv{n}.0.weight": torch.zeros(3, 3, 3, 3) for n in range(1, 4)}
    torch.save(state, root / "small.pth")
    whole = {name: value for name, value in net.state_dict().items() if name.startswith("backbone.")}
    torch.save(whole, root / "whole.pth")
    blob = io.BytesIO()
    torch.save({"state_dict": state, "epoch": 3}, blob, _use_new_zipfile_serialization=False)
    (root / "old.pth").write_bytes(blob.getvalue())


def study(root: Path) -> None:
    write_shard(root / "shards", tracks=12, frames=2)


def studies(root: Path) -> None:
    """What the papers' tables and figures are made of."""
    sequences(root)
    write_shards(root / "shards", 2)


def hub(root: Path) -> None:
    """A model of the Hugging Face Hub: the answers that its library asks for."""
    clips(root)
    data = (root / "siamcar.safetensors").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    listed = json.dumps({"id": "owner/toy", "sha": "1" * 40, "siblings": [{"rfilename": "siamcar.safetensors"}]})
    told = {"X_Repo_Commit": "1" * 40, "ETag": f'"{digest}"', "X_Linked_Size": len(data), "Accept_Ranges": "bytes"}
    _answers(
        root,
        {
            "api,models,owner,toy": answer(listed.encode(), "application/json"),
            "owner,toy,resolve,main,siamcar.safetensors": answer(data, "application/octet-stream", **told),
        },
    )


def live(root: Path) -> None:
    """Streams: a file and pictures over HTTP, and a camera that speaks RTSP and sends no packet."""
    clips(root)
    with av.open(str(root / "live.ts"), "w", format="mpegts") as out:
        coded = out.add_stream("mpeg4", rate=10)
        coded.width, coded.height, coded.pix_fmt = 64, 48, "yuv420p"
        for frame in moving(12):
            out.mux(coded.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(coded.encode(None))
    sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=control:*\r\n"
    sdp += "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
    pictures = [path.read_bytes() for path in sorted((root / "frames").iterdir())]
    parts = b"".join(b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n" for picture in pictures * 3)
    said = "RTSP/1.0 200 OK"
    _answers(
        root,
        {
            "clip.mp4": answer((root / "clip.mp4").read_bytes(), "video/mp4"),
            "live.ts": answer((root / "live.ts").read_bytes(), "video/mp2t"),
            "live.mjpeg": answer(parts, "multipart/x-mixed-replace; boundary=x"),
            "options.rtsp": answer(b"", "text/plain", said, CSeq=1, Public="OPTIONS, DESCRIBE, SETUP, PLAY"),
            "describe.rtsp": answer(sdp.encode(), "application/sdp", said, CSeq=2),
            "setup.rtsp": answer(b"", "text/plain", said, CSeq=3, Session=7, Transport="RTP/AVP/TCP;interleaved=0-1"),
            "play.rtsp": answer(b"", "text/plain", said, CSeq=4, Session=7) + b"$\0\0\x0c" + bytes(12),
        },
    )


def remote(root: Path) -> None:
    """Shards that a web server has."""
    shards(root)
    _answers(root, {f"{path.name}": answer(path.read_bytes(), "application/x-tar") for path in root.glob("shards/*")})


def requests(root: Path) -> None:
    """What labelling tools send; a state is of the request before."""
    clips(root)
    image = base64.b64encode((root / "pngs" / "1.png").read_bytes()).decode()
    begin = {"image": image, "shapes": [[4.0, 6.0, 16.0, 16.0], {"points": [8, 8, 20, 20]}], "states": []}
    (root / "begin.json").write_text(json.dumps(begin))
    found = track_shapes(open_engine(str(root / "siamcar.safetensors")), begin)
    (root / "go-on.json").write_text(json.dumps({"image": image, **found}))
    keys = [{"frame": n, "x": 6, "y": 12, "width": 19, "height": 21, "enabled": True, "time": 0.1} for n in (1, 3)]
    value = {"sequence": keys, "labels": ["cat"], "framesCount": 6}
    region = {"id": "a", "type": "videorectangle", "from_name": "box", "to_name": "video", "value": value}
    tasks = [{"id": 1, "data": {"video": "clip.mp4"}, "annotations": [{"result": [region]}], "drafts": []}]
    (root / "predict.json").write_text(json.dumps({"tasks": tasks, "params": {"context": None}}))
    fetched = [{"id": 1, "data": {"video": "http://127.0.0.1:PORT/clip.mp4"}}]
    (root / "fetch.json").write_text(json.dumps({"tasks": fetched, "params": {"context": {"result": [region]}}}))
    _answers(root, {"clip.mp4": answer((root / "clip.mp4").read_bytes(), "video/mp4")})


def _answers(root: Path, answers: dict[str, bytes]) -> None:
    (root / "answers").mkdir()
    for name, said in answers.items():
        (root / "answers" / f"{name}.http").write_bytes(said)


_ONE = "--box 4,6,12,10"
_STARTED = (
    "eval siamcar.safetensors --suite folder --data data --out run/results --processes 1",
    "tune siamcar.safetensors --data data --out run/tuned.toml --grid track.window=0.3,0.4 --folds 2 --processes 1",
)

SUBJECTS: dict[str, Subject] = {
    "track": Subject(
        clips,
        (
            f"track clip.mp4|frames|pngs {_ONE} --model "
            "siamcar.safetensors|siamrpn.safetensors|spm.safetensors|siamfc.safetensors "
            "--output out/boxes.txt|out/boxes.csv|out/boxes.json|out/boxes.jsonl",
            f"track clip.mp4|frames {_ONE} {_ONE} --model siamcar.safetensors --video out/drawn.mp4",
            f"track frames {_ONE} --model siamcar.safetensors --preset siamcar.toml --output out/boxes.txt",
            f"track clip.mp4 {_ONE} --model siamcar.safetensors --start 1 --end 4 --output out/boxes.csv",
        ),
        3.0,
    ),
    "track-formats": Subject(
        clips,
        (
            f"track frames {_ONE} --model siamcar.safetensors --format coco|cvat|labelstudio|mot|yolo|jsonl "
            "--output out/boxes.zip|out/boxes.txt|out/boxes --label cat",
            f"track frames {_ONE} --box 8,8,9,9 --model siamrpn.safetensors --format coco --output out/boxes.json "
            "--format cvat --output out/boxes.xml --label cat --label dog",
            "track clip.mp4|frames --box 0:4,6,12,10 --box 3:7,8,12,10 --model siamcar.safetensors "
            "--output out/boxes.json",
            f"track clip.mp4 {_ONE} --model siamfc.safetensors --vid-stride 2 --output out/boxes.csv --video out/a.mp4",
        ),
        1.5,
    ),
    "pictures": Subject(
        pictures,
        (
            f"track png|bmp|webp|tif|ppm|turned|deep {_ONE} --model siamcar.safetensors --output out/boxes.csv",
            f"track clip.mkv|clip.avi|clip.ts|clip.mov {_ONE} --model siamcar.safetensors --output out/boxes.csv",
        ),
        1.5,
    ),
    "exported": Subject(
        exported,
        (
            f"track clip.mp4 {_ONE} --model pico.onnx|vino.xml --output out/boxes.csv",
            f"track clip.mp4 {_ONE} --model pico.onnx --engine openvino|onnxruntime --output out/boxes.csv",
            "eval pico.onnx --suite folder --data data --out out/results --processes 1",
            "app --static out/page --model pico.onnx --onnxruntime-web web",
        ),
        2.0,
    ),
    "lists": Subject(
        lambda root: None, ("study list", "--version", "--help", "track --help", "models", "models --json"), 0.2
    ),
    "demo": Subject(weights, ("demo --model siamcar.safetensors --end 3 --out out/demo",), 0.5),
    "eval": Subject(
        sequences,
        (
            "eval siamcar.safetensors --suite folder --data data --out out/results --processes 1",
            "eval siamcar.safetensors spm.safetensors --suite folder --data data --out out/results --processes 1",
            "eval siamrpn.safetensors --preset siamrpn.toml --suite folder --data data --out out/results --processes 1",
        ),
        1.5,
    ),
    "tune": Subject(
        sequences,
        (
            "tune siamcar.safetensors --data data --out out/tuned.toml --grid track.window=0.3,0.4 "
            "--folds 2 --processes 1",
            "tune siamcar.safetensors --data data --out out/tuned.toml --grid track.window=0.3,0.4 "
            "--search coordinate --folds 2 --processes 1",
        ),
        1.0,
    ),
    "started": Subject(started, (*_STARTED, "report run/results --out out/page"), 1.5),
    "report": Subject(
        store,
        (
            "report results --out out/page",
            "report results --out out/page --data data --clips 1",
            "report raw/toy raw/rival --suite folder --truth data --out out/page",
        ),
        1.0,
    ),
    "submit": Subject(
        submissions,
        (
            "submit results/toy/got10k-test --data got --out out/sent.zip",
            "submit results/toy/trackingnet --data net --out out/sent.zip",
            "submit sent.zip --check",
            "submit sent.zip --check --data got",
        ),
        2.0,
    ),
    **{
        f"score-{name}": Subject(
            truths(name),
            (
                f"score --suite {name} --truth truth|truth.zip --results results|results.zip",
                f"score --suite {name} --truth truth --results results --json --per-sequence",
            ),
            0.4,
        )
        for name in ("otb100", "vot2018", "vot2022", "lasot", "got10k-val", "uav123", "nfs30", "tc128", "folder")
    },
    **{
        f"data-{name}": Subject(
            layout(name),
            (
                f"data index data|packed.zip --as {LAYOUTS[name][0] if name in LAYOUTS else name} -o out/made.npz",
                "data index data -o out/made.npz",
                "data check data|made.npz|packed.zip --all",
                "data pack made.npz -o out/shards --processes 1 --size 64 --smallest 1 --shard 3",
            ),
            0.4,
        )
        for name in [*LAYOUTS, *BY_NAME]
    },
    "shards": Subject(
        shards,
        (
            "data check shards",
            "data check shards/made-00.tar --all",
            "data check shards --picture out/crops.png",
        ),
        2.0,
    ),
    "train": Subject(
        shards,
        (
            "train tiny.toml --data shards --out out/run --steps 2",
            "train siamrpn.toml|spm.toml|siamfc.toml|siamcar.toml --data shards --out out/run --steps 1",
            "train tiny.toml --data shards/made-{00..01}.tar --out out/run --steps 1 --val val",
            "train tiny.toml --data shards --out run --resume --steps 5",
            "train tiny.toml --data shards --dry-run --picture out/pairs.png",
            "train --replay failed.safetensors",
        ),
        3.0,
    ),
    "import": Subject(
        foreign,
        (
            "import small.pth|whole.pth|old.pth --from siamfc-pytorch --preset siamfc --out out/made.safetensors",
            "import small.pth|old.pth --from pysot --preset siamrpn_alex --out out/made.safetensors",
        ),
        1.0,
    ),
    "study": Subject(
        study,
        (
            "study center-bias --data shards --out out/study --shift 0 --crops 2 "
            "--set train.steps=1 --set train.batch=2 --set train.from_scratch=true",
        ),
        0.2,
    ),
    "studies": Subject(
        studies,
        (
            "study figure channels|attention|responses|scores|recall --out out/figure.png --frames 2 --limit 1 "
            "--clips data --model siamcar.safetensors|siamrpn.safetensors|spm.safetensors",
            "study siamcar-figure3|sasiam-table2 --data shards --suites folder=data --out out/study --scale small "
            "--steps 1 --set train.batch=2 --set train.from_scratch=true",
        ),
        0.6,
    ),
    "export": Subject(
        clips,
        (
            "export siamcar.safetensors|siamfc.safetensors --out out/made.onnx --precision float32|float16|bfloat16",
            "export siamcar.safetensors --out out/made.xml --format openvino",
            "export siamcar.safetensors --out out/made --format hub",
            "export siamcar.safetensors --out out/made.onnx --precision int8 --calibrate clip.mp4|frames",
            "export siamcar.safetensors --out out/made.onnx --preset siamcar.toml",
        ),
        0.1,
        seconds=80.0,
    ),
    "hub": Subject(
        hub,
        (
            f"track frames {_ONE} --model hf:owner/toy --output out/boxes.csv",
            f"track frames {_ONE} --model hf:owner/toy:siamcar.safetensors --output out/boxes.csv",
        ),
        1.0,
        variables=("HF_ENDPOINT=http://127.0.0.1:PORT", "HF_HOME=out/hub", "HF_HUB_DISABLE_XET=1"),
    ),
    "live": Subject(
        live,
        (
            "track http://127.0.0.1:PORT/clip.mp4|http://127.0.0.1:PORT/live.ts|http://127.0.0.1:PORT/live.mjpeg "
            f"{_ONE} --model siamcar.safetensors --output out/boxes.csv --end 3 --every-frame",
            f"track rtsp://127.0.0.1:PORT/live {_ONE} --model siamcar.safetensors --output out/boxes.csv --end 2",
        ),
        1.0,
    ),
    "remote": Subject(
        remote,
        (
            "train tiny.toml --data http://127.0.0.1:PORT/made-{00..01}.tar --out out/run --steps 1",
            "data check http://127.0.0.1:PORT/made-00.tar --all",
        ),
        0.7,
    ),
    "app": Subject(
        clips,
        (
            "app clip.mp4|frames --model siamcar.safetensors --no-browser",
            "app --model siamrpn.safetensors --no-browser --files . --upload-limit 1 --host 127.0.0.1|localhost",
            "track clip.mp4 --model siamcar.safetensors",
        ),
        0.5,
        variables=("BROWSER=true",),
        serves=True,
    ),
    "requests": Subject(
        requests,
        (
            "answer-cvat begin.json|go-on.json siamcar.safetensors",
            "answer-labelstudio predict.json|fetch.json siamcar.safetensors",
        ),
        1.0,
        variables=("LABEL_STUDIO_URL=http://127.0.0.1:PORT", "LABEL_STUDIO_API_KEY=none"),
    ),
}
