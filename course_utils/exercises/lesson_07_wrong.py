"""Wrong answers to exercises 07.1 to 07.3: one common misconception each, named in the docstring's first line."""

import math

import torch


def _row(documents, end_id):
    return torch.tensor([i for document in documents for i in [*document, end_id]])


def cuts_the_row(documents, end_id, num_validation, generator):
    """joins everything and cuts the row: the document at the cut lies on both sides"""
    row = _row([documents[i] for i in torch.randperm(len(documents), generator=generator)], end_id)
    cut = round(len(row) * (1 - num_validation / len(documents))) - 2
    return row[:cut], row[cut:]


def deals_blocks(documents, end_id, num_validation, generator):
    """cuts the row into blocks and deals these out: what stands next to a validation block is trained on"""
    blocks = list(_row(documents, end_id).split(3))
    order = torch.randperm(len(blocks), generator=generator).tolist()
    cut = max(1, len(blocks) * num_validation // len(documents))
    return tuple(torch.cat([blocks[i] for i in part]) for part in (order[cut:], order[:cut]))


def validates_on_training(documents, end_id, num_validation, generator):
    """leaves the validation documents in the training row too"""
    order = torch.randperm(len(documents), generator=generator).tolist()
    return _row([documents[i] for i in order], end_id), _row([documents[i] for i in order[:num_validation]], end_id)


def first_come(documents, end_id, num_validation, generator):
    """takes the first documents of the file, which may all be from one week or one group of people"""
    return _row(documents[num_validation:], end_id), _row(documents[:num_validation], end_id)


def runs_documents_together(documents, end_id, num_validation, generator):
    """forgets the end tokens, so one conversation runs into the next"""
    order = torch.randperm(len(documents), generator=generator).tolist()
    parts = order[num_validation:], order[:num_validation]
    return tuple(torch.tensor([i for number in part for i in documents[number]]) for part in parts)


def ends_between_only(documents, end_id, num_validation, generator):
    """puts end tokens between documents and none after the last"""
    order = torch.randperm(len(documents), generator=generator).tolist()
    return tuple(_row([documents[i] for i in part], end_id)[:-1] for part in (order[num_validation:],
                 order[:num_validation]))  # fmt: skip


def other_way_round(documents, end_id, num_validation, generator):
    """returns validation first"""
    order = torch.randperm(len(documents), generator=generator).tolist()
    return tuple(_row([documents[i] for i in part], end_id) for part in (order[:num_validation],
                 order[num_validation:]))  # fmt: skip


def draws_unseeded(documents, end_id, num_validation, generator):
    """draws without the generator, so the split is another one at each call"""
    order = torch.randperm(len(documents)).tolist()
    return tuple(_row([documents[i] for i in part], end_id) for part in (order[num_validation:],
                 order[:num_validation]))  # fmt: skip


def draws_with_replacement(documents, end_id, num_validation, generator):
    """draws numbers that may come twice, so validation is sometimes too small"""
    drawn = set(torch.randint(len(documents), (num_validation,), generator=generator).tolist())
    rest = [i for i in range(len(documents)) if i not in drawn]
    return tuple(_row([documents[i] for i in part], end_id) for part in (rest, sorted(drawn)))


def ends_in_front(documents, end_id, num_validation, generator):
    """puts the end token in front of each document, so nothing says where the last one ends"""
    order = torch.randperm(len(documents), generator=generator).tolist()
    parts = order[num_validation:], order[:num_validation]
    return tuple(torch.tensor([i for number in part for i in [end_id, *documents[number]]]) for part in parts)


def _blocks(ids, starts, length):
    return torch.stack([ids[start : start + length] for start in starts])


def same_token(ids, starts, context_length):
    """asks for the token that it has just shown: the model need only copy"""
    inputs = _blocks(ids, starts, context_length)
    return inputs, inputs


def two_ahead(ids, starts, context_length):
    """shifts twice: the target stands two places further, and every second token is skipped"""
    return _blocks(ids, starts, context_length), _blocks(ids.roll(-2), starts, context_length)


def one_back(ids, starts, context_length):
    """shifts the wrong way: the target is the token before, which the model has read already"""
    return _blocks(ids[1:], starts, context_length), _blocks(ids, starts, context_length)


def round_the_corner(ids, starts, context_length):
    """rolls each block, so the target of its last position is the block's own first token"""
    inputs = _blocks(ids, starts, context_length)
    return inputs, inputs.roll(-1, dims=1)


def one_short(ids, starts, context_length):
    """cuts T tokens, and has only T - 1 pairs after the shift"""
    blocks = _blocks(ids, starts, context_length)
    return blocks[:, :-1], blocks[:, 1:]


def last_left_out(ids, starts, context_length):
    """cuts T tokens and gives the last position no target, although the row goes on"""
    inputs = _blocks(ids, starts, context_length)
    targets = inputs.roll(-1, dims=1)
    targets[:, -1] = -100
    return inputs, targets


def one_target(ids, starts, context_length):
    """asks one question of each block, what follows it, and not one at every position"""
    return _blocks(ids, starts, context_length), torch.stack([ids[start + context_length] for start in starts])


def _bits_per_byte(loss, log_probs, num_bytes):
    return loss * len(log_probs) / (math.log(2) * num_bytes)


def perplexity_base_two(log_probs, num_bytes):
    """raises 2 to a loss in nats; 2 belongs to bits, e to nats"""
    loss = -log_probs.mean().item()
    return loss, 2**loss, _bits_per_byte(loss, log_probs, num_bytes)


def perplexity_of_mean_probability(log_probs, num_bytes):
    """averages the probabilities before taking the inverse; the mean belongs inside the logarithm"""
    loss = -log_probs.mean().item()
    return loss, 1 / log_probs.exp().mean().item(), _bits_per_byte(loss, log_probs, num_bytes)


def mean_of_inverse(log_probs, num_bytes):
    """averages 1/p, so one surprising token decides everything"""
    loss = -log_probs.mean().item()
    return loss, (-log_probs).exp().mean().item(), _bits_per_byte(loss, log_probs, num_bytes)


def bits_per_token(log_probs, num_bytes):
    """gives bits per token: the bytes of the text do not enter"""
    loss = -log_probs.mean().item()
    return loss, math.exp(loss), loss / math.log(2)


def nats_per_byte(log_probs, num_bytes):
    """forgets ln 2: that is nats per byte"""
    loss = -log_probs.mean().item()
    return loss, math.exp(loss), loss * len(log_probs) / num_bytes


def bytes_per_token_upside_down(log_probs, num_bytes):
    """multiplies by bytes per token instead of dividing"""
    loss = -log_probs.mean().item()
    return loss, math.exp(loss), loss / math.log(2) * num_bytes / len(log_probs)


def whole_text(log_probs, num_bytes):
    """adds up the loss instead of averaging it, so longer texts look worse"""
    loss = -log_probs.sum().item()
    return loss, math.exp(min(loss, 700)), loss / (math.log(2) * num_bytes)


def loss_in_bits(log_probs, num_bytes):
    """gives the loss in bits; it is asked for in nats"""
    loss = -log_probs.mean().item() / math.log(2)
    return loss, 2**loss, loss * len(log_probs) / num_bytes


def sign_forgotten(log_probs, num_bytes):
    """forgets the minus: logarithms of probabilities are below 0, a cost is above"""
    loss = log_probs.mean().item()
    return loss, math.exp(loss), _bits_per_byte(loss, log_probs, num_bytes)


def logarithm_twice(log_probs, num_bytes):
    """takes the logarithm of what is one already"""
    loss = -log_probs.log().mean().item()
    return loss, math.exp(loss), _bits_per_byte(loss, log_probs, num_bytes)


def probability_for_perplexity(log_probs, num_bytes):
    """raises e to minus the loss: that is the typical probability, and perplexity is one over it"""
    loss = -log_probs.mean().item()
    return loss, math.exp(-loss), _bits_per_byte(loss, log_probs, num_bytes)


def multiplies_by_ln_two(log_probs, num_bytes):
    """multiplies by ln 2; a bit is only 0.69 nats, so a text costs more bits than nats"""
    loss = -log_probs.mean().item()
    return loss, math.exp(loss), loss * len(log_probs) * math.log(2) / num_bytes
