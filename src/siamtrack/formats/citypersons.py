"""CityPersons: persons in the street scenes of Cityscapes, one JSON an image.

`gtBboxCityPersons/train/CITY/NAME_gtBboxCityPersons.json` describes `leftImg8bit/train/CITY/NAME_leftImg8bit.png`; so
does `val`. Its `bbox` is x, y, w, h in pixels: of pedestrians and riders the whole body, also what is hidden or beyond
the frame, of others what is seen; `bboxVis` is what is seen. The first is taken, as by the data set's own benchmark.
Regions to ignore (persons on posters, reflections) and groups, whose box is of no one object, are left out; the labels
of all others (pedestrian, rider, sitting person, person (other)) are one category, which is called as in COCO.

The authors' `anno_{train,val}.mat` have the same boxes; they are not read, for MATLAB's files take a package of their
own.
"""

from __future__ import annotations

from collections.abc import Iterator

from siamtrack.errors import DataError, reason
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, corners_of
from siamtrack.io import parse_json

_ROOT, _END = "gtBboxCityPersons/", "_gtBboxCityPersons.json"
_NO_PERSON = frozenset({"ignore", "person group"})


def _find(archive: Archive) -> dict[str, str]:
    """Folders of one city each."""
    folders = sorted({member.rpartition("/")[0] for member in archive.paths(f"{_ROOT}*/*/*{_END}")})
    return {folder.removeprefix(_ROOT): folder for folder in folders}


def _read(archive: Archive, place: str, folder: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    for name in (name for name in archive.files(folder) if name.endswith(_END)):
        member, stem = f"{folder}/{name}", f"{place}/{name.removesuffix(_END)}"
        where = archive.where(member)
        try:
            things = list(parse_json(archive.read(member), where)["objects"])
        except (DataError, KeyError, TypeError) as error:
            why = reason(error).removeprefix(f"{where}: ")
            report_problem(Problem("unreadable annotation", where, f"not CityPersons' objects: {why}"))
            continue
        for number, thing in enumerate(things):
            try:
                if not isinstance(label := thing["label"], str):
                    raise TypeError("the label is no text")
                if label not in _NO_PERSON:
                    box = corners_of(thing["bbox"])
                    yield ObjectBox(f"leftImg8bit/{stem}_leftImg8bit.png", f"{stem}/{number}", 0, box, "person")
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                report_problem(Problem("unreadable annotation", where, f"object {number}: {reason(error)}"))


CITYPERSONS = ObjectLayout(
    "citypersons", "CityPersons: gtBboxCityPersons/*/CITY/*.json, leftImg8bit/*/CITY/*.png", _find, _read
)
