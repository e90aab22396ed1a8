"""Ways to break a file: whole formats are taken apart, changed inside and put together again."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from loopback import WAYS

if TYPE_CHECKING:
    import onnx

__all__ = ["ODD_NAMES", "SPARSE", "break_file", "change_words"]

TEXTS = {".txt", ".csv", ".json", ".jsonl", ".toml", ".xml", ".ini", ".yaml", ".label", ".tag", ".value", ""}

_NUMBERS: list[Any] = [
    *(0, -1, 1, 2, 3, 0.5, -0.0, 1e-320, 1e300, -1e300, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**400),
    *(float("inf"), float("-inf"), float("nan"), 65536, 100000, 1e9, 4294967295),
]
_TEXTS = [
    *("", " ", "x", "\0", "a\0b", "../../x", "/etc/passwd", "/dev/zero", "nan", "inf", "1e999", "0x10", "١٢", "true"),
    *("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "\u2028", "\n", "a\nb", "%s%n", "{}", "x" * 5000),
    *("http://127.0.0.1:9/x", "file:///etc/passwd", "s3://none/x", "cuda", "-1", "9" * 5000, ".", "..", "a/b/c"),
    *(
        "\udcff",
        "train-{0..999999999999}.tar",
        "٣",
        "\x1b[31m",
        "'; drop",
        "__import__('os')",
        "!!python/object:os.system",
    ),
]
_PIECES = [
    *(b"", b"\0", b"\xff\xfe\0", b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"9" * 400, b"{}", b"[]", b"null"),
    *(
        b'"',
        b"'",
        b",",
        b"\n",
        b"\r",
        b"\t",
        b";",
        b"<",
        b">",
        b"&x;",
        b"=",
        b"#",
        b"[",
        b"]",
        b"{",
        b"}",
        b"\xe2\x80\xa8",
    ),
    *(b"[" * 100_000, b'{"a":' * 20_000, b"(" * 5000, b"../../x", b"/dev/zero", b"1,2,3,4\n" * 3, b"a" * 100_000),
    *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"1_000", b"0x10", b"1e5", b"true", b"x", b"\\", b"${HOME}", b"*a", b"&a [*a]"),
]
_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b'<!ENTITY z SYSTEM "file:///etc/passwd">]><annotation><object><name>&j;&z;</name></object></annotation>'
)

_LISTS = [
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nnone.ts\n",
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n",
    b"ffconcat version 1.0\nfile in.fifo\n",
    b"ffconcat version 1.0\nfile clip.mp4\nfile clip.mp4\n",
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 49170 RTP/AVP 96\r\n",
]
"""Texts in place of a video that send a reader elsewhere."""
_VIDEOS = {".mp4", ".mkv", ".avi", ".ts", ".mov"}

Draw = random.Random

SPARSE = 20 << 30
"""Bytes of a file of zeros that takes no place on the disk."""

ODD_NAMES = (
    "\udcff\udcfe",
    "a\nb",
    " ",
    "._0001",
    ".hidden",
    "Thumbs",
    "é" * 100,
    "0001 (1)",
    "-rf",
    "%05d",
    "*",
    "#12",
)
"""Stems of files that are added beside others: no UTF-8, control characters, leavings of other systems."""


def break_file(path: Path, draw: Draw, others: list[Path]) -> None:
    """Change a file in place; `others` are files whose content it may get."""
    roll = draw.random()
    if roll < 0.05:
        _replace(path, draw, others)
        return
    data = path.read_bytes()
    if roll < 0.07 and others:
        path.write_bytes(draw.choice(others).read_bytes()[: 1 << 22])
        return
    suffix, roll = path.suffix.lower(), draw.random()
    if suffix in _VIDEOS and roll < 0.03:
        path.write_bytes(draw.choice(_LISTS))
        return
    path.write_bytes(change(suffix, data, draw))
    if suffix in _VIDEOS and roll > 0.97:  # nothing follows, for longer than any disk
        os.truncate(path, SPARSE)


def _replace(path: Path, draw: Draw, others: list[Path]) -> None:
    """Put something else in a file's place: nothing, a folder, a pipe, a link, an endless file."""
    path.unlink()
    kind = draw.randrange(8)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to(path.name)
    elif kind == 3:
        path.symlink_to("nowhere")
    elif kind == 4:
        path.symlink_to("/dev/zero")
    elif kind == 5:
        path.symlink_to("..")
    elif kind == 6:
        with path.open("wb") as file:
            file.truncate(draw.choice([0, SPARSE]))


def change(suffix: str, data: bytes, draw: Draw) -> bytes:
    """Return a changed content of a kind of file."""
    inside: dict[str, Callable[[bytes, Draw], bytes]] = {
        ".json": _json, ".jsonl": _json_lines, ".toml": _toml, ".zip": _zip, ".npz": _zip, ".pt": _zip, ".pth": _zip,
        ".tar": _tar, ".safetensors": _safetensors, ".png": _png, ".jpg": _jpeg, ".jpeg": _jpeg, ".npy": _npy,
        ".xml": _xml, ".onnx": _onnx, ".http": _http,
    }  # fmt: skip
    if suffix in inside and draw.random() < 0.75:
        try:
            return inside[suffix](data, draw)
        except Exception:  # it is broken already, or cannot hold what was drawn
            return _bytes(data, draw)
    return (
        _text(data, draw) if (suffix in TEXTS and suffix not in inside) or draw.random() < 0.2 else _bytes(data, draw)
    )


def _bytes(data: bytes, draw: Draw) -> bytes:
    kind, size = draw.randrange(8), len(data)
    if kind == 0 or not size:
        return data[: draw.randrange(size + 1)]
    if kind == 1:
        return b""
    at = draw.randrange(size)
    if kind == 2:
        return data[:at] + draw.randbytes(draw.choice([1, 2, 16])) + data[at:]
    if kind == 3:
        return data[:at] + data[at + draw.choice([1, 4, 100]) :]
    if kind == 4:
        return data + draw.randbytes(draw.choice([1, 100, 5000]))
    if kind == 5:
        span = draw.choice([4, 64, 4096])
        return data[:at] + bytes(min(span, size - at)) + data[at + span :]
    changed = bytearray(data)
    # the beginning says what the rest is
    reach = size if draw.random() < 0.6 else min(size, 400)
    for _ in range(draw.choice([1, 3, 12])):
        changed[draw.randrange(reach)] = draw.choice([0, 255, 127, 128, draw.randrange(256)])
    return bytes(changed)


def _text(data: bytes, draw: Draw) -> bytes:
    if len(data) > 1 << 20:
        return _bytes(data, draw)
    kind = draw.randrange(11)
    ends = [i for i, byte in enumerate(data) if byte in b'",:<>\n =[]\t'] or [0]
    if kind < 4:  # a number, name or text becomes something else
        start = draw.choice(ends)
        end = next((i for i in ends if i > start), len(data))
        return data[: start + 1] + draw.choice(_PIECES) + data[end:]
    if kind == 4:
        at = draw.randrange(len(data) + 1)
        return data[:at] + draw.choice(_PIECES) + data[at:]
    if kind == 5:
        rows = data.splitlines(keepends=True) or [b""]
        row = draw.randrange(len(rows))
        return b"".join(rows[:row] + rows[row : row + 1] * draw.choice([0, 2, 50, 2000]) + rows[row + 1 :])
    if kind == 6:
        if draw.random() < 0.3:
            return data.replace(b"\n", draw.choice([b"\r\n", b"\r"]))
        text = data.decode("latin-1")
        return text.encode(draw.choice(["utf-16", "utf-8-sig", "utf-32"]))
    if kind == 7:
        return data.replace(draw.choice([b"\n", b",", b" ", b'"', b"0"]), draw.choice(_PIECES[:30]))
    if kind == 8:
        rows = data.splitlines(keepends=True)
        draw.shuffle(rows)
        return b"".join(rows)
    if kind == 9:
        at, row = draw.choice([0, len(data), draw.randrange(len(data) + 1)]), data[: data.find(b"\n") + 1]
        return draw.choice([data[:at] + _long(draw, row) + data[at:], _long(draw, row)])
    return _bytes(data, draw)


def _long(draw: Draw, row: bytes) -> bytes:
    """One sign, or a few, many times over: what a reader goes through again from each place costs the square of it."""
    signs = [b"\n", b"\n", b"\n", b" ", b"\t", b"\r", b",", b".", b"-", b"0", b"9", b"a", b"[", b"(", b'"', b"'", b"\\", b"#",
             b"a.", b"1 ", b"1,", b"\r\n", b" \n", b"[\n", b":\n", b"=\n", b"- \n", b"{}", b"<a>", b"&a;", b"\xf0\x9f\x98\x80", row,
             row.partition(b"=")[0].partition(b":")[0], row.rstrip(), row.rstrip() + b"[\n"]  # fmt: skip
    sign = draw.choice(signs) or b"\n"
    return sign * (draw.choice([1000, 200_000, 200_000, 2_000_000]) // len(sign))


def _node(value: Any, draw: Draw) -> Any:
    """A value with one place in it changed."""
    if draw.random() < (0.25 if isinstance(value, dict | list) else 1.0):
        nest: Any = 0
        for _ in range(draw.choice([3, 500])):
            nest = [nest]
        strange: list[Any] = [None, True, [], {}, [[]], {"a": [1]}, nest, [value] * 3, "\ud800", {"\ud800": value}]
        return draw.choice([*strange, draw.choice(_NUMBERS), draw.choice(_NUMBERS), draw.choice(_TEXTS)])
    if isinstance(value, dict) and value:
        key = draw.choice(list(value))
        kind = draw.random()
        if kind < 0.12:
            return {k: v for k, v in value.items() if k != key}
        if kind < 0.2:
            return value | {draw.choice(_TEXTS): draw.choice(_NUMBERS)}
        return {k: _node(v, draw) if k == key else v for k, v in value.items()}
    if isinstance(value, list) and value:
        at = draw.randrange(len(value))
        kind = draw.random()
        if kind < 0.1:
            return value[:at] + value[at + 1 :]
        if kind < 0.2:
            return value[:at] + value[at : at + 1] * draw.choice([2, 100]) + value[at + 1 :]
        return [*value[:at], _node(value[at], draw), *value[at + 1 :]]
    return draw.choice(_NUMBERS)


def _json(data: bytes, draw: Draw) -> bytes:
    changed = _node(json.loads(data), draw)
    text = json.dumps(changed)
    if draw.random() < 0.03:
        text = '{"a":' * 50_000 + text
    elif draw.random() < 0.03:
        inner = draw.choice(["[]", "{}", "0", "[0,0,0,0]", '"\U0001f600"', '{"a":0}', " "])
        text = f'{{"a": [{",".join([inner] * draw.choice([1000, 1_000_000]))}], "b": {text}}}'
    return text.encode()


def _json_lines(data: bytes, draw: Draw) -> bytes:
    rows = data.splitlines() or [b"{}"]
    row = draw.randrange(len(rows))
    rows[row] = _json(rows[row], draw) if draw.random() < 0.8 else _text(rows[row], draw)
    return b"\n".join(rows) + b"\n"


def _toml(data: bytes, draw: Draw) -> bytes:
    """One setting gets another value, a key another name, or a strange one is added."""
    rows = data.decode().splitlines()
    settings = [n for n, row in enumerate(rows) if "=" in row] or [0]
    at = draw.choice(settings)
    key, _, _ = rows[at].partition("=")
    kind = draw.random()
    if kind < 0.75:
        value = draw.choice(
            [*_NUMBERS[:15], *_NUMBERS[:6], *_TEXTS, True, [], [1], [[1]], [0.5, "x"], list(range(3)), 7]
        )
        shown = json.dumps(value) if not isinstance(value, float) else repr(value)
        rows[at] = f"{key}= {shown}"
        if draw.random() < 0.1:
            rows[at] = f"{key}= " + "[" * 50_000
    elif kind < 0.85:
        rows[at] = rows[at].replace(
            key.strip(), draw.choice(["x", "steps", "family", "a.b", '"\\u0000"', "extends"]), 1
        )
    elif kind < 0.9:
        deep = ".a" * draw.choice([3, 20, 500, 20_000, 60_000])
        rows.insert(draw.choice([0, len(rows)]), draw.choice([f"a{deep} = 1", f"[a{deep}]", f"a = {{a{deep} = 1}}"]))
    elif kind < 0.95:
        rows.insert(0, draw.choice(['extends = "siamfc"', 'extends = "tiny.toml"', "extends = 3", 'name = "../../x"']))
    else:
        del rows[at]
    text = "\n".join(rows) + "\n"
    tomllib.loads(text) if draw.random() < 0.3 else None
    return text.encode()


def _xml(data: bytes, draw: Draw) -> bytes:
    kind = draw.random()
    if kind < 0.05:
        return _BOMB
    if kind < 0.1:
        return b"<a>" * 20_000 + data
    return _text(data, draw)


def _onnx(data: bytes, draw: Draw) -> bytes:
    """A graph that is a graph still, with another description, shape, name, operation or constant."""
    import onnx

    model = onnx.load_from_string(data)
    kind = draw.random()
    if kind < 0.4:
        entry = draw.choice(list(model.metadata_props))
        entry.value = _json(entry.value.encode(), draw).decode() if draw.random() < 0.8 else draw.choice(_TEXTS)
    elif kind < 0.55:
        shape = draw.choice([*model.graph.input, *model.graph.output]).type.tensor_type
        if draw.random() < 0.3:
            shape.elem_type = draw.choice([0, 1, 7, 8, 10, 99])
        elif shape.shape.dim:
            draw.choice(list(shape.shape.dim)).dim_value = draw.choice([0, -1, 1, 7, 2**31, 2**62])
    elif kind < 0.65:
        draw.choice([*model.graph.input, *model.graph.output]).name = draw.choice(["", "x", "frame", "boxes", "a\0b"])
    elif kind < 0.8:
        graphs = list(_graphs(model.graph))
        node = draw.choice([node for graph in [*graphs, *model.functions] for node in graph.node])
        names = draw.choice([node.input, node.output])
        if draw.random() < 0.2:
            _add_loop(draw.choice(graphs), draw)
        elif draw.random() < 0.5 or not names:
            node.op_type = draw.choice(["Relu", "Loop", "Nothing", "ConstantOfShape", "Reshape", "Expand", "Range"])
        else:
            names[draw.randrange(len(names))] = draw.choice(["", "x", "frame", "boxes", *node.output])
    elif kind < 0.9 and model.graph.initializer:
        constant = draw.choice(list(model.graph.initializer))
        if draw.random() < 0.5 and constant.dims:
            constant.dims[0] = draw.choice([0, -1, 1, 2**40])
        else:
            constant.raw_data = _bytes(constant.raw_data, draw)
    else:
        if draw.random() < 0.5:
            model.ir_version = draw.choice([0, 1, 99, 2**40])
        else:
            model.opset_import[0].version = draw.choice([-1, 0, 1, 999])
    return bytes(model.SerializeToString())


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and those that are branches and loops in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _add_loop(graph: onnx.GraphProto, draw: Draw) -> None:
    """Put a loop in front of one of a graph's outputs: one with no end, or with turns of its own number."""
    from onnx import TensorProto, helper, numpy_helper

    output = draw.choice(list(graph.output)).name
    for node in graph.node:
        node.output[:] = ["loop.in" if name == output else name for name in node.output]
    info = helper.make_tensor_value_info
    turn = draw.choice([
        helper.make_node("Abs", ["loop.state"], ["loop.next"]),
        helper.make_node("Concat", ["loop.state", "loop.state"], ["loop.next"], axis=0),
        helper.make_node("Identity", ["loop.state"], ["loop.next"]),
    ])  # fmt: skip
    body = helper.make_graph(
        [turn, helper.make_node("Identity", ["loop.going"], ["loop.goes"])], "loop",
        [info("loop.i", TensorProto.INT64, []), info("loop.going", TensorProto.BOOL, []), info("loop.state", 1, None)],
        [info("loop.goes", TensorProto.BOOL, []), info("loop.next", 1, None)],
    )  # fmt: skip
    turns = draw.choice([0, 1, -1, 40, 10**6, 2**62])
    graph.initializer.append(numpy_helper.from_array(np.array(turns), "loop.turns"))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "loop.yes"))
    graph.node.append(helper.make_node("Loop", ["loop.turns", "loop.yes", "loop.in"], [output], body=body))


def _http(data: bytes, draw: Draw) -> bytes:
    """An answer of a server: its status, a header, its body, or how it is sent."""
    head, gap, body = data.partition(b"\r\n\r\n")
    rows = head.split(b"\r\n")
    kind = draw.random()
    if kind < 0.15:
        return draw.choice(WAYS) + data
    if kind < 0.25:
        status = draw.choice(["200", "204", "206", "301", "401", "404", "429", "500", "503", "-1", "x", "9" * 400, ""])
        rows[0] = b" ".join([*rows[0].split(b" ")[:1], status.encode(), b"Said"])
    elif kind < 0.45:
        at = draw.randrange(len(rows))
        name = rows[at].partition(b":")[0]
        values = [*_PIECES, b"-1", b"99999999999999", b"7", b"text/html", b"gzip", b"chunked", b"0"]
        rows[at] = name + b": " + draw.choice(values).replace(b"\n", b" ")[:9000]
    elif kind < 0.6:
        rows.append(draw.choice([
            b"Content-Encoding: gzip", b"Transfer-Encoding: chunked", b"Content-Range: bytes 5-1/0", b"X: " + b"x" * 70_000,
            b"Location: http://127.0.0.1:9/x", b"Location: /", b"Link: </>; rel=\"next\"", b"Retry-After: 99999",
            b"Set-Cookie: a=\0", b"\xff\xfe", b"Content-Length: 3", b": x", b"ETag: \"../../../x\"", b"Accept-Ranges: x",
            b"Content-Disposition: attachment; filename=../../x",
        ]))  # fmt: skip
        if rows[-1].startswith(b"Location"):
            rows[0] = b"HTTP/1.1 302 Found"
    else:
        inner = ".json" if b"json" in head else ".safetensors" if b"octet" in head else ".txt" if b"sdp" in head else ""
        body = change(inner, body, draw) if inner else _bytes(body, draw)
        if draw.random() < 0.7:  # what tells of the length is right; otherwise the body is cut or has more
            rows = [b"Content-Length: %d" % len(body) if row.startswith(b"Content-Length") else row for row in rows]
    return b"\r\n".join(rows) + gap + body


def _member(name: str, data: bytes, draw: Draw) -> bytes:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    if name.endswith("data.pkl"):
        return _bytes(data, draw)
    return change(suffix, data, draw)


def _zip(data: bytes, draw: Draw) -> bytes:
    kind = draw.random()
    if kind < 0.25:  # the directory at the end
        start = max(data.rfind(b"PK\x05\x06"), 0)
        directory = struct.unpack_from("<I", data, start + 16)[0] if start else 0
        changed = bytearray(data)
        for _ in range(draw.choice([1, 3, 10])):
            changed[draw.randrange(min(directory, len(data) - 1), len(data))] = draw.choice(
                [0, 255, draw.randrange(256)]
            )
        return bytes(changed)
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        members = [(info, packed.read(info)) for info in packed.infolist()]
    at = draw.randrange(len(members))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", members[0][0].compress_type) as packed:
        for n, (info, content) in enumerate(members):
            name = info.filename
            if n == at and kind < 0.7:
                content = _member(name, content, draw)
            elif n == at and kind < 0.8:
                stem = name.rpartition("/")[0]
                name = draw.choice(["../x", "/etc/x", "a\nb", "x" * 3000, "", "a/../b", "\\x", "é", name + "/", stem])
            elif n == at and kind < 0.9:
                packed.writestr(name, b"0,0,0,0\n" * (9 << 20), zipfile.ZIP_DEFLATED, 1)
                continue
            elif n == at:
                continue
            packed.writestr(name, content)
    return out.getvalue()


def _tar(data: bytes, draw: Draw) -> bytes:
    kind = draw.random()
    if kind < 0.2:
        return _bytes(data, draw)
    members = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            stored = tar.extractfile(member)
            members.append((member, stored.read() if stored else b""))
    at = draw.randrange(len(members))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=draw.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])) as tar:
        for n, (member, content) in enumerate(members):
            if n == at and kind < 0.7:
                content = _member(member.name, content, draw)
            elif n == at and kind < 0.8:
                member.name = draw.choice(
                    ["../x.json", "/x.jpg", "a\nb.json", "x" * 300 + ".json", ".json", "x", "a.b.c"]
                )
            elif n == at and kind < 0.9:
                member.type = draw.choice(
                    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"S", b"x"]
                )
                member.linkname = draw.choice(["/etc/passwd", member.name, "../x"])
            elif n == at:
                continue
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    changed = out.getvalue()
    if kind > 0.95:  # a size that the file does not have
        changed = (
            changed[:124] + draw.choice([b"77777777777\0", b"-0000000001\0", b"\x80" + b"\xff" * 11]) + changed[136:]
        )
        total = sum(changed[:148]) + 8 * 32 + sum(changed[156:512])
        changed = changed[:148] + b"%06o\0 " % total + changed[156:]
    return changed


def _safetensors(data: bytes, draw: Draw) -> bytes:
    length = struct.unpack_from("<Q", data)[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = draw.random()
    notes = header.get("__metadata__", {})
    nested = [key for key, value in notes.items() if value[:1] == "{"]
    if kind < 0.5 and nested:  # the preset, which is JSON in a text
        key = draw.choice(nested)
        header["__metadata__"][key] = json.dumps(_node(json.loads(notes[key]), draw))
    elif kind < 0.7:
        header = _node(header, draw)
    elif kind < 0.85:  # the values
        changed = bytearray(body)
        for _ in range(20):
            at = draw.randrange(len(body) - 2)
            changed[at : at + 2] = draw.choice([b"\xff\x7f", b"\0\x7e", b"\0\x7c", b"\xff\xfb", draw.randbytes(2)])
        body = bytes(changed)
    else:
        body = _bytes(body, draw)
    text = json.dumps(header).encode()
    shown = len(text) if draw.random() < 0.95 else draw.choice([0, 2**63, 2**32, len(text) * 2])
    return struct.pack("<Q", shown) + text + body


def _png(data: bytes, draw: Draw) -> bytes:
    if draw.random() < 0.4:  # another size in a header that is right in itself
        size = struct.pack(
            ">II", draw.choice([0, 1, 65, 30_000, 2**31 - 1]), draw.choice([0, 1, 49, 30_000, 2**31 - 1])
        )
        head = b"IHDR" + size + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    return _bytes(data, draw)


def _jpeg(data: bytes, draw: Draw) -> bytes:
    at = data.find(b"\xff\xc0")
    if at > 0 and draw.random() < 0.4:
        size = struct.pack(">HH", draw.choice([0, 1, 49, 65_535]), draw.choice([0, 1, 65, 65_535]))
        return data[: at + 5] + size + data[at + 9 :]
    return _bytes(data, draw)


def _npy(data: bytes, draw: Draw) -> bytes:
    length = struct.unpack_from("<H", data, 8)[0]
    header, body = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    shape = draw.choice(["(1000000000000,)", "(-1,)", "()", "(3, 4, 5)", "(0,)", "(2**70,)"])
    kind = draw.choice(["'|O'", "'<f8'", "'<i8'", "'|S9'", "'<U3'", "'<c16'", "'|b1'", "[('a', '<f4')]"])
    if draw.random() < 0.5:
        start = header.index("'shape': ") + 9
        header = header[:start] + shape + header[header.index(")", start) + 1 :]
    else:
        start = header.index("'descr': ") + 9
        header = header[:start] + kind + header[header.index(", 'fortran", start) :]
    if "'|O'" in header:
        body = (
            b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
        )
    return data[:8] + struct.pack("<H", len(header)) + header.encode("latin-1") + body


def change_words(argv: list[str], draw: Draw, options: list[str]) -> list[str]:
    """Change the words of a command: values, options, their order and number."""
    words = list(argv)
    for _ in range(draw.choice([1, 1, 2, 3])):
        at = draw.randrange(1, len(words)) if len(words) > 1 else 0
        kind = draw.random()
        if kind < 0.55:
            words[at] = _value(words[at], draw)
        elif kind < 0.65:
            del words[at]
        elif kind < 0.72:
            words.insert(at, words[at])
        elif kind < 0.95 and options:
            words[at:at] = [draw.choice(options), _value(words[at], draw)][: draw.choice([1, 2, 2, 2])]
        else:
            words.insert(at, draw.choice(["--help", "--", "-", "", "--x", "-o", "@x", "--set", "--box"]))
        if not words:
            return ["--help"]
    return words


def _value(word: str, draw: Draw) -> str:
    """A value in place of another; no path that is drawn leads out of the folder of the run."""
    texts = [
        text for text in _TEXTS if not text.startswith(("/", "..", "file:")) and "\0" not in text and ".." not in text
    ]
    files = [
        "in.fifo",
        "link",
        "out",
        "out/new",
        "out/new/deep.txt",
        "out/a.json",
        "out/a.mp4",
        "out/a.npz",
        "out/a.zip",
    ]
    files += ["out/fifo", "out/x.toml", "full/x", "full", "readonly", "in", "data", "shards", "clip.mp4", "out/é\n.txt"]
    numbers = [str(number) for number in _NUMBERS if number != 10**400]
    settings = [
        f"{key}={draw.choice([*numbers, 'x', '[]', '[1]', 'true', '{}', '[' * 500, '0.3,0.4'])}"
        for key in ("track.window", "model.scales", "crops.search", "crops.template", "train.steps", "train.batch",
                    "train.lr", "data.gap", "data.flip", "data.search", "model.width", "model.backbone", "name", "x.y",
                    "train.seed", "train.ema", "data.search.shift", "track", "model.levels", "train.batch_shards")
    ]  # fmt: skip
    boxes = [
        "1,2,3",
        "0,0,0,0",
        "nan,1,1,1",
        "-5,-5,3,3",
        "1e9,1,1,1",
        "1,1,1e9,1e9",
        "inf,0,1,1",
        "1 2 3 4",
        "4,6,12,1e-9",
    ]
    return draw.choice([draw.choice(texts), draw.choice(files), draw.choice(numbers), draw.choice(settings),
                        draw.choice(boxes), word[: len(word) // 2], word + "x", word.upper(), word + "," + word])  # fmt: skip
