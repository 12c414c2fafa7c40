"""Wrong answers to exercises 10.1 to 10.4. Each stands for one misconception, named by its first line."""

import numpy as np

from course_utils.models import costs


def _flops(config, T, times=6, head=1, table=0, attention=2.0, square=4, d_ff=None):
    """The right count, with one of its factors changed."""
    D = config.d_model
    layer = square * D * D + 2 * D * (d_ff or config.d_ff) + attention * T * D
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
    """counts T D for attention: adding up T values costs as much again, and torch counts what the mask hides too"""
    return _flops(config, T, attention=1)


def whole_context(config, T):
    """takes the longest text there may be instead of the T tokens there are"""
    return _flops(config, config.context_length)


def whole_text(config, T):
    """counts all T tokens of the text; one of them is asked for"""
    return T * _flops(config, T)


def attention_of_each_head(config, T):
    """multiplies attention by the number of heads; they share the width D, so together they cost T D, twice"""
    return _flops(config, T, attention=2 * config.num_heads)


def four_times_as_wide(config, T):
    """takes 4 D for the feed-forward layer's width; `config.d_ff` has it, and need not be 4 D"""
    return _flops(config, T, d_ff=4 * config.d_model)


def without_projection(config, T):
    """counts three D x D matrices; behind query, key and value there is attention's output layer"""
    return _flops(config, T, square=3)


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


def floor_added(sizes, losses, floor=0.0):
    """adds the floor; the losses have it already, and it has to come off"""
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.asarray(losses) + floor), 1)
    return float(np.exp(intercept)), float(-slope)


def axes_swapped(sizes, losses, floor=0.0):
    """gives `np.polyfit` the losses as x and the sizes as y"""
    slope, intercept = np.polyfit(np.log(np.asarray(losses) - floor), np.log(sizes), 1)
    return float(np.exp(intercept)), float(-slope)


def exponent_first(sizes, losses, floor=0.0):
    """returns the exponent first; the factor comes first"""
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.asarray(losses) - floor), 1)
    return float(-slope), float(np.exp(intercept))


def one_base_each(sizes, losses, floor=0.0):
    """takes logarithms of sizes and losses to different bases, which changes the slope"""
    slope, intercept = np.polyfit(np.log10(sizes), np.log(np.asarray(losses) - floor), 1)
    return float(np.exp(intercept)), float(-slope)


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


def price_forgotten(flops, tokens_per_parameter=20.0):
    """spends N D = C; each parameter costs 6 operations for each token"""
    N = (flops / tokens_per_parameter) ** 0.5
    return N, tokens_per_parameter * N


def ratio_afterwards(flops, tokens_per_parameter=20.0):
    """pays for N tokens and then reads 20 N; the 20 belongs under the root too"""
    N = (flops / 6) ** 0.5
    return N, tokens_per_parameter * N


def twenty_built_in(flops, tokens_per_parameter=20.0):
    """always takes 20, whatever ratio is asked for"""
    N = (flops / 120) ** 0.5
    return N, 20 * N


def parameters_alone(flops, tokens_per_parameter=20.0):
    """returns the parameters and forgets the tokens"""
    return (flops / (6 * tokens_per_parameter)) ** 0.5
