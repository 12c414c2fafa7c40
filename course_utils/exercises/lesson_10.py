"""Exercises of lesson 10: what a model costs, a law fitted to small ones, a budget, and a prompt with examples."""

from course_utils.data.few_shot import draw_examples
from course_utils.exercises import lesson_10_checks as checks
from course_utils.exercises import lesson_10_wrong as wrong
from course_utils.exercises import lesson_10_wrong_prompts as wrong_prompts
from course_utils.exercises.framework import Exercise
from course_utils.generation.labels import label_scores
from course_utils.models.gpt_config import GPTConfig
from course_utils.training.scaling import chinchilla_optimal, fit_power_law


def training_flops(config: GPTConfig, T: int) -> int:
    """Operations to train a GPT-2 on one token of a text of T tokens: matrix products, forward and back."""
    D, d_ff = config.d_model, config.d_ff
    matrices = 4 * D * D + 2 * D * d_ff  # of a layer: query, key, value, output; up and down
    attention = 2 * T * D  # of a layer: T keys to compare with, T values to add up
    multiplications = config.num_layers * (matrices + attention) + D * config.vocab_size
    return 3 * 2 * multiplications  # each with an addition; once forward, twice back


EXERCISES = [
    Exercise(
        "10.1",
        title="what a token costs",
        solution=training_flops,
        check=checks.check_flops,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.forward_alone,
            wrong.back_costs_as_much_as_forward,
            wrong.without_additions,
            wrong.without_output_layer,
            wrong.lookup_counted,
            wrong.all_parameters,
            wrong.without_attention,
            wrong.scores_alone,
            wrong.whole_context,
            wrong.half_hidden,
            wrong.whole_text,
            wrong.attention_of_each_head,
            wrong.four_times_as_wide,
            wrong.without_projection,
        ],
        hints=[
            "Count multiplications of one layer first: four matrices of D x D, two of D x d_ff, T keys and T values.",
            "The output layer multiplies each state by a (D, V) matrix. The table in front is looked up.",
            "One addition for each multiplication, and backward costs twice what forward costs: 2 * 3.",
        ],
    ),
    Exercise(
        "10.2",
        title="what stays in memory",
        name="gigabytes",
        solution=24.9,
        check=checks.check_gigabytes,
        minutes=5,
        difficulty=1,
        wrong=[
            (6.2, "counts the weights alone; training keeps a gradient and two moments for each of them too"),
            (12.5, "counts weights and gradients and forgets AdamW's two moments"),
            (18.7, "counts one moment: AdamW keeps two for each weight, a mean and a mean square"),
            (23.2, "divides by 1024 three times; a gigabyte is 10⁹ bytes, a gibibyte 2³⁰"),
            (49.8, "takes 8 bytes a number; float32 has 32 bits, which are 4 bytes"),
            (199.4, "counts bits: 8 of them are a byte"),
            (24_921_779_200, "gives bytes; divide by 10⁹ for gigabytes"),
            (24_921.8, "gives megabytes; a gigabyte has a thousand of them"),
        ],
        hints=["Weight, gradient, first moment, second moment: four numbers of 4 bytes for each parameter."],
    ),
    Exercise(
        "10.3",
        title="a straight line in logarithms",
        solution=fit_power_law,
        check=checks.check_fit,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.without_logarithms,
            wrong.sizes_as_they_are,
            wrong.floor_ignored,
            wrong.slope_for_exponent,
            wrong.factor_left_as_logarithm,
            wrong.bases_mixed,
            wrong.first_and_last,
            wrong.floor_added,
            wrong.axes_swapped,
            wrong.exponent_first,
            wrong.one_base_each,
        ],
        hints=[
            "log(loss - floor) = log(factor) - exponent * log(size): a line. Which number is its slope?",
            "`np.polyfit(x, y, 1)` gives slope and intercept. The intercept is the logarithm of the factor.",
        ],
    ),
    Exercise(
        "10.4",
        title="a budget, spent",
        solution=chinchilla_optimal,
        check=checks.check_budget,
        minutes=5,
        difficulty=2,
        wrong=[
            wrong.twenty_tokens_in_all,
            wrong.turned_round,
            wrong.root_forgotten,
            wrong.forward_only,
            wrong.price_forgotten,
            wrong.ratio_afterwards,
            wrong.twenty_built_in,
            wrong.parameters_alone,
        ],
        hints=["Put D = 20 N into C = 6 N D, and solve for N."],
    ),
    Exercise(
        "10.5",
        title="examples for a prompt",
        solution=draw_examples,
        check=checks.check_examples,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong_prompts.from_the_test_set,
            wrong_prompts.from_validation,
            wrong_prompts.as_they_come,
            wrong_prompts.class_by_class,
            wrong_prompts.same_turn,
            wrong_prompts.shots_of_each_class,
            wrong_prompts.rounded_down,
            wrong_prompts.list_shuffled,
            wrong_prompts.fewer_without_a_word,
            wrong_prompts.always_the_same,
            wrong_prompts.new_every_time,
            wrong_prompts.with_repeats,
        ],
        hints=[
            "`random.Random(seed)` draws the same for the same seed; `rng.sample(items, k)` draws without repeats.",
            "Draw from each class's training texts, take them in turn until you have enough, then shuffle.",
        ],
    ),
    Exercise(
        "10.6",
        title="the likeliest label",
        solution=label_scores,
        check=checks.check_scores,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong_prompts.summed,
            wrong_prompts.first_token_alone,
            wrong_prompts.mean_of_probabilities,
            wrong_prompts.likeliest_token,
            wrong_prompts.always_row_zero,
            wrong_prompts.probabilities,
            wrong_prompts.every_row_every_token,
            wrong_prompts.last_token_alone,
            wrong_prompts.as_a_loss,
        ],
        hints=[
            "Row r of `log_probs[c]` is about token r of label c: pick one entry of each row with `gather`.",
            "A sum over three tokens is more negative than over one. What makes both comparable?",
        ],
    ),
]
