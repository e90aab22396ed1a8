"""`python -m siamtrack`: the command line."""

from __future__ import annotations

from siamtrack.apps.cli.interrupts import ends_at_once

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    with ends_at_once():
        from siamtrack.apps.cli.main import run
    run()


if __name__ == "__main__":
    main()
