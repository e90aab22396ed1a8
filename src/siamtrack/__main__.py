"""`python -m siamtrack`: the command line."""

from __future__ import annotations

import os

from siamtrack.apps.cli.interrupts import ends_at_once
from siamtrack.apps.cli.surroundings import fill_streams


def main() -> None:
    """Run the command line and exit."""
    fill_streams()
    # OpenMP's threads spin while they wait, by default; beside other work that slows a small network down many times.
    # It reads the variable when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with ends_at_once():
        from siamtrack.apps.cli.main import run
    run()


if __name__ == "__main__":
    main()
