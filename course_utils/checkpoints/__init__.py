"""The models that this course trained itself: a folder for each, with its weights, its vocabulary and its training log.

    from course_utils.checkpoints import course_bert
    BertForPreTraining.from_pretrained(course_bert.FOLDER)

Weights are float16 on disk, at most 10 MB. Each folder names the command that trained it, in `training_log.json`.
"""

import json
from pathlib import Path

LOG = "training_log.json"


def read_training_log(folder: Path, name: str = "training_log") -> dict:
    """The log of a shipped model's training, or of an experiment beside it: `command`, `machine` and `rows`."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
