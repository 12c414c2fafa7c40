"""Wrong answers to the exercises of lesson 03. Each stands for one misconception, named by its first line."""

import torch


def no_norm(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """adds up the three vectors and forgets to normalise the sum"""
    return token_table[input_ids] + position_table[: input_ids.shape[1]] + type_table[token_type_ids]


def norm_each(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """normalises each vector before adding; the norm belongs to the sum"""
    return norm(token_table[input_ids]) + norm(position_table[: input_ids.shape[1]]) + norm(type_table[token_type_ids])


def norm_of_tokens(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """normalises the token's vector alone and adds the others behind the norm"""
    return norm(token_table[input_ids]) + position_table[: input_ids.shape[1]] + type_table[token_type_ids]


def mean_of_three(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """takes the mean of the three vectors; they are added up"""
    total = token_table[input_ids] + position_table[: input_ids.shape[1]] + type_table[token_type_ids]
    return norm(total / 3)


def no_positions(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """leaves the positions out, so the order of words is lost"""
    return norm(token_table[input_ids] + type_table[token_type_ids])


def positions_from_one(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """counts positions from 1"""
    T = input_ids.shape[1]
    return norm(token_table[input_ids] + position_table[1 : T + 1] + type_table[token_type_ids])


def whole_table(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """adds the whole position table; only its first T rows are needed"""
    return norm(token_table[input_ids] + type_table[token_type_ids] + position_table)


def position_by_token(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """looks positions up by token id; the position of a token is its place in the sequence"""
    return norm(token_table[input_ids] + type_table[token_type_ids] + position_table[input_ids])


def position_by_row(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """gives a whole sequence the position of its place in the batch"""
    return norm(token_table[input_ids] + type_table[token_type_ids] + position_table[: len(input_ids), None])


def no_types(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """gives every position type 0, so the two texts cannot be told apart"""
    return norm(token_table[input_ids] + position_table[: input_ids.shape[1]] + type_table[0])


def _count(config, biases=1, first_norm=1, layer_norms=2, matrices=4, pooler=1):
    """The right count, with one of its terms changed."""
    D, d_ff = config.d_model, config.d_ff
    tables = (config.vocab_size + config.context_length + config.num_token_types) * D
    attention, feed_forward = matrices * (D * D + biases * D), 2 * D * d_ff + biases * (d_ff + D)
    layers = config.num_layers * (attention + feed_forward + layer_norms * 2 * D)
    return tables + first_norm * 2 * D + layers + pooler * (D * D + biases * D)


def without_biases(config):
    """counts matrices and forgets biases"""
    return _count(config, biases=0)


def without_norms(config):
    """forgets the scale and shift of every LayerNorm"""
    return _count(config, first_norm=0, layer_norms=0)


def without_first_norm(config):
    """forgets the norm behind the three tables"""
    return _count(config, first_norm=0)


def one_norm_per_layer(config):
    """counts one norm in each layer; there is one behind attention and one behind feed-forward"""
    return _count(config, layer_norms=1)


def without_pooler(config):
    """forgets the pooler"""
    return _count(config, pooler=0)


def three_matrices(config):
    """counts query, key and value and forgets the matrix behind the heads"""
    return _count(config, matrices=3)


def per_head(config):
    """multiplies attention by the number of heads; heads divide the width, they do not add to it"""
    return _count(config, matrices=4 * config.num_heads)


def with_output_layer(config):
    """adds a matrix from the width to the vocabulary; BertModel ends before any such head"""
    return _count(config) + config.vocab_size * config.d_model


def rule_of_thumb(config):
    """takes 12 D² per layer: a good estimate if d_ff is 4 D, but not the count"""
    return 12 * config.num_layers * config.d_model**2


def keys_first(file, layer):
    """puts keys before queries"""
    return _joined(file, layer, parts=("key", "query", "value"))


def _joined(file, layer, parts=("query", "key", "value")):
    names = [f"encoder.layer.{layer}.attention.self.{part}" for part in parts]
    return torch.cat([file[f"{name}.weight"] for name in names]), torch.cat([file[f"{name}.bias"] for name in names])


def side_by_side(file, layer):
    """joins the matrices side by side: outputs are rows of a Linear's weight"""
    weight, bias = _joined(file, layer)
    return torch.cat(weight.chunk(3), dim=1), bias


def stacked(file, layer):
    """makes a new dimension with `stack`; one Linear has one matrix, so the rows go below each other"""
    weight, bias = _joined(file, layer)
    return torch.stack(weight.chunk(3)), torch.stack(bias.chunk(3))


def transposed(file, layer):
    """transposes each matrix, which TensorFlow's files need and PyTorch's do not"""
    weight, bias = _joined(file, layer)
    return torch.cat([part.T for part in weight.chunk(3)]), bias


def always_layer_0(file, layer):
    """reads layer 0 whatever layer is asked for"""
    return _joined(file, 0)


def over_padding(hidden_states, attention_mask):
    """averages over padded positions too"""
    return hidden_states.mean(1)


def divides_by_length(hidden_states, attention_mask):
    """clears padding but divides by all positions, so short texts get short vectors"""
    return (hidden_states * attention_mask[..., None]).mean(1)


def divides_by_batch(hidden_states, attention_mask):
    """divides by the tokens of the whole batch; each text has a count of its own"""
    return (hidden_states * attention_mask[..., None]).sum(1) / attention_mask.sum().clamp(min=1)


def no_division(hidden_states, attention_mask):
    """adds up and never divides, so long texts get long vectors"""
    return (hidden_states * attention_mask[..., None]).sum(1)


def first_token(hidden_states, attention_mask):
    """takes the vector of [CLS] alone: another way to stand for a text, but not the mean"""
    return hidden_states[:, 0]


def largest(hidden_states, attention_mask):
    """takes the largest value of each entry instead of the mean"""
    return hidden_states.masked_fill(attention_mask[..., None] == 0, -torch.inf).amax(1)


def zero_by_zero(hidden_states, attention_mask):
    """is right except for a row without tokens, where it divides 0 by 0"""
    return (hidden_states * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
