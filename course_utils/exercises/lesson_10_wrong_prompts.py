"""Wrong answers to exercises 10.5 and 10.6. Each stands for one misconception, named by its first line."""

import random

import torch


def _draw(pool, num_shots, rng, num_classes, is_mixed=True):
    pools = [rng.sample([t for t in pool if t.label == label], -(-num_shots // num_classes)) for label in range(num_classes)]  # fmt: skip # noqa: E501
    rng.shuffle(pools)
    chosen = [tweet for row in zip(*pools, strict=True) for tweet in row][:num_shots]
    return rng.sample(chosen, num_shots) if is_mixed else sorted(chosen, key=lambda tweet: tweet.label)


def from_the_test_set(split, num_shots, seed):
    """draws from the test set: the prompt then shows answers that the model is judged on"""
    return _draw(split.test, num_shots, random.Random(seed), len(split.class_names))


def from_validation(split, num_shots, seed):
    """draws from the validation set, which is for choosing between prompts"""
    return _draw(split.validation, num_shots, random.Random(seed), len(split.class_names))


def as_they_come(split, num_shots, seed):
    """draws from all training texts at once: a class may be missing from the prompt by chance"""
    return random.Random(seed).sample(split.train, num_shots)


def class_by_class(split, num_shots, seed):
    """leaves the examples sorted by class: the last label in the prompt is always the same"""
    return _draw(split.train, num_shots, random.Random(seed), len(split.class_names), is_mixed=False)


def same_turn(split, num_shots, seed):
    """takes the classes in the same turn for every seed: the last label in the prompt is always the same"""
    rng, names = random.Random(seed), split.class_names
    pools = [rng.sample([t for t in split.train if t.label == label], -(-num_shots // len(names))) for label in range(len(names))]  # fmt: skip # noqa: E501
    return [tweet for row in zip(*pools, strict=True) for tweet in row][:num_shots]


def shots_of_each_class(split, num_shots, seed):
    """takes `num_shots` of each class; it is the number of all examples together"""
    return _draw(split.train, num_shots * len(split.class_names), random.Random(seed), len(split.class_names))


def rounded_down(split, num_shots, seed):
    """gives each class an equal number, rounded down: one example of three classes is then none"""
    num_classes = len(split.class_names)
    return _draw(split.train, num_shots // num_classes * num_classes, random.Random(seed), num_classes)


def list_shuffled(split, num_shots, seed):
    """shuffles the split's own list, so that the next draw with the same seed finds another order"""
    random.Random(seed).shuffle(split.train)
    return _draw(split.train, num_shots, random.Random(seed), len(split.class_names))


def fewer_without_a_word(split, num_shots, seed):
    """gives fewer examples than asked for where a class has too few"""
    rng, num_classes = random.Random(seed), len(split.class_names)
    pools = [[t for t in split.train if t.label == label] for label in range(num_classes)]
    sizes = [num_shots // num_classes + (label < num_shots % num_classes) for label in range(num_classes)]
    drawn = [t for pool, size in zip(pools, sizes, strict=True) for t in rng.sample(pool, len(pool))[:size]]
    return rng.sample(drawn, len(drawn))


def always_the_same(split, num_shots, seed):
    """takes the same examples whatever the seed: one draw, whose luck nobody can see"""
    return _draw(split.train, num_shots, random.Random(0), len(split.class_names))


def new_every_time(split, num_shots, seed):
    """draws without the seed, so the result cannot be repeated"""
    return _draw(split.train, num_shots, random.Random(), len(split.class_names))


def with_repeats(split, num_shots, seed):
    """draws with replacement: an example may stand in the prompt twice"""
    rng, num_classes = random.Random(seed), len(split.class_names)
    few = [[t for t in split.train if t.label == label] for label in range(num_classes)]
    return [rng.choice(few[(i + seed) % num_classes]) for i in range(num_shots)]


def _picked(log_probs, labels):
    return [rows.gather(-1, torch.tensor(ids)[:, None])[:, 0] for rows, ids in zip(log_probs, labels, strict=True)]


def summed(log_probs, labels):
    """adds up and never divides: a label of three tokens loses to one of a single token for its length alone"""
    return torch.stack([tokens.sum() for tokens in _picked(log_probs, labels)])


def first_token_alone(log_probs, labels):
    """looks at the first token of each label; labels that begin alike could not be told apart"""
    return torch.stack([tokens[0] for tokens in _picked(log_probs, labels)])


def mean_of_probabilities(log_probs, labels):
    """averages probabilities instead of their logarithms: one sure token hides an impossible one"""
    return torch.stack([tokens.exp().mean().log() for tokens in _picked(log_probs, labels)])


def likeliest_token(log_probs, labels):
    """takes the largest entry of each row, whatever the label's token is"""
    return torch.stack([rows.max(-1).values.mean() for rows in log_probs])


def always_row_zero(log_probs, labels):
    """reads every token off the first row, as if the model had not read the label's beginning"""
    return torch.stack([rows[0, torch.tensor(ids)].mean() for rows, ids in zip(log_probs, labels, strict=True)])


def probabilities(log_probs, labels):
    """returns probabilities; a score is the mean log-probability itself"""
    return torch.stack([tokens.mean().exp() for tokens in _picked(log_probs, labels)])


def every_row_every_token(log_probs, labels):
    """takes every token of the label from every row; token r belongs to row r alone"""
    return torch.stack([rows[:, ids].mean() for rows, ids in zip(log_probs, labels, strict=True)])


def last_token_alone(log_probs, labels):
    """looks at the last token of each label; labels that end alike could not be told apart"""
    return torch.stack([tokens[-1] for tokens in _picked(log_probs, labels)])


def as_a_loss(log_probs, labels):
    """turns the sign round, as for a loss: the likeliest label would get the lowest score"""
    return -torch.stack([tokens.mean() for tokens in _picked(log_probs, labels)])
