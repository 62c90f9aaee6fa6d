"""Print the table of reliability: kills, damages, sockets.

uv run python -m tests.reliability                # 100 kills a command, 500 damages: an hour or two
uv run python -m tests.reliability --kills 5 --damages 50
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.reliability.rig import Rig


def main() -> None:
    """Run it, and exit 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs of each command")
    parser.add_argument("--damages", type=int, default=500, help="random damages to a store")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    console, broken = Console(), False
    table = Table("what", "times", "not as promised")
    with tempfile.TemporaryDirectory(prefix="mer-reliability-") as folder:
        for figure in Rig(Path(folder)).run(kills=options.kills, damages=options.damages, seed=options.seed):
            row = figure.what, str(figure.times), "; ".join(figure.broken) or "none"
            console.print(*row, sep=" | ")  # now, since the next one may take an hour
            table.add_row(*row)
            broken |= bool(figure.broken)
    console.print(table)
    raise SystemExit(broken)


if __name__ == "__main__":
    main()
