"""Wrong answers to the exercises of lesson 07: one common misconception each, named in the docstring's first line."""

import math

import torch

IGNORED_LABEL = -100


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


def _groups(model, decays, weight_decay, params=None):
    params = [p for p in model.parameters() if p.requires_grad] if params is None else params
    return [{"params": [p for p in params if decays(p)], "weight_decay": weight_decay},
            {"params": [p for p in params if not decays(p)], "weight_decay": 0.0}]  # fmt: skip


def everything_decays(model, weight_decay):
    """lets everything decay, norms and biases too"""
    return _groups(model, lambda p: True, weight_decay)


def norms_decay(model, weight_decay):
    """spares what is called bias, and pulls the weights of norms towards 0"""
    biases = {id(p) for name, p in model.named_parameters() if name.endswith("bias")}
    return _groups(model, lambda p: id(p) not in biases, weight_decay)


def biases_decay(model, weight_decay):
    """spares what is called norm, and lets the biases of the layers decay"""
    norms = {id(p) for name, p in model.named_parameters() if "norm" in name}
    return _groups(model, lambda p: id(p) not in norms, weight_decay)


def rest_forgotten(model, weight_decay):
    """leaves out what does not decay: what is in no group is never trained"""
    return [*_groups(model, lambda p: p.ndim >= 2, weight_decay)[:1], {"params": [], "weight_decay": 0.0}]


def frozen_too(model, weight_decay):
    """takes frozen parameters in, which are not to change"""
    return _groups(model, lambda p: p.ndim >= 2, weight_decay, list(model.parameters()))


def found_twice(model, weight_decay):
    """collects from every part of the model, so that each parameter turns up several times"""
    found = [p for part in model.modules() for p in part.parameters() if p.requires_grad]
    return _groups(model, lambda p: p.ndim >= 2, weight_decay, found)


def decay_built_in(model, weight_decay):
    """always uses 0.01, whatever is asked for"""
    return _groups(model, lambda p: p.ndim >= 2, 0.01)


def _half_cosine(progress, min_share):
    return min_share + (1 - min_share) * (1 + math.cos(math.pi * progress)) / 2


def _progress(step, warmup_steps, max_steps):
    return min(1.0, (step - warmup_steps) / (max_steps - warmup_steps))


def starts_at_zero(step, warmup_steps, max_steps, min_share=0.1):
    """starts at 0, so the first step changes nothing"""
    if step < warmup_steps:
        return step / warmup_steps
    return _half_cosine(_progress(step, warmup_steps, max_steps), min_share)


def rises_again(step, warmup_steps, max_steps, min_share=0.1):
    """goes on along the cosine after the end, where it rises again"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return _half_cosine((step - warmup_steps) / (max_steps - warmup_steps), min_share)


def falls_to_zero(step, warmup_steps, max_steps, min_share=0.1):
    """falls to 0, below the floor"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return _half_cosine(_progress(step, warmup_steps, max_steps), 0.0)


def floor_on_top(step, warmup_steps, max_steps, min_share=0.1):
    """adds the floor to the whole cosine, so the peak is above 1"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return min_share + _half_cosine(_progress(step, warmup_steps, max_steps), 0.0)


def cut_at_the_floor(step, warmup_steps, max_steps, min_share=0.1):
    """lets the cosine fall to 0 and cuts it off at the floor, instead of squeezing it into the room above"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(min_share, _half_cosine(_progress(step, warmup_steps, max_steps), 0.0))


def jumps_after_warmup(step, warmup_steps, max_steps, min_share=0.1):
    """counts the cosine from step 0, so the rate jumps down when the warm-up ends"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return _half_cosine(min(1.0, step / max_steps), min_share)


def straight_line(step, warmup_steps, max_steps, min_share=0.1):
    """falls in a straight line"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 1 - (1 - min_share) * _progress(step, warmup_steps, max_steps)


def _parts(batch, num_micro_batches):
    rows = torch.arange(len(batch["input_ids"])).chunk(num_micro_batches)
    return [{name: tensor[part] for name, tensor in batch.items()} for part in rows]


def _accumulate(model, batch, num_micro_batches, share):
    total = 0.0
    for part in _parts(batch, num_micro_batches):
        output = model(**part)
        loss = output.loss * share(part, output)
        loss.backward()
        total += loss.item()
    return total


def mean_of_means(model, batch, num_micro_batches=1):
    """takes the mean of the parts' means, so a target in a short part counts for more"""
    return _accumulate(model, batch, num_micro_batches, lambda part, output: 1 / num_micro_batches)


def never_divides(model, batch, num_micro_batches=1):
    """adds up the parts' means without dividing: the gradient grows with the number of parts"""
    return _accumulate(model, batch, num_micro_batches, lambda part, output: 1.0)


def counts_positions(model, batch, num_micro_batches=1):
    """weighs each part by its positions, those without a target included"""
    size = batch["targets"].numel()
    return _accumulate(model, batch, num_micro_batches, lambda part, output: part["targets"].numel() / size)


def last_part_only(model, batch, num_micro_batches=1):
    """sets the gradients to zero before each part, so only the last one is left"""
    num_targets, total = int((batch["targets"] != IGNORED_LABEL).sum()), 0.0
    for part in _parts(batch, num_micro_batches):
        model.zero_grad()
        output = model(**part)
        loss = output.loss * (output.num_targets / num_targets)
        loss.backward()
        total += loss.item()
    return total


def drops_the_rest(model, batch, num_micro_batches=1):
    """divides the number of sequences and drops the remainder"""
    size = len(batch["input_ids"]) // num_micro_batches * num_micro_batches
    batch = {name: tensor[:size] for name, tensor in batch.items()}
    num_targets = int((batch["targets"] != IGNORED_LABEL).sum())
    return _accumulate(model, batch, num_micro_batches, lambda part, output: output.num_targets / num_targets)


def returns_last_loss(model, batch, num_micro_batches=1):
    """gets the gradients right and reports the loss of the last part as that of the batch"""
    num_targets = int((batch["targets"] != IGNORED_LABEL).sum())
    for part in _parts(batch, num_micro_batches):
        output = model(**part)
        (output.loss * (output.num_targets / num_targets)).backward()
    return output.loss.item()
