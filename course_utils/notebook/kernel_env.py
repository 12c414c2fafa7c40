"""The environment a kernel runs in: the same on every machine, with no way out to the network.

The engine and the nbval check start their kernels with it. It sets variables and makes the run's own folders; it starts
nothing and never deletes.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from course_utils import paths

SANDBOX = Path(__file__).resolve().parent / "sandbox"
NUM_THREADS = 2
# Port 9 (discard) is closed on any machine of today, and refuses at once: a client told to use it as its proxy cannot
# reach out, and the sandbox logs the attempt.
CLOSED_PROXY = "http://127.0.0.1:9"
LOOPBACK = "localhost,127.0.0.1,::1"

_THREAD_VARIABLES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "RAYON")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
# What a person's shell or another tool may have set, and what would make a run differ from everybody else's.
_DROPPED = ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONOPTIMIZE", "PYTHONHOME", "JUPYTER_TOKEN", "IPYTHONDIR")
_FIXED = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # a lesson that also uses torch would find the card full
    "TF_NUM_INTRAOP_THREADS": str(NUM_THREADS),
    "TF_NUM_INTEROP_THREADS": str(NUM_THREADS),
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}


def kernel_environment(
    profile: str, folder: Path, base: Mapping[str, str] | None = None, proxy: str = CLOSED_PROXY
) -> dict[str, str]:
    """The whole environment for one kernel.

    `proxy` is where clients of other hosts are sent: a port that is closed, or the engine's, which refuses and logs.
    `folder` belongs to this run alone: progress, scratch files, IPython's profile and the network log live below it.
    `base` is what to start from (default: this process's environment). Raises OSError when `folder` cannot be made.
    """
    env = {name: value for name, value in (os.environ if base is None else base).items() if name not in _DROPPED}
    folder = Path(folder).resolve()
    for name in ("state", "scratch", "ipython"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    env |= _FIXED
    env |= {f"{name}_NUM_THREADS": str(NUM_THREADS) for name in _THREAD_VARIABLES}
    for name in _PROXY_VARIABLES:
        env[name] = env[name.upper()] = proxy
    env["no_proxy"] = env["NO_PROXY"] = LOOPBACK
    env |= {
        "COURSE_PROFILE": profile,
        "COURSE_STATE_DIR": str(folder / "state"),
        "COURSE_SCRATCH": str(folder / "scratch"),
        "COURSE_CACHE": str(paths.cache_dir().resolve()),
        "COURSE_NETWORK_LOG": str(network_log(folder)),
        "COURSE_CRASH_LOG": str(crash_log(folder)),
        "IPYTHONDIR": str(folder / "ipython"),  # nobody's own start-up files
        "PYTHONPATH": _python_path(env.get("PYTHONPATH", "")),
    }
    return env


def network_log(folder: Path) -> Path:
    """Where the sandbox appends one JSON line for each refused attempt; absent while there was none."""
    return Path(folder).resolve() / "network.jsonl"


def crash_log(folder: Path) -> Path:
    """Where a process that crashes in native code leaves its Python stack."""
    return Path(folder).resolve() / "crash.log"


def _python_path(inherited: str) -> str:
    """The sandbox first, this very package next (so that kernels test this code), then what the caller had."""
    ours = [str(SANDBOX), str(SANDBOX.parents[2])]
    rest = [part for part in inherited.split(os.pathsep) if part and part not in ours]
    in_site_packages = ours[1] in sys.path and "site-packages" in ours[1]
    return os.pathsep.join(ours[:1] + ([] if in_site_packages else ours[1:]) + rest)
