"""Learning merges: the most frequent pair of neighbouring tokens becomes one token, again and again.

The algorithm of Sennrich, Haddow and Birch, *Neural Machine Translation of Rare Words with Subword Units*, ACL 2016,
section 3.2, for BPE and for WordPiece. Ties go to the smaller pair of ids, as in `tokenizers`. It does not read text.

A word is a string with one character for each token, `chr(id)`: so `str.replace` merges a pair, from left to right.
"""

import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush

Pair = tuple[int, int]


def pairs_of(word: str) -> list[str]:
    """Neighbouring tokens of a word, overlapping ones included: "aaa" holds two pairs "aa"."""
    return list(map(operator.add, word, word[1:]))


def learn_merges(
    words: Mapping[str, int],
    tokens: Sequence,
    vocab_size: int,
    min_count: int = 1,
    join: Callable = operator.add,
) -> tuple[list[Pair], list]:
    """The merges (pairs of ids) in the order learned, and all tokens: `tokens` followed by those that merges made.

    `words` maps a word to how often it occurs; `tokens` says what each id stands for, and `join` what a merge makes of
    two of them. Ends at `vocab_size` tokens, or when no pair is left that occurs `min_count` times. Where two merges
    spell the same token, it keeps its first id.
    """
    state = _Words(words)
    heap = [(-count, pair) for pair, count in state.pair_counts.items()]
    heapify(heap)
    tokens, merges = list(tokens), {}
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    while heap and len(tokens) < vocab_size:
        negative_count, pair = heappop(heap)
        count = state.pair_counts.get(pair, 0)
        if count != -negative_count:  # the pair has become rarer since it was pushed: back with its count of today
            if count > 0:
                heappush(heap, (-count, pair))
            continue
        if count < max(min_count, 1):
            break
        left, right = map(ord, pair)
        token = join(tokens[left], tokens[right])
        if token not in ids:
            ids[token] = len(tokens)
            tokens.append(token)
        merges.setdefault((left, right), None)  # a merge may come up again after another one spelled its left token
        for new_pair in state.merge(pair, chr(ids[token])):
            heappush(heap, (-state.pair_counts[new_pair], new_pair))
    return list(merges), tokens


class _Words:
    """The words as merged so far, how often each pair occurs in them, and an index: which words hold a pair."""

    def __init__(self, words: Mapping[str, int]):
        self.spellings, self.counts = list(words), list(words.values())
        self.pair_counts: Counter[str] = Counter()
        self.where: defaultdict[str, set[int]] = defaultdict(set)
        for index, (word, count) in enumerate(words.items()):
            for pair in pairs_of(word):
                self.pair_counts[pair] += count
                self.where[pair].add(index)

    def merge(self, pair: str, merged: str) -> set[str]:
        """Replace a pair in the words that hold it, and keep the counts true; returns the pairs that arose."""
        pair_counts, where, arose = self.pair_counts, self.where, set()
        for index in where.pop(pair):
            before, count = self.spellings[index], self.counts[index]
            after = before.replace(pair, merged)
            if after == before:  # an earlier merge took the pair's tokens; the index was not told
                continue
            self.spellings[index] = after
            for old in pairs_of(before):
                pair_counts[old] -= count
            for new in pairs_of(after):
                pair_counts[new] += count
                if merged in new:
                    where[new].add(index)
                    arose.add(new)
        del pair_counts[pair]
        return arose
