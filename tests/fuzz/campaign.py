"""Runs broken inputs and strange arguments through every command: `scripts/fuzz --minutes 5 --seed 1`.

Each case is a function of the seed and its number. One that fails is written to --keep with what was changed, and can
be run again: `scripts/fuzz FILE.json`.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import multiprocessing
import shlex
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import sandbox

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("cases", nargs="*", type=Path, help="run these cases, or all in a folder, and no others")
    parser.add_argument("--minutes", type=float, default=None, help="how long")
    parser.add_argument("--count", type=int, default=None, help="how many cases")
    parser.add_argument("--seed", type=int, default=None, help="of all that is drawn; by default the time")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", default="", help="beginnings of subjects' names, between commas")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="folder for cases that fail")
    parser.add_argument(
        "--kills", type=int, default=0, metavar="N", help="disturb commands with output N times instead"
    )
    parser.add_argument("--list", action="store_true", help="print every case")
    args = parser.parse_args()
    sandbox.preload()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that are no UTF-8
    if args.cases:
        return _replay(args.cases)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as root:
        return _kill(args, Path(root)) if args.kills else _campaign(args, Path(root))


def _kill(args: argparse.Namespace, root: Path) -> int:
    import kills
    from case import Workshop

    names = [name for name in kills.JOBS if not args.only or name.startswith(tuple(args.only.split(",")))]
    seed = int(time.time()) if args.seed is None else args.seed
    began, failed, done = time.monotonic(), 0, 0
    for name, how, wrong in kills.campaign(Workshop(root), names, args.kills, seed):
        done += 1
        failed += bool(wrong)
        if wrong or args.list:
            print(f"{'FAILS' if wrong else 'holds'} {name}, {how}{': ' * bool(wrong)}{wrong}", flush=True)
        if args.minutes is not None and time.monotonic() - began > 60 * args.minutes:
            break
    print(f"seed {seed}: {done} disturbances in {time.monotonic() - began:.0f} s, {failed} failed")
    return int(failed > 0)


def _replay(named: list[Path]) -> int:
    from case import load_case

    files = [file for path in named for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    subjects = collections.defaultdict[str, list[Path]](list)
    for file in files:
        subjects[load_case(file).subject].append(file)
    # Three subjects at a time: some cases wait, for what never comes.
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as pool:
        failed = sum(pool.map(_replay_subject, subjects.values()))
    print(f"{len(files)} cases, {failed} failed")
    return int(failed > 0)


def _replay_subject(files: list[Path]) -> int:
    """Run the cases of one subject; return how many failed."""
    from case import Workshop, load_case

    failed = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as root:
        workshop = Workshop(Path(root))
        for file in files:
            outcome, wrong = workshop.run(load_case(file))
            failed += bool(wrong)
            last = (outcome.errors.strip() or outcome.printed.strip() or "-").splitlines()[-1]
            said = f"{'FAILS' if wrong else 'holds'} {file.name}: {outcome.code}, {outcome.seconds:.1f} s: {last[:300]}"
            print("\n    ".join([said, *wrong]), flush=True)
    return failed


def _campaign(args: argparse.Namespace, root: Path) -> int:
    from case import Workshop, draw_case
    from subjects import SUBJECTS

    workshop, options = Workshop(root), all_options()
    names = [name for name in SUBJECTS if not args.only or name.startswith(tuple(args.only.split(",")))]
    seed = int(time.time()) if args.seed is None else args.seed
    began, number, kinds = time.monotonic(), args.first, collections.Counter[str]()
    codes, slowest = collections.Counter[str](), 0.0
    count = args.count if args.count is not None else (10**9 if args.minutes is not None else 200)
    while number < args.first + count and (args.minutes is None or time.monotonic() - began < 60 * args.minutes):
        case = draw_case(workshop, seed, number, names, options)
        outcome, wrong = workshop.run(case)
        codes[str(outcome.code)] += 1
        slowest = max(slowest, outcome.seconds)
        if args.list:
            ended = f"{outcome.code} {outcome.seconds:.2f} s {outcome.memory >> 20} MB"
            print(f"{number} {case.subject} {case.around!r} {ended} {shlex.join(case.argv)!a} {list(case.edits)}")
        if wrong:
            kinds[wrong[0][:90]] += 1
            from dataclasses import replace

            case = replace(case, about=f"seed {seed}, case {number}: {'; '.join(wrong)}")
            args.keep.mkdir(parents=True, exist_ok=True)
            path = args.keep / f"{case.subject}-{hashlib.sha1(case.text().encode()).hexdigest()[:10]}.json"
            path.write_text(case.text())
            if kinds[wrong[0][:90]] <= 3:
                print(f"FAILS {path}: {shlex.join(case.argv)!a:.200}\n    {'; '.join(wrong)[:600]}", flush=True)
        number += 1
        if number % 1000 == 0:
            print(f"{number - args.first} in {time.monotonic() - began:.0f} s, {kinds.total()} failed", flush=True)
    for kind, times in kinds.most_common():
        print(f"{times:5d}  {kind}")
    done, seconds = number - args.first, time.monotonic() - began
    print(
        f"seed {seed}: {done} cases in {seconds:.0f} s ({3600 * done / max(seconds, 1e-9):.0f} an hour), "
        f"{sum(kinds.values())} failed; exit codes {dict(sorted(codes.items()))}; slowest {slowest:.1f} s"
    )
    return int(bool(kinds))


def all_options() -> dict[str, list[str]]:
    """The options of each command, by its first word."""
    import typer.main

    from siamtrack.apps.cli.main import app

    found: dict[str, list[str]] = {}

    def visit(name: str, command: object) -> None:
        for parameter in getattr(command, "params", []):
            if parameter.param_type_name == "option":
                found.setdefault(name, []).extend(parameter.opts)
        for child in getattr(command, "commands", {}).values():
            visit(name, child)

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        visit(name, command)
    return found


if __name__ == "__main__":
    sys.exit(main())
