"""What a GPT costs, by formula: parameters, floating-point operations, and bytes of memory. Nothing is built or run.

An operation (FLOP) is one multiplication or one addition; only matrix products count, which is nearly all of the work.
Equal to torch's own counter and to the tensors that training keeps (`tests/models/test_costs.py`).

Letters: B sequences, T positions, D = d_model, H query heads, G key/value heads, K width of a head, V = vocab_size.
"""

from course_utils.config import require
from course_utils.models.gpt_config import GPTConfig

FLOAT32_BYTES = 4


def num_matrix_parameters(config: GPTConfig) -> int:
    """Numbers that multiply: every matrix of the blocks, and the output layer, tied or not. Biases, norms and the
    tables in front are left out, since they add or are looked up."""
    D = config.d_model
    projections = (config.num_heads + 2 * config.num_kv_heads) * config.d_head * D + D * D  # qkv, output
    feed_forward = (3 if config.feed_forward == "swiglu" else 2) * D * config.d_ff
    return config.num_layers * (projections + feed_forward) + config.vocab_size * D


def num_parameters(config: GPTConfig) -> int:
    """Everything that is learned, for each variant of `GPT`. Lesson 06 has the formula of GPT-2 alone."""
    D = config.d_model
    norm = D * (2 if config.norm == "layer" and config.has_bias else 1)
    biases = 0
    if config.has_bias:
        qkv = (config.num_heads + 2 * config.num_kv_heads) * config.d_head
        ups = 2 if config.feed_forward == "swiglu" else 1
        biases = qkv + D + ups * config.d_ff + D
    positions = config.context_length * D if config.positions == "learned" else 0
    second_table = 0 if config.is_tied else config.vocab_size * D  # the matrix parameters hold one of the two
    others = config.num_layers * (biases + 2 * norm) + norm + positions + second_table
    return num_matrix_parameters(config) + others


def forward_flops(config: GPTConfig, T: int) -> int:
    """Operations to read one token in a text of T tokens: 2 for each number that multiplies, and attention.

    Attention compares the token with T keys and adds up T values, D multiplications and additions each, in every layer.
    Half of those T positions lie ahead and are masked; like Chowdhery et al. 2022, appendix B, we count them all.
    """
    require(1 <= T <= config.context_length, f"a text has from 1 to {config.context_length} tokens here", T)
    return 2 * num_matrix_parameters(config) + 4 * config.num_layers * T * config.d_model


def training_flops(config: GPTConfig, T: int) -> int:
    """Operations to learn from one token: three times `forward_flops`.

    Going back costs twice as much as going forward: a product y = W x needs two more, the gradients of W and of x.
    About 6 N for N parameters (Kaplan et al. 2020, section 2.1), with the attention term 12 * num_layers * T * D.
    """
    return 3 * forward_flops(config, T)


def training_state_bytes(num_parameters: int, bytes_per_number: int = FLOAT32_BYTES) -> int:
    """Bytes for weights, gradients and AdamW's two moments: four numbers a parameter.

    In mixed precision the sum is the same 16 bytes: weights and gradients of 2 bytes, and a copy of the weights and two
    moments of 4 (Rajbhandari et al. 2020, section 3.1).
    """
    return 4 * num_parameters * bytes_per_number


def activation_bytes(config: GPTConfig, B: int, T: int) -> int:
    """Bytes that `GPT.hidden_states` keeps of B texts of T tokens in float32 until it has gone back.

    For GPT-2's variant with a fused attention kernel, which keeps no (T, T) scores. Per token and layer: two inputs of
    norms (with 2 numbers each, mean and width) and two outputs; queries, keys, values; what attention gives, and H
    normalisers; the feed-forward's inner states before and after the curve. The output layer and the loss are not in
    it. Compare Korthikanti et al. 2022, section 4.1. Raises ValueError for other variants.
    """
    is_gpt2 = (config.norm, config.positions, config.feed_forward) == ("layer", "learned", "gelu")
    is_gpt2 = is_gpt2 and config.num_heads == config.num_kv_heads and config.dropout == 0
    require(is_gpt2, "activation_bytes knows GPT-2's variant without dropout", config)
    D = config.d_model
    layer = 8 * D + 2 * config.d_ff + config.num_heads + 4
    return B * T * (config.num_layers * layer + D + 2) * FLOAT32_BYTES


def cache_bytes(config: GPTConfig, B: int, T: int, bytes_per_number: int = FLOAT32_BYTES) -> int:
    """Bytes of a key/value cache with room for B texts of T tokens: a key and a value per layer and shared head."""
    return 2 * config.num_layers * B * config.num_kv_heads * T * config.d_head * bytes_per_number
