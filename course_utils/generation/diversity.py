"""How varied texts are: what a text repeats of itself, and what several texts have in common.

Texts are sequences of words or token ids, already cut up. `chat.compare.distinct_n` is the third such measure; it
pools all texts. Nothing here judges whether a text is any good: random words are the most varied of all.
"""

from collections import Counter
from collections.abc import Hashable, Sequence


def repeated_share(tokens: Sequence[Hashable], n: int) -> float:
    """The share of a text's n-grams that stood in it before, from 0 to nearly 1; 0 for a text shorter than n.

    Welleck et al. 2020, section 6.1 ("seq-rep-n"). Raises ValueError unless n >= 1.
    """
    counts = _ngrams(tokens, n)
    return 1 - len(counts) / counts.total() if counts else 0.0


def self_overlap(texts: Sequence[Sequence[Hashable]], n: int) -> float:
    """The share of a text's n-grams that another text has too, as often, as a mean over all ordered pairs of texts.

    The idea is self-BLEU (Zhu et al. 2018, section 3.3), for one n and pair by pair: BLEU takes the best match among
    all other texts, and so grows with their number. Texts shorter than n are left out.
    Raises ValueError for fewer than two texts with n-grams, or unless n >= 1.
    """
    counts = [counts for text in texts if (counts := _ngrams(text, n))]
    if len(counts) < 2:
        raise ValueError(f"self_overlap compares at least two texts of {n} tokens or more; got {len(counts)} of them.")
    shares = [(a & b).total() / a.total() for i, a in enumerate(counts) for j, b in enumerate(counts) if i != j]
    return sum(shares) / len(shares)


def _ngrams(tokens: Sequence[Hashable], n: int) -> Counter:
    """How often each run of n tokens occurs."""
    if n < 1:
        raise ValueError(f"n-grams need n from 1; got {n}.")
    return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))
