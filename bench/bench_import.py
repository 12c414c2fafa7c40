"""How long the course takes to answer: `import course_utils`, and the commands a learner waits for.

The first is a promise (0.3 s); a bare interpreter is timed beside it, so that a slow machine is seen as one.
"""

import statistics
import subprocess
import sys
import time

IMPORT_LIMIT_S = 0.3
REPEATS = 7
CLI = [sys.executable, "-m", "course_utils.cli"]
COMMANDS = {
    "python, doing nothing": [sys.executable, "-c", "pass"],
    "import course_utils": [sys.executable, "-c", "import course_utils"],
    "course --help": [*CLI, "--help"],
    "course doctor": [*CLI, "doctor"],
    "course fetch, all there": [*CLI, "fetch"],
    "open the chat model": [
        sys.executable,
        "-c",
        "import time, torch; from transformers import AutoModelForCausalLM as Model; from course_utils.assets import"
        " asset_path; start = time.perf_counter(); Model.from_pretrained(asset_path('smollm2'));"
        " print(time.perf_counter() - start)",
    ],
}


def seconds(command: list[str], repeats: int = REPEATS) -> float:
    """The median wall-clock time of a command, its process included."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table; AssertionError if the import takes longer than promised."""
    measured = {}
    for name, command in COMMANDS.items():
        measured[name] = seconds(command, repeats=REPEATS if len(measured) < 3 else 1)
    loading = subprocess.run(COMMANDS["open the chat model"], check=True, capture_output=True, text=True).stdout
    for name, value in measured.items():
        print(f"{name:<26} {value:6.2f} s" + (f" (the model itself {float(loading):.2f} s)" if "open" in name else ""))
    assert measured["import course_utils"] < IMPORT_LIMIT_S, measured
