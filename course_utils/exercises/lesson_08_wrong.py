"""Wrong answers to the exercises of lesson 08 up to top-p, each a misconception that its first line names."""

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


def reads_the_one_before_last(model, input_ids, max_new_tokens, choose, eos_id=None):
    """takes the logits of the last token but one: they speak about the last token, which is there already"""
    return _loop(model, input_ids, max_new_tokens, choose, eos_id, last=-2)


def chooses_itself(model, input_ids, max_new_tokens, choose, eos_id=None):
    """takes the largest logit itself, where `choose` should decide"""
    return _loop(model, input_ids, max_new_tokens, lambda logits, ids: logits.argmax(-1), eos_id)


def gives_probabilities_to_choose(model, input_ids, max_new_tokens, choose, eos_id=None):
    """takes softmax before `choose`, whose temperature and filters work on logits"""
    return _loop(model, input_ids, max_new_tokens, lambda logits, ids: choose(logits.softmax(-1), ids), eos_id)


def one_token_too_many(model, input_ids, max_new_tokens, choose, eos_id=None):
    """goes round once too often"""
    return _loop(model, input_ids, max_new_tokens + 1, choose, eos_id)


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


def no_softmax(logits, temperature, top_k):
    """returns logits: softmax is missing"""
    warmed = logits / temperature
    return warmed.masked_fill(warmed < warmed.topk(top_k, dim=-1).values[:, -1:], -torch.inf)


def values_without_places(logits, temperature, top_k):
    """gives the k largest in their own order; each probability must stand at its token's place"""
    return (logits / temperature).topk(top_k, dim=-1).values.softmax(-1)


def limit_before_temperature(logits, temperature, top_k):
    """compares warmed logits with a limit taken before the temperature"""
    warmed = logits / temperature
    return warmed.masked_fill(warmed < logits.topk(top_k, dim=-1).values[:, -1:], -torch.inf).softmax(-1)


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


def forgets_the_complement(logits, top_p):
    """sorts upwards, but drops the tail while it holds at most p instead of 1 - p"""
    ordered, order = logits.sort(dim=-1)
    goes = ordered.softmax(-1).cumsum(-1) <= top_p
    goes[..., -1] = False
    return logits.masked_fill(torch.zeros_like(goes).scatter(-1, order, goes), -torch.inf)


def marks_stay_sorted(logits, top_p):
    """rules out places of the sorted row; the marks were not brought back to their tokens"""
    p = logits.sort(dim=-1, descending=True).values.softmax(-1)
    return logits.masked_fill(p.cumsum(-1) - p >= top_p, -torch.inf)


def gathers_the_marks(logits, top_p):
    """brings the marks back by `gather`, which sorts them once more; `scatter` undoes the sorting"""
    ordered, order = logits.sort(dim=-1, descending=True)
    p = ordered.softmax(-1)
    return logits.masked_fill((p.cumsum(-1) - p >= top_p).gather(-1, order), -torch.inf)


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


def gives_log_probabilities(logits, top_p):
    """returns log-probabilities; the logits that stay should be those that came in"""
    return _top_p(logits, top_p, lambda p: p.cumsum(-1) - p >= top_p) - logits.logsumexp(-1, keepdim=True)
