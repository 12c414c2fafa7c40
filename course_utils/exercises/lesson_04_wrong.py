"""Wrong answers of lesson 04; each docstring's first line is the misconception."""

import torch
import torch.nn.functional as F


def _other(conversations, number, rng):
    return conversations[rng.choice([i for i in range(len(conversations)) if i != number])]


def same_turn(conversations, number, turn, is_next, rng):
    """hands back the first text itself instead of the turn after it"""
    return conversations[number][turn] if is_next else rng.choice(_other(conversations, number, rng)[1:])


def any_conversation(conversations, number, turn, is_next, rng):
    """may draw the random text from the same conversation"""
    return conversations[number][turn + 1] if is_next else rng.choice(rng.choice(conversations)[1:])


def first_turns_too(conversations, number, turn, is_next, rng):
    """draws first turns too: no true answer is one, so every 'hi' gives the random text away"""
    return conversations[number][turn + 1] if is_next else rng.choice(_other(conversations, number, rng))


def second_turns_only(conversations, number, turn, is_next, rng):
    """always takes the second turn of the other conversation"""
    return conversations[number][turn + 1] if is_next else _other(conversations, number, rng)[1]


def flag_upside_down(conversations, number, turn, is_next, rng):
    """takes the flag the wrong way round"""
    return rng.choice(_other(conversations, number, rng)[1:]) if is_next else conversations[number][turn + 1]


def _choose(input_ids, hideable, mask_rate, generator):
    return (torch.rand(input_ids.shape, generator=generator) < mask_rate) & hideable


def _hide(input_ids, chosen, mask_id, vocab_size, generator, first_id=0):
    fate = torch.rand(input_ids.shape, generator=generator)
    random_ids = torch.randint(first_id, vocab_size, input_ids.shape, generator=generator)
    hidden = input_ids.masked_fill(chosen & (fate < 0.8), mask_id)
    return torch.where(chosen & (fate >= 0.9), random_ids, hidden)


def no_random(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """forgets the 10% random words: the model may then trust every word that is not [MASK]"""
    chosen = _choose(input_ids, hideable, mask_rate, generator)
    fate = torch.rand(input_ids.shape, generator=generator)
    return input_ids.masked_fill(chosen & (fate < 0.9), mask_id), input_ids.masked_fill(~chosen, -100)


def labels_everywhere(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """puts labels at words that were not chosen, which the model only has to copy"""
    chosen = _choose(input_ids, hideable, mask_rate, generator)
    return _hide(input_ids, chosen, mask_id, vocab_size, generator), input_ids.masked_fill(~hideable, -100)


def hides_special_tokens(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """hides [CLS] and [SEP] too"""
    chosen = torch.rand(input_ids.shape, generator=generator) < mask_rate
    return _hide(input_ids, chosen, mask_id, vocab_size, generator), input_ids.masked_fill(~chosen, -100)


def three_draws(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """draws anew for each fate, so that random words are a tenth of what [MASK] left over, not of all chosen"""
    chosen = _choose(input_ids, hideable, mask_rate, generator)
    masked = chosen & (torch.rand(input_ids.shape, generator=generator) < 0.8)
    randomised = chosen & ~masked & (torch.rand(input_ids.shape, generator=generator) < 0.1)
    random_ids = torch.randint(first_id, vocab_size, input_ids.shape, generator=generator)
    seen = torch.where(randomised, random_ids, input_ids.masked_fill(masked, mask_id))
    return seen, input_ids.masked_fill(~chosen, -100)


def labels_at_mask_alone(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """asks only for the words that became [MASK]; those that stay or become random have to be guessed too"""
    seen = _hide(input_ids, _choose(input_ids, hideable, mask_rate, generator), mask_id, vocab_size, generator)
    return seen, input_ids.masked_fill(seen != mask_id, -100)


def constant_rate(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """hides 15% whatever `mask_rate` says"""
    chosen = _choose(input_ids, hideable, 0.15, generator)
    return _hide(input_ids, chosen, mask_id, vocab_size, generator, first_id), input_ids.masked_fill(~chosen, -100)


def labels_too_late(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """makes the labels after hiding, so the model is asked to say [MASK]"""
    chosen = _choose(input_ids, hideable, mask_rate, generator)
    seen = _hide(input_ids, chosen, mask_id, vocab_size, generator)
    return seen, seen.masked_fill(~chosen, -100)


def shares_of_all(input_ids, hideable, mask_id, vocab_size, mask_rate=0.15, first_id=0, generator=None):
    """puts random words at a tenth of all positions instead of the chosen ones"""
    chosen = _choose(input_ids, hideable, mask_rate, generator)
    fate = torch.rand(input_ids.shape, generator=generator)
    random_ids = torch.randint(first_id, vocab_size, input_ids.shape, generator=generator)
    seen = torch.where((fate >= 0.9) & hideable, random_ids, input_ids.masked_fill(chosen & (fate < 0.8), mask_id))
    return seen, input_ids.masked_fill(~chosen, -100)


def over_all_positions(mlm_logits, labels, nsp_logits, next_sentence_label):
    """divides by all positions, so the loss shrinks with the masking rate"""
    summed = F.cross_entropy(mlm_logits.flatten(0, 1), labels.flatten(), reduction="sum")
    return summed / labels.numel() + F.cross_entropy(nsp_logits, next_sentence_label)


def mean_of_means(mlm_logits, labels, nsp_logits, next_sentence_label):
    """takes each sequence's mean first, so words of sequences that hide few count more"""
    means = [
        F.cross_entropy(logits, row, reduction="sum") / max(int((row >= 0).sum()), 1)
        for logits, row in zip(mlm_logits, labels, strict=True)
    ]
    return torch.stack(means).mean() + F.cross_entropy(nsp_logits, next_sentence_label)


def average_of_both(mlm_logits, labels, nsp_logits, next_sentence_label):
    """takes the mean of the two losses; BERT adds them"""
    mlm_loss = F.cross_entropy(mlm_logits.flatten(0, 1), labels.flatten())
    return (mlm_loss + F.cross_entropy(nsp_logits, next_sentence_label)) / 2


def sums(mlm_logits, labels, nsp_logits, next_sentence_label):
    """adds up and never divides, so the loss grows with the batch"""
    mlm_loss = F.cross_entropy(mlm_logits.flatten(0, 1), labels.flatten(), reduction="sum")
    return mlm_loss + F.cross_entropy(nsp_logits, next_sentence_label, reduction="sum")


def forgets_nsp(mlm_logits, labels, nsp_logits, next_sentence_label):
    """leaves out the next sentence"""
    return F.cross_entropy(mlm_logits.flatten(0, 1), labels.flatten())


def forgets_the_minus(train_ids, test_ids, vocab_size, alpha=1.0):
    """forgets the minus: logarithms of probabilities are negative, costs are positive"""
    counts = torch.bincount(train_ids, minlength=vocab_size).double() + alpha
    return (counts / counts.sum()).log()[test_ids].mean().item()


def peeks_at_test(train_ids, test_ids, vocab_size, alpha=1.0):
    """counts the words that are to be guessed: the test gives its own answers away"""
    counts = torch.bincount(test_ids, minlength=vocab_size).double() + alpha
    return -(counts / counts.sum()).log()[test_ids].mean().item()


def in_bits(train_ids, test_ids, vocab_size, alpha=1.0):
    """takes the logarithm to base 2: that is bits, not nats"""
    counts = torch.bincount(train_ids, minlength=vocab_size).double() + alpha
    return -(counts / counts.sum()).log2()[test_ids].mean().item()


def without_smoothing(train_ids, test_ids, vocab_size, alpha=1.0):
    """adds nothing to the counts, so one word never seen costs infinitely much"""
    counts = torch.bincount(train_ids, minlength=vocab_size).double()
    return -(counts / counts.sum()).log()[test_ids].mean().item()


def shares_above_one(train_ids, test_ids, vocab_size, alpha=1.0):
    """adds alpha to the counts and divides by the sum without it: the shares add up to more than 1"""
    counts = torch.bincount(train_ids, minlength=vocab_size).double()
    return -((counts + alpha) / counts.sum()).log()[test_ids].mean().item()
