"""Where the course keeps things on this machine: the checkout, the cache, the learner's state.

One place for each answer. Nothing here creates a folder: whoever writes does, and reports what went wrong.
"""

import os
from pathlib import Path

import platformdirs

APP_NAME = "course-utils"


def checkout() -> Path | None:
    """The folder of the repository this package is imported from, or None for an installed copy (Colab)."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def cache_dir() -> Path:
    """`COURSE_CACHE` if set, else `.cache/` of a checkout, else the user's cache folder."""
    if override := os.environ.get("COURSE_CACHE"):
        return Path(override)
    if root := checkout():
        return root / ".cache"
    return Path(platformdirs.user_cache_dir(APP_NAME))


def state_dir() -> Path:
    """`COURSE_STATE_DIR` if set, else the user's data folder: what a learner must not lose (progress) lives here."""
    if override := os.environ.get("COURSE_STATE_DIR"):
        return Path(override)
    return Path(platformdirs.user_data_dir(APP_NAME))
