"""Wrong answers to the exercises of lesson 08 up to the penalty, each a misconception that its first line names."""

import torch


def _loop(model, ids, num_new, choose, eos_id, last=-1, reads=lambda ids, prompt: ids, in_front=False, keeps_end=True):
    """The right loop, with one of its parts changed."""
    prompt = ids
    for _ in range(num_new):
        token = choose(model(reads(ids, prompt))[:, last], ids)
        if token.item() == eos_id and not keeps_end:
            break
        parts = [ids, token[:, None]]
        ids = torch.cat(parts[::-1] if in_front else parts, dim=1)
        if token.item() == eos_id:
            break
    return ids


def reads_the_first(model, input_ids, max_new_tokens, choose, eos_id=None):
    """takes the logits of the first position, which have seen one token only"""
    return _loop(model, input_ids, max_new_tokens, choose, eos_id, last=0)


def reads_the_prompt_only(model, input_ids, max_new_tokens, choose, eos_id=None):
    """reads the prompt again and again, and never what it has written"""
    return _loop(model, input_ids, max_new_tokens, choose, eos_id, reads=lambda ids, prompt: prompt)


def reads_the_last_token(model, input_ids, max_new_tokens, choose, eos_id=None):
    """gives the model its last token alone; without a cache it has forgotten all that came before"""
    return _loop(model, input_ids, max_new_tokens, choose, eos_id, reads=lambda ids, prompt: ids[:, -1:])


def writes_in_front(model, input_ids, max_new_tokens, choose, eos_id=None):
    """puts new tokens in front of the text"""
    return _loop(model, input_ids, max_new_tokens, choose, eos_id, in_front=True)


def drops_the_end(model, input_ids, max_new_tokens, choose, eos_id=None):
    """stops before the end token is written down; it belongs to the text"""
    return _loop(model, input_ids, max_new_tokens, choose, eos_id, keeps_end=False)


def never_ends(model, input_ids, max_new_tokens, choose, eos_id=None):
    """goes on writing behind the end of the text"""
    return _loop(model, input_ids, max_new_tokens, choose, None)


def counts_the_prompt(model, input_ids, max_new_tokens, choose, eos_id=None):
    """counts the prompt's tokens among the new ones: that is what `max_length` does"""
    return _loop(model, input_ids, max_new_tokens - input_ids.shape[1], choose, eos_id)


def new_tokens_only(model, input_ids, max_new_tokens, choose, eos_id=None):
    """returns the new tokens without the prompt"""
    return _loop(model, input_ids, max_new_tokens, choose, eos_id)[:, input_ids.shape[1] :]


def _top_k(logits, temperature, top_k, dim=-1, ruled_out=-torch.inf):
    """The right distribution, with one of its parts changed."""
    warmed = logits / temperature
    limit = warmed.topk(min(top_k, logits.shape[-1]), dim=-1).values[:, -1:]
    return warmed.masked_fill(warmed < limit, ruled_out).softmax(dim)


def softmax_over_the_batch(logits, temperature, top_k):
    """takes softmax over the batch: columns add up to 1 instead of rows"""
    return _top_k(logits, temperature, top_k, dim=0)


def multiplied(logits, temperature, top_k):
    """multiplies by the temperature, so cold is hot"""
    return _top_k(logits, 1 / temperature, top_k)


def temperature_afterwards(logits, temperature, top_k):
    """divides probabilities by the temperature, after softmax"""
    return _top_k(logits, 1.0, top_k) / temperature


def one_too_few(logits, temperature, top_k):
    """keeps what is larger than the k-th and so loses the k-th itself"""
    warmed = logits / temperature
    limit = warmed.topk(top_k, dim=-1).values[:, -1:]
    return warmed.masked_fill(warmed <= limit, -torch.inf).softmax(-1)


def one_too_many(logits, temperature, top_k):
    """counts places from 0 and keeps one token too many"""
    return _top_k(logits, temperature, top_k + 1)


def logit_zero(logits, temperature, top_k):
    """gives logit 0 to what is ruled out, and e to the 0 is 1"""
    return _top_k(logits, temperature, top_k, ruled_out=0.0)


def not_shared_out(logits, temperature, top_k):
    """sets probabilities to 0 after softmax and does not share out what they held"""
    p = (logits / temperature).softmax(-1)
    return p.masked_fill(p < p.topk(top_k, dim=-1).values[:, -1:], 0.0)


def one_limit_for_all(logits, temperature, top_k):
    """takes one limit for the whole batch instead of one for each row"""
    warmed = logits / temperature
    limit = warmed.topk(top_k, dim=-1).values.min()
    return warmed.masked_fill(warmed < limit, -torch.inf).softmax(-1)


def ties_broken(logits, temperature, top_k):
    """keeps exactly k places, so that of equal tokens one may stay and the other go"""
    best = logits.topk(top_k, dim=-1)
    kept = torch.full_like(logits, -torch.inf).scatter(-1, best.indices, best.values / temperature)
    return kept.softmax(-1)


def _top_p(logits, top_p, goes_of, back=True):
    """Sort, decide what goes, bring the marks back."""
    ordered, order = logits.sort(dim=-1, descending=True)
    goes = goes_of(ordered.softmax(-1))
    if not back:
        return ordered.masked_fill(goes, -torch.inf)
    return logits.masked_fill(torch.zeros_like(goes).scatter(-1, order, goes), -torch.inf)


def drops_the_one_that_crosses(logits, top_p):
    """drops the token that crosses the line; without it the nucleus holds less than p"""

    def goes(p):
        gone = p.cumsum(-1) > top_p + 1e-6
        gone[..., 0] = False
        return gone

    return _top_p(logits, top_p, goes)


def leaves_nothing(logits, top_p):
    """moves the marks on by one for the token that crosses, but the first token can go too: nothing is left to draw"""

    def goes(p):
        gone = p.cumsum(-1) > top_p + 1e-6
        gone[..., 1:] = gone[..., :-1].clone()
        return gone

    return _top_p(logits, top_p, goes)


def keeps_the_tail(logits, top_p):
    """sorts upwards and keeps the least probable tokens"""
    ordered, order = logits.sort(dim=-1)
    p = ordered.softmax(-1)
    goes = p.cumsum(-1) - p >= top_p
    return logits.masked_fill(torch.zeros_like(goes).scatter(-1, order, goes), -torch.inf)


def cuts_by_probability(logits, top_p):
    """compares each probability with 1 - p instead of their sum with p"""
    p = logits.softmax(-1)
    return logits.masked_fill((p < 1 - top_p) & (p < p.max(-1, keepdim=True).values), -torch.inf)


def leaves_it_sorted(logits, top_p):
    """returns sorted logits: they no longer belong to their tokens"""
    return _top_p(logits, top_p, lambda p: p.cumsum(-1) - p >= top_p, back=False)


def sums_over_the_batch(logits, top_p):
    """adds up along the batch: the rows of a batch have nothing to do with each other"""
    if logits.shape[0] == 1:
        return _top_p(logits, top_p, lambda p: p.cumsum(-1) - p >= top_p)
    return _top_p(logits, top_p, lambda p: p.cumsum(0) - p >= top_p)


def sums_logits(logits, top_p):
    """adds up logits; only probabilities add up to 1"""
    ordered, order = logits.sort(dim=-1, descending=True)
    goes = ordered.cumsum(-1) - ordered >= top_p
    return logits.masked_fill(torch.zeros_like(goes).scatter(-1, order, goes), -torch.inf)


def gives_probabilities(logits, top_p):
    """returns probabilities, so that the next filter would take them for logits"""
    return _top_p(logits, top_p, lambda p: p.cumsum(-1) - p >= top_p).softmax(-1)


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
