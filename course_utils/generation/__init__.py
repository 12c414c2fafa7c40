"""How a language model writes: filters on logits, the choice of a token, greedy decoding, sampling, beams, streaming.

Works with any model that gives logits for token ids; the small protocol is `course_utils.generation.reader`. Knows no
model of the course, no tokenizer and no text.
"""

from course_utils.generation.decoding import generate, stream
from course_utils.generation.prompts import left_pad
from course_utils.generation.sampling import (
    choose_token,
    largest_token,
    next_token_probabilities,
    repetition_logits,
    sample_token,
    temperature_logits,
    top_k_filter,
    top_p_filter,
)

__all__ = [
    "choose_token",
    "generate",
    "largest_token",
    "left_pad",
    "next_token_probabilities",
    "repetition_logits",
    "sample_token",
    "stream",
    "temperature_logits",
    "top_k_filter",
    "top_p_filter",
]
