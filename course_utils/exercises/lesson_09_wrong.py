"""Wrong answers to the exercises of lesson 09; the first line of each docstring is the misconception it stands for."""

import torch

from course_utils.chat.compare import distinct_n, mean_log_prob
from course_utils.chat.retrieval import retrieve_reply
from course_utils.chat.template import fit_to_budget, render_chat


def no_end_of_turn(messages, add_generation_prompt=True):
    """leaves out <|im_end|>: the model never learns where a message stops, and will not stop either"""
    return render_chat(messages, add_generation_prompt).replace("<|im_end|>", "")


def no_generation_prompt(messages, add_generation_prompt=True):
    """never opens the assistant's message: the model may just as well go on writing as the user"""
    return render_chat(messages, False)


def no_final_newline(messages, add_generation_prompt=True):
    """forgets the new line after <|im_end|>: one missing character, and these are no longer the tokens of training"""
    return render_chat(messages, add_generation_prompt).replace("<|im_end|>\n", "<|im_end|>")


def always_prompts(messages, add_generation_prompt=True):
    """opens an assistant's message even when it was asked not to, so finished conversations end with an empty answer"""
    return render_chat(messages, True)


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
    num_system = messages[0]["role"] == "system"
    system, history = messages[:num_system], messages[num_system:]
    while len(history) > 1 and count_tokens(system + history) > budget_tokens:
        history = history[1:]
    return system + history


def forgets_to_count_system(messages, budget_tokens, count_tokens):
    """counts the history alone: with the system message the prompt is over budget"""
    num_system = messages[0]["role"] == "system"
    return messages[:num_system] + fit_to_budget(messages[num_system:], budget_tokens, count_tokens)


def cuts_words(messages, budget_tokens, count_tokens):
    """cuts words off the oldest turn instead of dropping it, which leaves half a sentence"""
    num_system = messages[0]["role"] == "system"
    messages = [dict(message) for message in messages]
    while count_tokens(messages) > budget_tokens:
        oldest = next(m for m in messages[num_system:] if m["content"])
        oldest["content"] = " ".join(oldest["content"].split()[1:])
    return messages


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
