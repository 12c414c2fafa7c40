"""Wrong answers to the exercises of lesson 10. Each stands for one misconception, named by its first line."""

import random

import numpy as np
import torch

from course_utils.models import costs


def _flops(config, T, times=6, head=1, table=0, attention=2.0):
    """The right count, with one of its factors changed."""
    D = config.d_model
    layer = 4 * D * D + 2 * D * config.d_ff + attention * T * D
    multiplications = config.num_layers * layer + head * D * config.vocab_size
    multiplications += table * D * (config.vocab_size + config.context_length)
    return int(times * multiplications)


def forward_alone(config, T):
    """counts 2 N: the way forward, and nothing of the way back"""
    return _flops(config, T, times=2)


def back_costs_as_much_as_forward(config, T):
    """counts 4 N: back costs twice as much as forward, for the gradients of weights and of inputs are two products"""
    return _flops(config, T, times=4)


def without_additions(config, T):
    """counts 3 N: each multiplication of a matrix product brings an addition"""
    return _flops(config, T, times=3)


def without_output_layer(config, T):
    """forgets that the output layer multiplies; being the token table does not make it free"""
    return _flops(config, T, head=0)


def lookup_counted(config, T):
    """counts the tables in front, which are looked up: a row is copied, nothing is multiplied"""
    return _flops(config, T, table=1)


def all_parameters(config, T):
    """takes 6 for every parameter: biases and norms do not multiply matrices, and attention's products are missing"""
    return 6 * costs.num_parameters(config)


def without_attention(config, T):
    """forgets attention's own products, which have no parameters: scores, and the sum of values"""
    return _flops(config, T, attention=0)


def scores_alone(config, T):
    """counts the comparison with T keys and forgets adding up T values"""
    return _flops(config, T, attention=1)


def whole_context(config, T):
    """takes the longest text there may be instead of the T tokens there are"""
    return _flops(config, config.context_length)


def half_hidden(config, T):
    """leaves out what the mask hides, half of attention; torch's kernels and published counts have it in"""
    return _flops(config, T, attention=1 + 1 / T)


def without_logarithms(sizes, losses, floor=0.0):
    """fits a line to sizes and losses as they are; the law is straight in logarithms"""
    slope, intercept = np.polyfit(sizes, np.asarray(losses) - floor, 1)
    return float(intercept), float(-slope)


def sizes_as_they_are(sizes, losses, floor=0.0):
    """takes logarithms of the losses alone: that is a law of exponential decay"""
    slope, intercept = np.polyfit(sizes, np.log(np.asarray(losses) - floor), 1)
    return float(np.exp(intercept)), float(-slope)


def floor_ignored(sizes, losses, floor=0.0):
    """leaves the floor in: what no size removes is fitted as if it fell too, and the exponent comes out too small"""
    slope, intercept = np.polyfit(np.log(sizes), np.log(losses), 1)
    return float(np.exp(intercept)), float(-slope)


def slope_for_exponent(sizes, losses, floor=0.0):
    """returns the slope itself: the law has the exponent with a minus sign, so losses would rise with size"""
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.asarray(losses) - floor), 1)
    return float(np.exp(intercept)), float(slope)


def factor_left_as_logarithm(sizes, losses, floor=0.0):
    """returns the intercept, which is the logarithm of the factor"""
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.asarray(losses) - floor), 1)
    return float(intercept), float(-slope)


def bases_mixed(sizes, losses, floor=0.0):
    """takes logarithms to base 10 and goes back with e"""
    slope, intercept = np.polyfit(np.log10(sizes), np.log10(np.asarray(losses) - floor), 1)
    return float(np.exp(intercept)), float(-slope)


def first_and_last(sizes, losses, floor=0.0):
    """draws the line through the first and the last point and ignores those between"""
    x, y = np.log(sizes), np.log(np.asarray(losses) - floor)
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    return float(np.exp(y[0] - slope * x[0])), float(-slope)


def twenty_tokens_in_all(flops, tokens_per_parameter=20.0):
    """takes 20 for the number of tokens; it is the number for each parameter, so more parameters need more tokens"""
    return flops / (6 * tokens_per_parameter), tokens_per_parameter


def turned_round(flops, tokens_per_parameter=20.0):
    """gives 20 parameters to each token; it is 20 tokens to each parameter"""
    D = (flops / (6 * tokens_per_parameter)) ** 0.5
    return tokens_per_parameter * D, D


def root_forgotten(flops, tokens_per_parameter=20.0):
    """forgets the root: D = 20 N makes the budget grow with the square of N"""
    N = flops / (6 * tokens_per_parameter)
    return N, tokens_per_parameter * N


def forward_only(flops, tokens_per_parameter=20.0):
    """pays 2 N D, which is reading; learning costs 6 N D"""
    N = (flops / (2 * tokens_per_parameter)) ** 0.5
    return N, tokens_per_parameter * N


def twenty_built_in(flops, tokens_per_parameter=20.0):
    """always takes 20, whatever ratio is asked for"""
    N = (flops / 120) ** 0.5
    return N, 20 * N


def parameters_alone(flops, tokens_per_parameter=20.0):
    """returns the parameters and forgets the tokens"""
    return (flops / (6 * tokens_per_parameter)) ** 0.5


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
