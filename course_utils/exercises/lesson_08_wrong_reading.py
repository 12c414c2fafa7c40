"""Wrong answers to the exercises of lesson 08 from the penalty on; the others are in `lesson_08_wrong`."""

import torch
import torch.nn.functional as F

from course_utils.models.attention import merge_heads, split_heads


def _used(logits, token_ids, is_token=None) -> torch.Tensor:
    """How often each token stands in its row's text: (B, V)."""
    counts = torch.zeros_like(logits)
    ones = torch.ones_like(token_ids, dtype=logits.dtype) if is_token is None else is_token.to(logits.dtype)
    return counts.scatter_add(1, token_ids, ones)


def _penalised(logits, times, penalty):
    return torch.where(logits > 0, logits / penalty**times, logits * penalty**times)


def always_divides(logits, token_ids, penalty, is_token=None):
    """divides negative logits too, which makes these tokens more likely"""
    return torch.where(_used(logits, token_ids, is_token) > 0, logits / penalty, logits)


def subtracts(logits, token_ids, penalty, is_token=None):
    """subtracts the penalty from logits; that is another rule, the presence penalty"""
    return torch.where(_used(logits, token_ids, is_token) > 0, logits - penalty, logits)


def rules_out(logits, token_ids, penalty, is_token=None):
    """rules used tokens out altogether; a penalty makes them less likely"""
    return logits.masked_fill(_used(logits, token_ids, is_token) > 0, -torch.inf)


def once_per_occurrence(logits, token_ids, penalty, is_token=None):
    """penalises again for each occurrence"""
    return _penalised(logits, _used(logits, token_ids, is_token), penalty)


def last_token_alone(logits, token_ids, penalty, is_token=None):
    """looks at the last token only; a loop is longer than that"""
    return _penalised(logits, (_used(logits, token_ids[:, -1:]) > 0).float(), penalty)


def all_rows_alike(logits, token_ids, penalty, is_token=None):
    """penalises in every row what any row has used"""
    used = (_used(logits, token_ids, is_token) > 0).any(0, keepdim=True).expand_as(logits)
    return _penalised(logits, used.float(), penalty)


def penalises_the_new(logits, token_ids, penalty, is_token=None):
    """penalises the tokens that the text does not have"""
    return _penalised(logits, (_used(logits, token_ids, is_token) == 0).float(), penalty)


def counts_padding(logits, token_ids, penalty, is_token=None):
    """takes padding for text: a token that only fills up is penalised"""
    return _penalised(logits, (_used(logits, token_ids) > 0).float(), penalty)


def _step(totals, eos_id, num_beams, num_candidates=None, ends_within=None, runs=None):
    """Candidates of a table of totals (k, V), then who runs and who is finished."""
    V = totals.shape[-1]
    best, places = totals.flatten().topk(num_candidates or 2 * num_beams)
    triples = [(s, i // V, i % V) for s, i in zip(best.tolist(), places.tolist(), strict=True)]
    running = triples if runs == "all" else [t for t in triples if t[2] != eos_id]
    return running[:num_beams], [t for t in triples[: ends_within or num_beams] if t[2] == eos_id]


def forgets_the_scores(scores, log_p, eos_id, num_beams):
    """leaves out what the beams have cost so far: a score is the log-probability of a whole text"""
    return _step(log_p, eos_id, num_beams)


def adds_probabilities(scores, log_p, eos_id, num_beams):
    """adds probabilities of tokens to log-probabilities of beams"""
    return _step(scores[:, None] + log_p.exp(), eos_id, num_beams)


def multiplies_logs(scores, log_p, eos_id, num_beams):
    """multiplies log-probabilities; probabilities multiply, logarithms add"""
    return _step(-(scores[:, None] * log_p), eos_id, num_beams)


def each_beam_alone(scores, log_p, eos_id, num_beams):
    """takes the best extension of each beam: that is greedy decoding several times over"""
    if len(scores) == 1:
        return _step(scores[:, None] + log_p, eos_id, num_beams)
    totals = scores[:, None] + log_p
    best = [(row.max().item(), beam, row.argmax().item()) for beam, row in enumerate(totals)]
    return [t for t in best if t[2] != eos_id], [t for t in best if t[2] == eos_id]


def grows_the_finished(scores, log_p, eos_id, num_beams):
    """lets texts that have ended run on and grow behind their end"""
    return _step(scores[:, None] + log_p, eos_id, num_beams, runs="all")


def too_few_candidates(scores, log_p, eos_id, num_beams):
    """looks at num_beams candidates only: when one of them ends, too few run on"""
    return _step(scores[:, None] + log_p, eos_id, num_beams, num_candidates=num_beams)


def every_ending_counts(scores, log_p, eos_id, num_beams):
    """takes any ending among the 2 * num_beams candidates, also one that was not good enough to run on"""
    return _step(scores[:, None] + log_p, eos_id, num_beams, ends_within=2 * num_beams)


def sorted_by_beam(scores, log_p, eos_id, num_beams):
    """gives the running texts beam by beam instead of the best first"""
    running, finished = _step(scores[:, None] + log_p, eos_id, num_beams)
    return sorted(running, key=lambda triple: triple[1]), finished


def rows_for_columns(scores, log_p, eos_id, num_beams):
    """divides places by the number of beams: beam and token are mixed up"""
    k = len(scores)
    best, places = (scores[:, None] + log_p).flatten().topk(2 * num_beams)
    triples = [(s, i % k, i // k) for s, i in zip(best.tolist(), places.tolist(), strict=True)]
    running = [t for t in triples if t[2] != eos_id][:num_beams]
    return running, [t for t in triples[:num_beams] if t[2] == eos_id]


def _read(model, ids, cache, shift=None, join=None, keep=None, mask=None, source=None):
    """The right pass, with one of its parts changed."""
    T, start = ids.shape[1], 0 if cache is None else cache[0][0].shape[2]
    join = join or (lambda old, new: torch.cat([old, new], dim=2))
    first = start if shift is None else shift(start)
    x = model.token_embedding(ids) + model.position_embedding.weight[first : first + T]
    kept = []
    for number, layer in enumerate(model.layers):
        qkv = layer.attention.qkv(layer.attention_norm(x)).chunk(3, dim=-1)
        q, k, v = new = [split_heads(part, layer.attention.num_heads) for part in qkv]
        if cache is not None:
            old_k, old_v = cache[number if source is None else source]
            k, v = join(old_k, k), join(old_v, v)
        kept.append((k, v) if keep is None else keep(new, (k, v)))
        S = k.shape[2]
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T) if mask is None else mask(T, S)
        x = x + layer.attention.output(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=visible)))
        x = x + layer.feed_forward(layer.feed_forward_norm(x))
    return model.logits(model.norm(x)), kept


def positions_from_zero(model, token_ids, cache=None):
    """gives the new tokens positions from 0 on again: the cache knows how many came before"""
    return _read(model, token_ids, cache, shift=lambda start: 0)


def positions_one_ahead(model, token_ids, cache=None):
    """begins one position too late when there is a cache"""
    return _read(model, token_ids, cache, shift=lambda start: start + (start > 0))


def new_keys_first(model, token_ids, cache=None):
    """puts new keys and values in front of the old ones, so that the mask hides the wrong ones"""
    return _read(model, token_ids, cache, join=lambda old, new: torch.cat([new, old], dim=2))


def values_not_kept(model, token_ids, cache=None):
    """keeps the keys and, in the place of the values, the keys again"""
    return _read(model, token_ids, cache, keep=lambda new, joined: (joined[0], joined[0]))


def keeps_only_the_new(model, token_ids, cache=None):
    """keeps the last part's keys and values only: what came before is forgotten at the next call"""
    return _read(model, token_ids, cache, keep=lambda new, joined: tuple(new[1:]))


def sees_everything(model, token_ids, cache=None):
    """uses no mask, so the tokens of one part see each other's future"""
    return _read(model, token_ids, cache, mask=lambda T, S: torch.ones(T, S, dtype=torch.bool))


def mask_from_the_left(model, token_ids, cache=None):
    """draws the triangle from the first key on (as is_causal=True does): the new tokens see the oldest keys only"""
    return _read(model, token_ids, cache, mask=lambda T, S: torch.ones(T, S, dtype=torch.bool).tril())


def mask_turned_over(model, token_ids, cache=None):
    """turns the mask over: True marks the keys that a query may see"""
    return _read(model, token_ids, cache, mask=lambda T, S: ~torch.ones(T, S, dtype=torch.bool).tril(S - T))


def mask_of_numbers(model, token_ids, cache=None):
    """gives a mask of ones and zeros: numbers are added to the scores, only booleans hide"""
    return _read(model, token_ids, cache, mask=lambda T, S: torch.ones(T, S).tril(S - T))


def forgets_the_cache(model, token_ids, cache=None):
    """takes no notice of the cache: the new tokens are read as if nothing had come before"""
    return _read(model, token_ids, None)


def one_cache_for_all_layers(model, token_ids, cache=None):
    """gives every layer the keys and values of layer 0"""
    return _read(model, token_ids, cache, source=0)


def _padded(prompts, pad_id, on_the_right=False):
    """Rows of the longest prompt's length, and how many tokens each has."""
    T = max(map(len, prompts))
    rows = []
    for prompt in prompts:
        padding = [pad_id] * (T - len(prompt))
        rows.append([*prompt, *padding] if on_the_right else [*padding, *prompt])
    return torch.tensor(rows), torch.tensor([len(prompt) for prompt in prompts])


def pads_on_the_right(prompts, pad_id=0):
    """pads on the right, as for BERT: new tokens would follow padding"""
    ids, lengths = _padded(prompts, pad_id, on_the_right=True)
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]


def mask_turned_round(prompts, pad_id=0):
    """marks the padding instead of the tokens"""
    ids, lengths = _padded(prompts, pad_id)
    return ids, torch.arange(ids.shape[1]) < ids.shape[1] - lengths[:, None]


def mask_as_on_the_right(prompts, pad_id=0):
    """pads on the left and makes the mask of the right"""
    ids, lengths = _padded(prompts, pad_id)
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]


def mask_by_id(prompts, pad_id=0):
    """takes every pad_id for padding, also where a prompt holds that token itself"""
    ids, _ = _padded(prompts, pad_id)
    return ids, ids != pad_id


def pads_with_zero(prompts, pad_id=0):
    """pads with 0 whatever `pad_id` is"""
    ids, lengths = _padded(prompts, 0)
    return ids, torch.arange(ids.shape[1]) >= ids.shape[1] - lengths[:, None]


def all_of_it_is_text(prompts, pad_id=0):
    """marks padding as text, too"""
    ids, _ = _padded(prompts, pad_id)
    return ids, torch.ones_like(ids, dtype=torch.bool)


def cuts_to_the_shortest(prompts, pad_id=0):
    """cuts all prompts to the length of the shortest"""
    T = min(map(len, prompts))
    ids = torch.tensor([prompt[-T:] for prompt in prompts])
    return ids, torch.ones_like(ids, dtype=torch.bool)
