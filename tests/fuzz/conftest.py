"""The fuzzer's modules use those of `tests/formats`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "formats"))
