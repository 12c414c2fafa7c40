"""Examples for a prompt: labelled texts of the training split, and only of that one.

Knows nothing of prompts, tokens or models; see `generation.labels` for what reads them.
"""

import random

from course_utils.data.sentiment import Split, Tweet


def draw_examples(split: Split, num_shots: int, seed: int) -> list[Tweet]:
    """Training texts for a prompt: `num_shots` of them, classes as even as they go, in random order.

    Raises ValueError where a class has too few.
    """
    rng, num_classes = random.Random(seed), len(split.class_names)
    per_class = -(-num_shots // num_classes)  # rounded up
    pools = [rng.sample([t for t in split.train if t.label == label], per_class) for label in range(num_classes)]
    rng.shuffle(pools)
    in_turn = [example for row in zip(*pools, strict=True) for example in row]  # a class after the other
    return rng.sample(in_turn[:num_shots], num_shots)
