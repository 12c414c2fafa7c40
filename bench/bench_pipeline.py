"""What our engine costs over plain papermill, on the same notebook: interleaved pairs, median of the differences.

    python -m bench pipeline, or python bench/bench_pipeline.py --pairs 9

Each side is a whole process, as a person starts it: `papermill in out`, `papermill --engine course in out` and
`course run in`. The goal is at most one second more per notebook. A notebook with 40 small cells is used, so that what
is paid for each cell counts too.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

GOAL_S = 1.0
CELLS = 40


def write_notebook(path: Path) -> None:
    """Forty small cells, a claim beside every fourth."""
    cells = []
    for number in range(CELLS):
        cells.append(new_code_cell(f"total_{number} = sum(range({number} * 1000))\nprint(total_{number})"))
        if number % 4 == 0:
            value = sum(range(number * 1000))
            cells.append(new_markdown_cell(f"It is {value} <!-- claim: total_{number} == {value} -->."))
    nb = new_notebook(cells=cells)
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, path)


def seconds(command: list[str]) -> float:
    """Wall time of one command that must succeed."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - start


def measure(pairs: int) -> dict[str, list[float]]:
    """Seconds of each side in every round; the order turns round by round."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "in.ipynb", Path(folder) / "out.ipynb"
        write_notebook(path)
        sides = {
            "papermill": ["-m", "papermill", str(path), str(out), "--no-progress-bar"],
            "papermill --engine course": ["-m", "papermill", "--engine", "course", str(path), str(out)],
            "course run": ["-m", "course_utils.cli", "run", str(path), "--output", folder],
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for round_number in range(pairs + 1):
            names = list(sides) if round_number % 2 else list(reversed(sides))
            for name in names:
                times[name].append(seconds(sides[name]))
    return {name: values[1:] for name, values in times.items()}  # the first round warms the disk cache


def main() -> None:
    """Print medians and differences. Raises AssertionError when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    times = measure(parser.parse_args().pairs)
    plain = times["papermill"]
    print(f"one notebook of {CELLS} small cells, {len(plain)} rounds, whole processes")
    worst = 0.0
    for name, values in times.items():
        more = statistics.median(ours - theirs for ours, theirs in zip(values, plain, strict=True))
        worst = max(worst, more)
        print(f"  {name:<28} median {statistics.median(values):5.2f} s   {more:+.2f} s against papermill")
    assert worst <= GOAL_S, f"{worst:+.2f} s per notebook, the goal is at most +{GOAL_S:.0f} s"
    print(f"goal kept: at most +{GOAL_S:.0f} s")


if __name__ == "__main__":
    main()
