"""`make bench`: run every `bench/bench_*.py`, or those named, each in its own process.

    python -m bench [import launch ...]

A benchmark is a module with `main()` that prints a table and raises AssertionError when a promise is broken. Each has
a fresh process, so that none inherits another's memory or imported packages.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NOTHING_TO_RUN = 2


def main(wanted: list[str]) -> int:
    """Run the benchmarks; 1 if one failed, 2 if a name is unknown or there are none."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}
    unknown = [name for name in wanted if name not in known]
    if unknown or not known:
        print(f"bench: no benchmark {', '.join(unknown)}; known: {', '.join(known) or 'none'}.", file=sys.stderr)
        return NOTHING_TO_RUN
    failed = [name for name in wanted or known if not run(known[name])]
    print(f"\n{len(wanted or known) - len(failed)} benchmarks kept their promises" + _failures(failed))
    return int(bool(failed))


def run(path: Path) -> bool:
    """Run one benchmark; False if it failed."""
    print(f"\n== {path.stem.removeprefix('bench_')}", flush=True)
    call = f"import bench.{path.stem} as benchmark; benchmark.main()"
    return subprocess.run([sys.executable, "-c", call], cwd=FOLDER.parent).returncode == 0


def _failures(failed: list[str]) -> str:
    return f", {len(failed)} failed: {', '.join(failed)}" if failed else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
