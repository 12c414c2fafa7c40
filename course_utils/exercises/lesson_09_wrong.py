"""Wrong answers to the exercises of lesson 09; the first line of each docstring is the misconception it stands for."""

import math

import torch

from course_utils.chat.compare import distinct_n, mean_log_prob
from course_utils.chat.retrieval import retrieve_reply
from course_utils.chat.template import fit_to_budget, render_chat

DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def no_end_of_turn(messages, add_generation_prompt=True):
    """leaves out <|im_end|>: the model never learns where a message stops, and will not stop either"""
    return render_chat(messages, add_generation_prompt).replace("<|im_end|>", "")


def no_generation_prompt(messages, add_generation_prompt=True):
    """never opens the assistant's message: whose turn comes next is then left to the model"""
    return render_chat(messages, False)


def no_final_newline(messages, add_generation_prompt=True):
    """forgets the new line after <|im_end|>: one missing character, and these are no longer the tokens of training"""
    return render_chat(messages, add_generation_prompt).replace("<|im_end|>\n", "<|im_end|>")


def always_prompts(messages, add_generation_prompt=True):
    """opens an assistant's message even when it was asked not to, so finished conversations end with an empty answer"""
    return render_chat(messages, True)


def no_newline_after_assistant(messages, add_generation_prompt=True):
    """opens the assistant's message without the new line after the role: one missing character again"""
    return render_chat(messages, False) + ("<|im_start|>assistant" if add_generation_prompt else "")


def closes_what_it_opens(messages, add_generation_prompt=True):
    """closes the assistant's message it has just opened: the model finds an empty answer that is already over"""
    return render_chat(messages, add_generation_prompt) + ("<|im_end|>\n" if add_generation_prompt else "")


def adds_a_system_message(messages, add_generation_prompt=True):
    """adds a system message where there is none, as this model's own template does: only the messages given count"""
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": DEFAULT_SYSTEM}, *messages]
    return render_chat(messages, add_generation_prompt)


def strips_content(messages, add_generation_prompt=True):
    """strips the content: white space at its ends is part of what was said"""
    stripped = [message | {"content": message["content"].strip()} for message in messages]
    return render_chat(stripped, add_generation_prompt)


def split_system(messages):
    """The system message, if any, and the rest."""
    num_system = messages[0]["role"] == "system"
    return messages[:num_system], messages[num_system:]


def drops_system(messages, budget_tokens, count_tokens):
    """treats the system message as just the oldest message, so the bot forgets its instructions first"""
    while len(messages) > 1 and count_tokens(messages) > budget_tokens:
        messages = messages[1:]
    return messages


def keeps_the_oldest(messages, budget_tokens, count_tokens):
    """keeps the beginning of the conversation and drops its end, the message to be answered included"""
    while len(messages) > 1 and count_tokens(messages) > budget_tokens:
        messages = messages[:-1]
    return messages


def drops_single_messages(messages, budget_tokens, count_tokens):
    """drops messages one by one, so the history can begin with an answer whose question is gone"""
    system, history = split_system(messages)
    while len(history) > 1 and count_tokens(system + history) > budget_tokens:
        history = history[1:]
    return system + history


def forgets_to_count_system(messages, budget_tokens, count_tokens):
    """counts the history alone: with the system message the prompt is over budget"""
    system, history = split_system(messages)
    return system + fit_to_budget(history, budget_tokens, count_tokens)


def cuts_words(messages, budget_tokens, count_tokens):
    """cuts words off the oldest turn instead of dropping it, which leaves half a sentence"""
    messages = [dict(message) for message in messages]
    while count_tokens(messages) > budget_tokens:
        oldest = next(m for m in split_system(messages)[1] if m["content"])
        oldest["content"] = " ".join(oldest["content"].split()[1:])
    return messages


def drops_nothing(messages, budget_tokens, count_tokens):
    """returns the conversation as it is, whatever it costs"""
    return messages


def drops_once(messages, budget_tokens, count_tokens):
    """drops one exchange and does not look again: the rest may still be too long"""
    system, history = split_system(messages)
    return system + (history[2:] if count_tokens(messages) > budget_tokens else history)


def below_the_budget(messages, budget_tokens, count_tokens):
    """wants the prompt shorter than the budget; exactly the budget is allowed"""
    return fit_to_budget(messages, budget_tokens - 1, count_tokens)


def forgets_the_past(messages, budget_tokens, count_tokens):
    """throws the whole history away as soon as it does not fit, instead of the oldest exchanges"""
    return messages if count_tokens(messages) <= budget_tokens else split_system(messages)[0] + messages[-1:]


def empties_the_prompt(messages, budget_tokens, count_tokens):
    """goes on dropping until nothing is left to answer: the last message stays whatever it costs"""
    system, history = split_system(messages)
    while history and count_tokens(system + history) > budget_tokens:
        history = history[2:]
    return system + history


def expects_a_system_message(messages, budget_tokens, count_tokens):
    """takes the first message for the system message, whatever its role"""
    return messages[:1] + fit_to_budget(messages[1:], budget_tokens, lambda rest: count_tokens(messages[:1] + rest))


def skips_what_is_long(messages, budget_tokens, count_tokens):
    """skips an exchange that does not fit and keeps an older one: the model reads a conversation with a hole"""
    system, history = split_system(messages)
    kept = history[-1:]
    for start in range(len(history) - 3, -1, -2):
        longer = history[start : start + 2] + kept
        kept = longer if count_tokens(system + longer) <= budget_tokens else kept
    return system + kept


def counts_one_by_one(messages, budget_tokens, count_tokens):
    """adds up the cost of single messages: what a prompt costs only once is then counted for each of them"""
    return fit_to_budget(messages, budget_tokens, lambda kept: sum(count_tokens([message]) for message in kept))


def repeats_the_message(query, message_vectors, messages, replies):
    """returns the message it found instead of the reply that followed: an echo, not a conversation"""
    reply, cosine = retrieve_reply(query, message_vectors, messages, replies)
    return messages[replies.index(reply)], cosine


def by_dot_product(query, message_vectors, messages, replies):
    """compares by dot product without normalising, so long vectors win whatever they mean"""
    scores = message_vectors @ query
    return replies[scores.argmax().item()], scores.max().item()


def least_similar(query, message_vectors, messages, replies):
    """takes the smallest cosine as if it were a distance, and answers the least similar message"""
    scores = torch.nn.functional.cosine_similarity(message_vectors, query[None], dim=-1)
    return replies[scores.argmin().item()], scores.min().item()


def nearest_point(query, message_vectors, messages, replies):
    """takes the smallest distance between the points; a cosine asks for the direction and ignores the lengths"""
    best = (message_vectors - query).norm(dim=-1).argmin().item()
    return replies[best], torch.nn.functional.cosine_similarity(message_vectors[best], query, dim=0).item()


def normalises_over_messages(query, message_vectors, messages, replies):
    """normalises over the messages (dim 0): each vector has to get length 1, which is the last dim"""
    normalize = torch.nn.functional.normalize
    scores = normalize(message_vectors, dim=0) @ normalize(query, dim=-1)
    return replies[scores.argmax().item()], scores.max().item()


def query_as_it_is(query, message_vectors, messages, replies):
    """leaves the query at its own length: the order stays right, but the number is no cosine and can exceed 1"""
    scores = torch.nn.functional.normalize(message_vectors, dim=-1) @ query
    return replies[scores.argmax().item()], scores.max().item()


def returns_the_place(query, message_vectors, messages, replies):
    """returns the place in the list; the bot should say the reply that stands there"""
    reply, cosine = retrieve_reply(query, message_vectors, messages, replies)
    return replies.index(reply), cosine


def cosine_first(query, message_vectors, messages, replies):
    """returns cosine and reply in the wrong order"""
    return retrieve_reply(query, message_vectors, messages, replies)[::-1]


def sums_instead(logits, token_ids, num_prompt_tokens):
    """adds the log-probabilities up without dividing by their number, so long replies always look bad"""
    return mean_log_prob(logits, token_ids, num_prompt_tokens) * (len(token_ids) - num_prompt_tokens)


def reads_own_position(logits, token_ids, num_prompt_tokens):
    """off by one: looks a token up in the logits of its own position, which already predict the token after it"""
    log_probs = logits[num_prompt_tokens:].log_softmax(-1)
    return log_probs.gather(-1, token_ids[num_prompt_tokens:, None]).mean().item()


def counts_the_prompt(logits, token_ids, num_prompt_tokens):
    """averages over the prompt's tokens too, which are the same for every candidate and drown the difference"""
    return mean_log_prob(logits, token_ids, 1)


def forgets_softmax(logits, token_ids, num_prompt_tokens):
    """takes logits for log-probabilities: they are only comparable after softmax"""
    return logits[num_prompt_tokens - 1 : -1].gather(-1, token_ids[num_prompt_tokens:, None]).mean().item()


def returns_the_loss(logits, token_ids, num_prompt_tokens):
    """returns the loss, the negative of what was asked: a likely reply should get the larger number"""
    return -mean_log_prob(logits, token_ids, num_prompt_tokens)


def mean_of_probabilities(logits, token_ids, num_prompt_tokens):
    """averages the probabilities without taking logarithms"""
    probs = logits[num_prompt_tokens - 1 : -1].softmax(-1)
    return probs.gather(-1, token_ids[num_prompt_tokens:, None]).mean().item()


def log_of_the_mean(logits, token_ids, num_prompt_tokens):
    """takes the logarithm of the mean probability; asked for is the mean of the logarithms"""
    return math.log(mean_of_probabilities(logits, token_ids, num_prompt_tokens))


def softmax_over_positions(logits, token_ids, num_prompt_tokens):
    """lets softmax run over the positions (dim 0) instead of the vocabulary"""
    log_probs = logits.log_softmax(0)[num_prompt_tokens - 1 : -1]
    return log_probs.gather(-1, token_ids[num_prompt_tokens:, None]).mean().item()


def skips_the_first(logits, token_ids, num_prompt_tokens):
    """leaves out the reply's first token, which the prompt's last row speaks about"""
    log_probs = logits[num_prompt_tokens:-1].log_softmax(-1)
    return log_probs.gather(-1, token_ids[num_prompt_tokens + 1 :, None]).mean().item()


def divides_by_everything(logits, token_ids, num_prompt_tokens):
    """divides by all tokens, the prompt's included"""
    share = (len(token_ids) - num_prompt_tokens) / len(token_ids)
    return mean_log_prob(logits, token_ids, num_prompt_tokens) * share


def every_token_in_every_row(logits, token_ids, num_prompt_tokens):
    """looks every token of the reply up in every row; each token has one row of its own"""
    log_probs = logits[num_prompt_tokens - 1 : -1].log_softmax(-1)
    return log_probs[:, token_ids[num_prompt_tokens:]].mean().item()


def over_characters(texts, n):
    """counts n-grams of characters: there are so few letters that every text looks repetitive"""
    spread = [" ".join(text.lower()) for text in texts]
    return distinct_n(spread, n)


def mean_over_texts(texts, n):
    """averages each reply's own share, and so never notices that all replies are the same"""
    return sum(distinct_n([text], n) for text in texts) / len(texts) if texts else 0.0


def across_texts(texts, n):
    """joins the replies first, which invents n-grams that reach from one reply into the next"""
    return distinct_n([" ".join(texts)], n)


def case_matters(texts, n):
    """keeps capitals, so that "I" and "i" count as different words"""
    ngrams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def whole_replies(texts, n):
    """counts different replies instead of different n-grams"""
    return len({text.lower() for text in texts}) / len(texts) if texts else 0.0


def stops_early(texts, n):
    """stops one n-gram before the end of each text"""
    return distinct_n([" ".join(text.split()[:-1]) for text in texts], n)


def shorter_at_the_end(texts, n):
    """begins an n-gram at every word, so that the last ones of a text are shorter than n"""
    ngrams = [tuple(words[i : i + n]) for words in (text.lower().split() for text in texts) for i in range(len(words))]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def blocks_of_words(texts, n):
    """cuts texts into blocks; n-grams overlap"""
    words_of = [text.lower().split() for text in texts]
    ngrams = [tuple(words[i : i + n]) for words in words_of for i in range(0, len(words) - n + 1, n)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0
