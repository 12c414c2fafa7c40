"""Wrong answers to the exercises of lesson 05: one common misconception each, named in the docstring's first line."""

import numpy as np
import torch

from course_utils.training.metrics import calibration_bins


def starts_at_zero(step, warmup_steps, max_steps):
    """starts at 0, so the first step changes nothing and the peak comes one step late"""
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (max_steps - step) / (max_steps - warmup_steps + 1))


def peaks_twice(step, warmup_steps, max_steps):
    """reaches the peak in two steps running: the falling line starts one step late"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (max_steps - step) / (max_steps - warmup_steps)


def ends_at_zero(step, warmup_steps, max_steps):
    """meets 0 at the last step, one too early, so that step changes nothing"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (max_steps - 1 - step) / (max_steps - warmup_steps)


def jumps_after_warmup(step, warmup_steps, max_steps):
    """counts the decay from step 0, so the rate jumps down when the warm-up ends"""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (max_steps - step) / max_steps)


def never_decays(step, warmup_steps, max_steps):
    """warms up, then stays at the peak to the end"""
    return min(1.0, (step + 1) / warmup_steps)


def clip_each_tensor(parameters, max_norm):
    """clips each tensor by its own norm, which turns the direction of the step"""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = torch.linalg.vector_norm(torch.cat([grad.flatten() for grad in grads]))
    for grad in grads:
        grad.mul_(min(1.0, max_norm / grad.norm().item()))
    return total


def clip_each_number(parameters, max_norm):
    """clamps each number, which is clipping by value, not by norm"""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = torch.linalg.vector_norm(torch.cat([grad.flatten() for grad in grads]))
    for grad in grads:
        grad.clamp_(-max_norm, max_norm)
    return total


def scale_always(parameters, max_norm):
    """scales small gradients up to the limit too, so every step has the same length"""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = torch.linalg.vector_norm(torch.cat([grad.flatten() for grad in grads]))
    for grad in grads:
        grad.mul_(max_norm / total)
    return total


def adds_the_norms(parameters, max_norm):
    """adds up the norms of the tensors; the global norm is the root of the sum of their squares"""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = sum(torch.linalg.vector_norm(grad) for grad in grads)
    for grad in grads:
        grad.mul_(min(1.0, max_norm / total.item()))
    return total


def changes_nothing(parameters, max_norm):
    """makes scaled copies (`grad = grad * factor`) and leaves the gradients as they are"""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = torch.linalg.vector_norm(torch.cat([grad.flatten() for grad in grads]))
    for grad in grads:
        grad = grad * min(1.0, max_norm / total.item())
    return total


def reads_parameters_twice(parameters, max_norm):
    """goes through `parameters` twice: `model.parameters()` is an iterator, and the second pass finds nothing"""
    squares = [(parameter.grad**2).sum() for parameter in parameters if parameter.grad is not None]
    total = torch.stack(squares).sum().sqrt()
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(min(1.0, max_norm / total.item()))
    return total


def mean_of_batch_means(batches):
    """averages the accuracies of the batches, so a small last batch counts as much as a full one"""
    means = [(logits.argmax(dim=-1) == labels).float().mean().item() for logits, labels in batches]
    return sum(means) / len(means)


def assumes_full_batches(batches):
    """divides by batches times the size of the first, as if every batch were full"""
    sizes_and_hits = [(len(labels), (logits.argmax(dim=-1) == labels).sum().item()) for logits, labels in batches]
    return sum(hits for _, hits in sizes_and_hits) / (len(sizes_and_hits) * sizes_and_hits[0][0])


def last_batch_only(batches):
    """starts counting anew in each batch, so only the last one is reported"""
    for logits, labels in batches:
        hits = (logits.argmax(dim=-1) == labels).float().mean().item()
    return hits


def forgets_the_class_dim(batches):
    """calls argmax without a dimension: one number for the whole batch instead of one for each row"""
    pairs = list(batches)
    num_correct = sum((logits.argmax() == labels).sum().item() for logits, labels in pairs)
    return num_correct / sum(len(labels) for _, labels in pairs)


def reads_batches_twice(batches):
    """goes through `batches` twice: an iterator is empty after the first pass, so the count is 0"""
    num_correct = sum((logits.argmax(dim=-1) == labels).sum().item() for logits, labels in batches)
    return num_correct / sum(len(labels) for _, labels in batches)


def mean_over_padding_too(hidden_states, attention_mask):
    """forgets the mask: padding is averaged in, so a text's vector depends on its neighbours in the batch"""
    return hidden_states.mean(dim=1)


def divides_by_the_longest(hidden_states, attention_mask):
    """masks the sum but divides by T, so short texts get short vectors"""
    return (hidden_states * attention_mask.unsqueeze(-1)).sum(1) / hidden_states.shape[1]


def divides_by_all_tokens(hidden_states, attention_mask):
    """divides by the tokens of the whole batch instead of those of each text"""
    return (hidden_states * attention_mask.unsqueeze(-1)).sum(1) / attention_mask.sum()


def empty_text_is_nan(hidden_states, attention_mask):
    """divides 0 by 0 for a text without tokens, and one nan spoils every average it enters"""
    return (hidden_states * attention_mask.unsqueeze(-1)).sum(1) / attention_mask.sum(1, keepdim=True)


def first_token_only(hidden_states, attention_mask):
    """takes the [CLS] state alone"""
    return hidden_states[:, 0]


def every_bin_equal(confidence, correct, num_bins=10):
    """gives every occupied bin the same weight, so a bin with one prediction decides as much as one with hundreds"""
    bins = calibration_bins(confidence, correct, num_bins)
    return float(np.nanmean(np.abs(bins.accuracy - bins.confidence)))


def gaps_cancel(confidence, correct, num_bins=10):
    """keeps the sign of the gaps, so overconfidence here hides underconfidence there"""
    return abs(float(np.mean(np.asarray(correct)) - np.mean(np.asarray(confidence))))


def worst_bin(confidence, correct, num_bins=10):
    """reports the largest gap, which is the maximum calibration error"""
    bins = calibration_bins(confidence, correct, num_bins)
    return float(np.nanmax(np.abs(bins.accuracy - bins.confidence)))


def empty_bins_are_nan(confidence, correct, num_bins=10):
    """lets the nan of an empty bin into the sum: 0 times nan is nan, not 0"""
    bins = calibration_bins(confidence, correct, num_bins)
    return float(np.sum(bins.counts / bins.counts.sum() * np.abs(bins.accuracy - bins.confidence)))


def ignores_num_bins(confidence, correct, num_bins=10):
    """always uses ten bins"""
    bins = calibration_bins(confidence, correct)
    return float(np.nansum(bins.counts / bins.counts.sum() * np.abs(bins.accuracy - bins.confidence)))
