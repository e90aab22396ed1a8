"""`siamtrack data`: index original annotations, check them, and pack crops for training."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamtrack.apps.cli.options import Cluster
from siamtrack.apps.cli.progress import counting
from siamtrack.errors import DataError, InputError

if TYPE_CHECKING:
    from siamtrack.data.index import Index
    from siamtrack.formats.layout import Problem

data = typer.Typer(name="data", help="Prepare training data: index, check, pack.", no_args_is_help=True)

_Layout = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="LAYOUT",
        help="vid, det, youtubebb, citypersons, widerface, got10k, lasot, trackingnet, mot, cvat, coco, masks, voc, "
        "yolo, folder, voc-video or yolo-video; found out by default.",
    ),
]


@data.command()
def index(
    root: Annotated[Path, typer.Argument(help="Folder of a data set, or of your own images or videos.")],
    layout: _Layout = "",
    name: Annotated[str, typer.Option(help="Name of the source, by which presets weigh it. [the layout's]")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The index to write. [NAME.npz]")] = None,
    validation: Annotated[bool, typer.Option("--validation", help="Take the validation split too.")] = False,
) -> None:
    """Read annotations into one compact index; images stay where they are."""
    from siamtrack.data.index import save_index

    if out is not None and out.suffix != ".npz":
        raise InputError(f"--out expects a file that ends in .npz; got {out}")
    made, problems = _with_boxes(root, layout, name, validation)
    path = out or Path(f"{made.source}.npz")
    save_index(made, path)
    typer.echo(f"{len(made)} boxes of {len(made.track_names)} objects in {len(made.image_names)} frames: {path}")
    _tell(problems, everything=False)


@data.command()
def check(
    place: Annotated[str, typer.Argument(help="A data set's folder, an index (.npz), or a folder or URL of shards.")],
    layout: _Layout = "",
    benchmark: Annotated[str, typer.Option(metavar="NAME", help="Check it as this benchmark of `eval`.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="List every finding, not the first of a kind.")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw some crops of shards with their boxes (.png or .jpg).")
    ] = None,
) -> None:
    """Look for missing files, boxes outside or of no area, wrong lengths and frames that cannot be decoded.

    Exit code 1 where something was found.
    """
    if picture is not None:
        from siamtrack.data.pictures import draw_crops

        draw_crops(place, picture)
        typer.echo(f"crops with their boxes: {picture}")
    problems = _check(place, layout, benchmark)
    _tell(problems, everything)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"nothing wrong with {place}")


@data.command()
def pack(
    sources: Annotated[list[Path], typer.Argument(help="Indexes (.npz), or folders of data sets.")],
    out: Annotated[
        str, typer.Option("-o", "--out", help="Folder or URL for the shards (s3://, gs://, or http with PUT).")
    ],
    preset: Annotated[
        str, typer.Option("--for", metavar="PRESET", help="Make size, context and gaps what this preset's pairs need.")
    ] = "",
    per_track: Annotated[
        int | None, typer.Option(min=0, help="At most so many frames of an object; 0: all. [10, or by --for]")
    ] = None,
    spacing: Annotated[int, typer.Option(min=1, help="Least distance of two frames of an object.")] = 1,
    least_change: Annotated[
        float | None,
        typer.Option(
            min=0, max=255, help="Leave out crops that differ by less from the one before; 0: none. [1, or by --for]"
        ),
    ] = None,
    smallest: Annotated[
        float | None, typer.Option(min=1, help="Leave out boxes with a side of fewer pixels. [8, or by --for]")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=64, max=2048, help="Side of the crops in pixels. [by --context: 368, or by --for]")
    ] = None,
    context: Annotated[
        float | None, typer.Option(min=1, max=20, help="Width of a crop in template squares. [2.9, or by --for]")
    ] = None,
    shard: Annotated[int, typer.Option(min=1, help="Crops a shard, about.")] = 1000,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEG files.")] = 92,
    seed: Annotated[int, typer.Option(min=0, help="Of the objects' order.")] = 0,
    processes: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1024, help="Workers; by default one a core.")
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Write shards of crops, from which `siamtrack train` reads: locally or from a URL."""
    from dataclasses import replace

    from siamtrack.config import load_preset
    from siamtrack.data.index import load_index
    from siamtrack.data.pack import Packing, pack
    from siamtrack.evaluation.jobs import Workers

    how = Packing.for_preset(load_preset(preset)) if preset else Packing()
    if context is not None:  # at the same number of pixels for the template
        how = replace(how, size=round(how.size * context / how.scale), scale=context)
    given: dict[str, Any] = {"size": size, "per_track": per_track, "least_change": least_change, "smallest": smallest}
    how = replace(how, **{key: value for key, value in given.items() if value is not None})
    how = replace(how, spacing=spacing, shard=shard, quality=quality, seed=seed)

    problems: list[Problem] = []
    indexes: list[Index] = []
    for source in sources:
        if source.suffix == ".npz":
            indexes.append(load_index(source))
        else:
            made, found = _with_boxes(source, "", "", validation=False)
            indexes.append(made)
            problems += found
    count = processes or os.cpu_count() or 1
    # a picture far into a long video comes late: patience
    workers = Workers(count if count > 1 else 0, cluster, limit=600.0)
    with counting("packing") as report:
        shards, found = pack(indexes, out, how, report, workers)
    crops, size_mb = sum(s.crops or 0 for s in shards), sum(s.size or 0 for s in shards) / 1e6
    typer.echo(f"{crops} crops in {len(shards)} shards, {size_mb:.1f} MB: {out}")
    _tell(problems + found, everything=False)


def _build(root: Path, layout: str, name: str, validation: bool) -> tuple[Index, list[Problem]]:
    from siamtrack.data.index import build_index
    from siamtrack.formats.objects import find_object_layout

    found = find_object_layout(root, layout)
    with counting(f"reading {found.name}") as report:
        return build_index(root, found, name, report, validation)


def _with_boxes(root: Path, layout: str, name: str, validation: bool) -> tuple[Index, list[Problem]]:
    from siamtrack.formats.objects import find_object_layout

    made, problems = _build(root, layout, name, validation)
    if not len(made):
        first = f" ({problems[0].kind}: {problems[0].path}: {problems[0].detail})" if problems else ""
        read_as = layout or find_object_layout(root).name
        raise DataError(
            f"{root}: expected annotated boxes; read as {read_as} it has none that can be used{first}; "
            f"`siamtrack data check {root}` lists all that is wrong, --as LAYOUT reads it in another way"
        )
    return made, problems


def _check(place: str, layout: str, benchmark: str) -> list[Problem]:
    from siamtrack.data.check import check_benchmark, check_index, check_shards
    from siamtrack.data.index import load_index
    from siamtrack.storage import is_url

    path = Path(place)
    with counting("checking") as report:
        if benchmark:
            return list(check_benchmark(benchmark, path, report))
        if is_url(place) or path.suffix == ".tar" or (path.is_dir() and any(path.glob("*.tar"))):
            return list(check_shards(place, report))
    if path.suffix == ".npz":
        made = load_index(path)
        problems: list[Problem] = []
    else:
        made, problems = _build(path, layout, "", validation=True)
    with counting("checking") as report:
        return problems + list(check_index(made, report))


def _tell(problems: Iterable[Problem], everything: bool) -> None:
    """One line a kind with its count and first path, or one line a finding."""
    kinds: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    for kind, found in kinds.items():
        typer.echo(f"{kind}: {len(found)}")
        for problem in found if everything else found[:1]:
            typer.echo(f"  {problem.path}: {problem.detail}")
