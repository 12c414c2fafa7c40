"""Finds what must not stand in a notebook: absolute paths and secrets. Looks at text only."""

import os
import re
import sys
import tempfile
from functools import cache
from pathlib import Path

from course_utils import paths

ROOTS = "home|Users|root|tmp|var|usr|opt|mnt|media|private|content|workspace|builds?|github|srv|nix|Volumes"
ABSOLUTE_PATH = re.compile(
    rf"""(?<![\w.:/<~\\-])/(?:{ROOTS})/[^\s'"`<>,;:)\]}}]+      # /home/ada/x, not a URL's path, not </tmp>
    |\bfile:///?[^\s'"`<>)]+
    |(?<![\w\\])[A-Za-z]:\\\\?(?:Users|Windows|Program\ Files|Temp|[\w.-]+\\)[^\s'"`<>]*""",
    re.VERBOSE,
)
SECRETS = {
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{40,})\b",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "API key": r"\bsk-(?:[a-z]+-)*[A-Za-z0-9_]{20,}\b",
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "Jupyter token": r"[?&]token=[0-9a-f]{32,}",
    "password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s:/@]+:[^\s:/@]{3,}@",
    "assigned secret": r"(?i)\b(?:api_?key|secret(?:_?key)?|passw(?:or)?d|auth_?token|access_?token)\b"
    r"[\"']?\s*[=:]\s*[\"']?(?=[A-Za-z0-9_/+-]*\d)(?=[A-Za-z0-9_/+-]*[A-Za-z])[A-Za-z0-9_/+-]{16,}",
}
_SECRETS = {name: re.compile(pattern) for name, pattern in SECRETS.items()}


@cache
def machine_roots() -> tuple[str, ...]:
    """Folders of this machine that no output may name, whatever they are called."""
    places = [paths.checkout(), paths.cache_dir(), sys.prefix, sys.base_prefix, tempfile.gettempdir()]
    for name in ("HOME", "USERPROFILE", "COURSE_SCRATCH", "COURSE_STATE_DIR"):
        places.append(os.environ.get(name))
    found = {str(Path(place).absolute()) for place in places if place}
    return tuple(sorted(found - {"/", "/usr"}, key=len, reverse=True))


def find_absolute_path(text: str, this_machine: bool = False) -> str | None:
    """The first absolute path in the text; with `this_machine`, also below any folder in use here."""
    if match := ABSOLUTE_PATH.search(text):
        return match[0]
    for root in machine_roots() if this_machine else ():
        if match := re.search(rf"(?<![\w.:/<~-]){re.escape(root)}(?:[/\\][^\s'\"<>]*|(?=[\s'\"]|$))", text):
            return match[0]
    return None


def find_secret(text: str) -> str | None:
    """What kind of secret the text seems to hold, or None. Never the secret itself: messages get pasted."""
    return next((name for name, pattern in _SECRETS.items() if pattern.search(text)), None)
