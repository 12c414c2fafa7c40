"""Wrong answers to exercises 07.4 to 07.6: one common misconception each, named in the docstring's first line."""

import math

import torch

IGNORED_LABEL = -100


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


def groups_swapped(model, weight_decay):
    """lets norms and biases decay, and matrices not"""
    return [{"params": group["params"], "weight_decay": decay} for group, decay in
            zip(_groups(model, lambda p: p.ndim < 2, weight_decay), (weight_decay, 0.0), strict=True)]  # fmt: skip


def tables_spared(model, weight_decay):
    """spares the tables of tokens and positions as well"""
    tables = {id(p) for name, p in model.named_parameters() if "embedding" in name}
    return _groups(model, lambda p: p.ndim >= 2 and id(p) not in tables, weight_decay)


def decay_left_to_adamw(model, weight_decay):
    """names no decay for the second group, which then gets AdamW's own 0.01"""
    decaying, other = _groups(model, lambda p: p.ndim >= 2, weight_decay)
    return [decaying, {"params": other["params"]}]


def named_pairs(model, weight_decay):
    """hands on pairs of name and parameter"""
    pairs = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return _groups(model, lambda pair: pair[1].ndim >= 2, weight_decay, pairs)


def as_sets(model, weight_decay):
    """collects the parameters in sets, whose order an optimizer could not rely on"""
    return [{**group, "params": set(group["params"])} for group in _groups(model, lambda p: p.ndim >= 2, weight_decay)]


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


def quarter_cosine(step, warmup_steps, max_steps, min_share=0.1):
    """takes a quarter of a cosine, which is steepest at the end"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return min_share + (1 - min_share) * math.cos(math.pi / 2 * _progress(step, warmup_steps, max_steps))


def a_step_early(step, warmup_steps, max_steps, min_share=0.1):
    """reaches the floor at the last step, max_steps - 1; progress would be 1 one step later"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return _half_cosine(_progress(step, warmup_steps, max_steps - 1), min_share)


def no_pi(step, warmup_steps, max_steps, min_share=0.1):
    """forgets pi: the cosine of 1 is still 0.54"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return min_share + (1 - min_share) * (1 + math.cos(_progress(step, warmup_steps, max_steps))) / 2


def floor_built_in(step, warmup_steps, max_steps, min_share=0.1):
    """always falls to 0.1, whatever `min_share` is"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return _half_cosine(_progress(step, warmup_steps, max_steps), 0.1)


def warmup_too_long(step, warmup_steps, max_steps, min_share=0.1):
    """lets the warm-up last one step too long, above the peak"""
    if step <= warmup_steps:
        return (step + 1) / warmup_steps
    return _half_cosine(_progress(step, warmup_steps, max_steps), min_share)


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


def _right(model, part, num_targets):
    output = model(**part)
    return output.loss * (output.num_targets / num_targets)


def whole_at_once(model, batch, num_micro_batches=1):
    """takes the batch at once, however many parts are asked for: the gradient is right, and no memory is saved"""
    loss = model(**batch).loss
    loss.backward()
    return loss.item()


def parts_of_size(model, batch, num_micro_batches=1):
    """takes the number of parts for the size of a part"""
    num_targets, total = int((batch["targets"] != IGNORED_LABEL).sum()), 0.0
    for rows in torch.arange(len(batch["input_ids"])).split(num_micro_batches):
        loss = _right(model, {name: tensor[rows] for name, tensor in batch.items()}, num_targets)
        loss.backward()
        total += loss.item()
    return total


def one_backward(model, batch, num_micro_batches=1):
    """adds up the losses and calls `backward` once, so all parts are kept in memory until the end"""
    num_targets = int((batch["targets"] != IGNORED_LABEL).sum())
    loss = sum(_right(model, part, num_targets) for part in _parts(batch, num_micro_batches))
    loss.backward()
    return loss.item()


def steps_too(model, batch, num_micro_batches=1):
    """takes steps too; that is the loop's work, when all parts have been added up"""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    num_targets, total = int((batch["targets"] != IGNORED_LABEL).sum()), 0.0
    for part in _parts(batch, num_micro_batches):
        loss = _right(model, part, num_targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total


def returns_a_tensor(model, batch, num_micro_batches=1):
    """returns the loss as a tensor that still holds the graph, so memory grows with every step that is logged"""
    num_targets, total = int((batch["targets"] != IGNORED_LABEL).sum()), 0.0
    for part in _parts(batch, num_micro_batches):
        loss = _right(model, part, num_targets)
        loss.backward()
        total = total + loss
    return total


def fewer_parts_silently(model, batch, num_micro_batches=1):
    """makes as many parts as there are sequences when more are asked for, and does not say so"""
    num_targets = int((batch["targets"] != IGNORED_LABEL).sum())
    return _accumulate(model, batch, num_micro_batches, lambda part, output: output.num_targets / num_targets)
