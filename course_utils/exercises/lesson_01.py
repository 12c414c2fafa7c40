"""Exercises of lesson 01: merging a pair, choosing it, encoding with merges and with pieces, framing a batch."""

from collections import Counter

from tokenizers import Tokenizer, models

from course_utils.exercises import lesson_01_wrong as wrong
from course_utils.exercises.expect import expect, expect_equal
from course_utils.exercises.framework import Exercise
from course_utils.exercises.lesson_01_wrong import CLS, PAD, SEP, SPELLED


def expect_list(got, expected: list, *, question: str, tried: str = "") -> None:
    """Equal lists. Both are shown whole: which element differs first says little about the cause."""
    if not isinstance(got, list | tuple):
        expect_equal(got, expected, tried=tried, question=question)
    got = [list(row) if isinstance(row, tuple) else row for row in got]
    expect(got == expected, f"Expected {expected}, got {got}.", question, tried=tried)


def merge_pair(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """The ids with every occurrence of `pair` replaced by `new_id`, from left to right; a token is used only once."""
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def check_merge_pair(merge_pair) -> None:
    """Pairs at the start, inside and at the end, several of them, runs of three and four, and words too short."""
    both_gone = "Both tokens of a pair are gone after a merge. Does your test find the pair, and where do you go on?"
    run = "A token that went into a merge cannot be used again. Reading from the left, where do you go on after one?"
    cases = [
        ([5, 7, 6, 5, 7], (5, 7), [9, 6, 9], both_gone),
        ([7, 5, 6], (5, 7), [7, 5, 6], "5 must stand before 7. Does your test see the order?"),
        ([5, 5, 5], (5, 5), [9, 5], run),
        ([5, 5, 5, 5], (5, 5), [9, 9], run),
        ([5], (5, 7), [5], "What becomes of a token that has no neighbour?"),
        ([], (5, 7), [], "What becomes of a word without tokens?"),
    ]
    for ids, pair, expected, question in cases:
        expect_list(merge_pair(ids, pair, 9), expected, question=question)


def best_pair(pair_counts: dict[tuple[int, int], int]) -> tuple[int, int]:
    """The pair with the highest count; among equals the one with the smaller ids, left id first."""
    return min(pair_counts, key=lambda pair: (-pair_counts[pair], pair))


def check_best_pair(best_pair) -> None:
    """A clear winner, and ties in every order of insertion, decided by the left id and then by the right one."""
    cases = [
        ({(1, 2): 3, (0, 1): 7, (5, 5): 1}, (0, 1)),
        ({(0, 3): 2, (4, 4): 9, (3, 0): 2}, (4, 4)),
        ({(2, 9): 6, (4, 2): 6, (2, 3): 6, (3, 1): 6, (0, 0): 5}, (2, 3)),
        ({(2, 3): 4, (2, 10): 4, (10, 2): 4}, (2, 3)),
    ]
    for counts, expected in cases:
        got = best_pair(Counter(counts))
        question = "The answer is the pair itself, one of the keys. Is that what you return?"
        if isinstance(got, tuple | list) and tuple(got) in counts:
            is_tie = counts[tuple(got)] == counts[expected]
            question = "Which of several pairs with the same count wins?" if is_tie else "Which pair occurs most often?"
        right = isinstance(got, tuple | list) and tuple(got) == expected
        expect(right, f"Expected the pair {expected}, got {got!r}.", question, tried=f"the counts {counts}")


def encode_word(ids: list[int], merges: dict[tuple[int, int], int]) -> list[int]:
    """The tokens of a word; `merges` maps a pair to its new id, in the order in which the merges were learned."""
    rank = {pair: place for place, pair in enumerate(merges)}
    while candidates := [pair for pair in zip(ids[:-1], ids[1:], strict=True) if pair in rank]:
        pair = min(candidates, key=rank.get)
        ids = merge_pair(ids, pair, merges[pair])
    return ids


# bc, ab, cd, bc+d, dd, ab+d, a+bc, c+dd, d+a. The first words tell mistakes apart: each is wrong in its own way.
MERGES = dict(zip([(1, 2), (0, 1), (2, 3), (4, 3), (3, 3), (5, 3), (0, 4), (2, 8), (3, 0)], range(4, 13), strict=True))
WORDS = ["abd", "bcd", "cdd", "dab", "abc", "abcd", "ddd", "dabdbc", "c", "acbd", "bcdabcdd"]


def check_encode_word(encode_word) -> None:
    """Eleven words over the letters a, b, c, d, as the library `tokenizers` encodes them with the same merges."""
    vocab = {text: token_id for token_id, text in enumerate(SPELLED)}
    names = [(SPELLED[left], SPELLED[right]) for left, right in MERGES]
    oracle = Tokenizer(models.BPE(vocab=vocab, merges=names))
    for word in WORDS:
        expect_list(
            encode_word([vocab[letter] for letter in word], dict(MERGES)),
            oracle.encode(word).ids,
            tried=f"the word {word!r}, with the merges {', '.join('+'.join(name) for name in names)}",
            question="Of all merges that apply now, which was learned first?",
        )


def split_word(word: str, vocab: set[str]) -> list[str]:
    """The pieces of one word: the longest in the vocabulary first; `##` marks a piece that goes on with the word."""
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocab]
        if not ends:
            return ["[UNK]"]
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


INSIDE = ["able", "aff", "a", "ff", "b", "le", "n", "all"]  # what may go on with a word
VOCAB = ["[UNK]", "un", "una", "able", "table", "u", "x", *("##" + piece for piece in INSIDE)]
DEAD_END = "After the longest piece, `una`, nothing fits. Does BERT go back and try a shorter one?"


def check_split_word(split_word) -> None:
    """Whole words, continued pieces and words that do not fit, as `tokenizers` splits them with the same vocabulary."""
    vocab = {piece: piece_id for piece_id, piece in enumerate(VOCAB)}
    oracle = models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)
    usual = "Which pieces may go on with a word, which is tried first, and what if none fits?"
    for word in ["able", "unable", "unaffable", "table", "unbn", "unz", "xtable", "z", "unall"]:
        expect_list(
            split_word(word, set(vocab)),
            [token.value for token in oracle.tokenize(word)],
            tried=f"the word {word!r}, with the vocabulary {', '.join(VOCAB[1:])}",
            question=DEAD_END if word == "unall" else usual,
        )


def frame_batch(rows: list[list[int]], max_length: int) -> tuple[list[list[int]], list[list[int]]]:
    """`input_ids` and `attention_mask`. A row is 101, at most `max_length - 2` ids, 102, then 0 up to the longest row.

    The mask is 1 at real tokens, special ones included, and 0 at padding.
    """
    framed = [[101, *row[: max_length - 2], 102] for row in rows]
    length = max(map(len, framed))
    input_ids = [row + [0] * (length - len(row)) for row in framed]
    attention_mask = [[1] * len(row) + [0] * (length - len(row)) for row in framed]
    return input_ids, attention_mask


def check_frame_batch(frame_batch) -> None:
    """Rows that are too long, short and empty; special tokens, padding and mask of each."""
    cases = [
        ([[7, 8]], 9, [[CLS, 7, 8, SEP]], [[1, 1, 1, 1]]),
        ([[7, 8, 9], [5]], 9, [[CLS, 7, 8, 9, SEP], [CLS, 5, SEP, PAD, PAD]], [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        ([[7, 8, 9, 6], []], 4, [[CLS, 7, 8, SEP], [CLS, SEP, PAD, PAD]], [[1, 1, 1, 1], [1, 1, 0, 0]]),
    ]
    for rows, max_length, input_ids, attention_mask in cases:
        answer = frame_batch(rows, max_length)
        expect(
            isinstance(answer, tuple | list) and len(answer) == 2,
            f"Expected two things, input_ids and attention_mask; got {answer!r}.",
            "Does your function return both?",
        )
        question = "Where do 101 and 102 stand, how many ids is there room for with them, and where does padding go?"
        expect_list(answer[0], input_ids, question=question)
        expect_list(answer[1], attention_mask, question="At which places stands a token, special ones included?")


EXERCISES = [
    Exercise(
        "01.1",
        title="merge a pair",
        solution=merge_pair,
        check=check_merge_pair,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.uses_tokens_twice,
            wrong.first_only,
            wrong.forgets_last,
            wrong.keeps_right_half,
            wrong.list_against_tuple,
            wrong.either_order,
            wrong.from_the_right,
            wrong.past_the_end,
        ],
        hints=[
            "A `for` loop cannot skip a token; a `while` loop with an index can.",
            "`tuple(ids[i : i + 2]) == pair` is also right at the last token, where the slice has one element.",
        ],
    ),
    Exercise(
        "01.2",
        title="choose the pair",
        solution=best_pair,
        check=check_best_pair,
        minutes=5,
        difficulty=1,
        wrong=[wrong.first_seen, wrong.largest_ids, wrong.rarest, wrong.ignores_counts, wrong.pair_and_count],
        hints=[
            "`min` and `max` take `key=`, a function; tuples compare by their first element, then by the next.",
            "With `min`, the key `(-count, pair)` wants a high count first and then a small pair.",
        ],
    ),
    Exercise(
        "01.3",
        title="encode a word with merges",
        solution=encode_word,
        check=check_encode_word,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.longest_token,
            wrong.leftmost_pair,
            wrong.smallest_pair,
            wrong.learned_last,
            wrong.one_merge,
            wrong.result_thrown_away,
            wrong.ids_of_its_own,
        ],
        hints=[
            "A dict keeps its order: the first key of `merges` is the merge that was learned first.",
            "It is enough to go through `merges` once, in order, and to merge each pair wherever it stands.",
            "`merge_pair` does the replacing.",
        ],
    ),
    Exercise(
        "01.4",
        title="cut a word into pieces",
        solution=split_word,
        check=check_split_word,
        minutes=15,
        difficulty=2,
        wrong=[
            wrong.without_prefix,
            wrong.prefix_dropped,
            wrong.unknown_part,
            wrong.shortest_first,
            wrong.goes_back,
        ],
        hints=[
            "Try the ends from the end of the word down to `start + 1`.",
            "From the second piece on, look up `'##' + word[start:end]`.",
            'If no end fits, the answer is `["[UNK]"]`, whatever was found before.',
        ],
    ),
    Exercise(
        "01.5",
        title="a batch for BERT",
        solution=frame_batch,
        check=check_frame_batch,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.cut_off_sep,
            wrong.no_room,
            wrong.inverted_mask,
            wrong.specials_hidden,
            wrong.padded_inside,
            wrong.padded_left,
            wrong.padded_to_limit,
        ],
        hints=[
            "Cut the text to `max_length - 2` ids before 101 and 102 go around it.",
            "Pad last, when the longest framed row is known.",
        ],
    ),
]
