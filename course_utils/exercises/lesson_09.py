"""Exercises of lesson 09: template, cost, token budget, tuning targets, LoRA, retrieval, likelihood, variety."""

from course_utils.chat.compare import distinct_n, mean_log_prob
from course_utils.chat.retrieval import retrieve_reply
from course_utils.chat.template import fit_to_budget, render_chat
from course_utils.data.instruction import answer_batch
from course_utils.exercises import lesson_09_tuning_wrong as tuning_wrong
from course_utils.exercises import lesson_09_wrong as wrong
from course_utils.exercises.framework import Exercise
from course_utils.exercises.lesson_09_checks import (
    check_distinct_n,
    check_fit_to_budget,
    check_mean_log_prob,
    check_num_tokens_read,
    check_render_chat,
    check_retrieve_reply,
)
from course_utils.exercises.lesson_09_tuning_checks import check_answer_batch, check_lora
from course_utils.models.lora import LoraLinear

EXERCISES = [
    Exercise(
        "09.1",
        title="write the chat template",
        solution=render_chat,
        check=check_render_chat,
        minutes=10,
        difficulty=1,
        wrong=[
            wrong.no_end_of_turn,
            wrong.no_final_newline,
            wrong.adds_a_system_message,
            wrong.strips_content,
            wrong.no_generation_prompt,
            wrong.always_prompts,
            wrong.no_newline_after_assistant,
            wrong.closes_what_it_opens,
        ],
        hints=[
            "Look at the printed template: which five pieces does every message consist of?",
            "One f-string for each message, joined; then, if asked for, `<|im_start|>assistant` and a new line.",
        ],
    ),
    Exercise(
        "09.2",
        title="what does a conversation cost without a cache?",
        name="num_tokens_read",
        solution=9_900,
        check=check_num_tokens_read,
        minutes=5,
        difficulty=2,
        wrong=[
            (400, "counts only the new messages: that is what a kept cache reads"),
            (1_000, "counts every token of the conversation once, answers included"),
            (970, "counts the last prompt only; each of the twenty turns reads one"),
            (9_500, "leaves the new message out: turn t reads t messages and t - 1 answers"),
            (10_000, "takes the middle of the conversation, 500 tokens, for the mean prompt, which has 495"),
            (10_500, "counts answers as read at the turn that writes them"),
            (305_700, "reads everything anew for each token of an answer; here once for each turn"),
            (19_400, "takes all twenty prompts to be as long as the last one"),
        ],
        hints=[
            "The prompt of turn t holds t messages and t - 1 answers.",
            "20 · (1 + 2 + ... + 20) + 30 · (0 + 1 + ... + 19)",
        ],
    ),
    Exercise(
        "09.3",
        title="fit a conversation into a token budget",
        solution=fit_to_budget,
        check=check_fit_to_budget,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.drops_system,
            wrong.keeps_the_oldest,
            wrong.drops_nothing,
            wrong.drops_once,
            wrong.drops_single_messages,
            wrong.forgets_to_count_system,
            wrong.below_the_budget,
            wrong.forgets_the_past,
            wrong.empties_the_prompt,
            wrong.expects_a_system_message,
            wrong.skips_what_is_long,
            wrong.counts_one_by_one,
            wrong.cuts_words,
        ],
        hints=[
            "Set the system message aside first (there may be none), and put it back before you count.",
            "While the prompt is too long and more than one message is left: drop the oldest, and then go on dropping "
            "until the oldest one left is the user's.",
        ],
    ),
    Exercise(
        "09.4",
        title="retrieve a reply",
        solution=retrieve_reply,
        check=check_retrieve_reply,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.repeats_the_message,
            wrong.by_dot_product,
            wrong.nearest_point,
            wrong.least_similar,
            wrong.normalises_over_messages,
            wrong.query_as_it_is,
            wrong.returns_the_place,
            wrong.cosine_first,
        ],
        hints=[
            "Make both sides vectors of length 1; then one matrix product gives all cosines, shape (N,).",
            "`F.normalize(x, dim=-1)`, `@`, `argmax`. The answer is in `replies`, at the same position.",
        ],
    ),
    Exercise(
        "09.5",
        title="how likely does the model find a reply?",
        solution=mean_log_prob,
        check=check_mean_log_prob,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.sums_instead,
            wrong.reads_own_position,
            wrong.counts_the_prompt,
            wrong.forgets_softmax,
            wrong.returns_the_loss,
            wrong.mean_of_probabilities,
            wrong.log_of_the_mean,
            wrong.softmax_over_positions,
            wrong.skips_the_first,
            wrong.divides_by_everything,
            wrong.every_token_in_every_row,
        ],
        hints=[
            "`logits[t]` is about token t + 1. Which slice of the logits is about the tokens after the prompt?",
            "`log_softmax(-1)`, then `gather` the column of each reply token, then the mean. "
            "Both slices have T - num_prompt_tokens rows.",
        ],
    ),
    Exercise(
        "09.6",
        title="measure how varied replies are",
        solution=distinct_n,
        check=check_distinct_n,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.over_characters,
            wrong.mean_over_texts,
            wrong.across_texts,
            wrong.case_matters,
            wrong.whole_replies,
            wrong.stops_early,
            wrong.shorter_at_the_end,
            wrong.blocks_of_words,
        ],
        hints=[
            "Collect the n-grams of all texts in one list, text by text; a set of it holds the different ones.",
            "A text of w words has w - n + 1 n-grams: `tuple(words[i : i + n])`.",
        ],
    ),
    Exercise(
        "09.7",
        title="targets on the answer alone",
        solution=answer_batch,
        check=check_answer_batch,
        minutes=15,
        difficulty=3,
        wrong=[
            tuning_wrong.loss_on_the_prompt,
            tuning_wrong.not_shifted,
            tuning_wrong.counts_padding,
            tuning_wrong.without_the_end,
            tuning_wrong.starts_late,
            tuning_wrong.starts_early,
            tuning_wrong.one_length_for_all,
            tuning_wrong.pads_on_the_left,
            tuning_wrong.reads_the_end,
            tuning_wrong.reads_minus_100,
        ],
        hints=[
            "Write prompt, answer and end token of one row behind each other. All but the last are read; all but the "
            "first come next somewhere. Which of these targets belong to the answer?",
            "Begin with targets full of -100. A prompt of P tokens: the first target that counts stands at P - 1.",
        ],
    ),
    Exercise(
        "09.8",
        title="a linear layer with LoRA",
        solution=LoraLinear,
        check=check_lora,
        minutes=15,
        difficulty=3,
        wrong=[
            tuning_wrong.BothRandom,
            tuning_wrong.BothZero,
            tuning_wrong.ScaleUpsideDown,
            tuning_wrong.WithoutScale,
            tuning_wrong.Exchanged,
            tuning_wrong.LayersInstead,
            tuning_wrong.NoParameters,
            tuning_wrong.TrainsEverything,
            tuning_wrong.ForgetsTheBias,
            tuning_wrong.UpdateAlone,
            tuning_wrong.MergesWithoutScale,
            tuning_wrong.MergesInPlace,
        ],
        hints=[
            "`linear.weight` is (outputs, inputs). `linear.requires_grad_(False)` freezes a layer; "
            "`nn.Parameter(...)` makes what is learned. "
            "A fresh linear layer is drawn from -1 / sqrt(I) to 1 / sqrt(I).",
            "`F.linear(x, A)` is x times A transposed. Two of them give the update; multiply it by alpha / rank.",
        ],
    ),
]
