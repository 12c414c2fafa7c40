"""Wrong answers to the exercises of lesson 01. The first line of each docstring is the misconception it stands for."""

PAD, CLS, SEP = 0, 101, 102
SPELLED = [
    "a",
    "b",
    "c",
    "d",
    "bc",
    "ab",
    "cd",
    "bcd",
    "dd",
    "abd",
    "abc",
    "cdd",
    "da",
]  # of 01.3: what each id stands for


def uses_tokens_twice(ids, pair, new_id):
    """goes on one place after a merge, so that the middle token of a run is used twice"""
    merged, used = [], set()
    for i in range(len(ids)):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            used |= {i, i + 1}
        elif i not in used:
            merged.append(ids[i])
    return merged


def first_only(ids, pair, new_id):
    """replaces the first occurrence and leaves the others"""
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


def forgets_last(ids, pair, new_id):
    """stops before the last token, which has no right neighbour but is still part of the word"""
    merged, i = [], 0
    while i < len(ids) - 1:
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def keeps_right_half(ids, pair, new_id):
    """puts the new token for the pair's left half and leaves the right half standing"""
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))]


def list_against_tuple(ids, pair, new_id):
    """compares a list with a tuple: they are never equal, so no pair is found"""
    return list(ids)


def either_order(ids, pair, new_id):
    """takes the pair in either order; (5, 7) is not (7, 5)"""
    merged, i = [], 0
    while i < len(ids):
        found = sorted(ids[i : i + 2]) == sorted(pair)
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def from_the_right(ids, pair, new_id):
    """reads from right to left, so in a run of three the wrong token stays alone"""
    return merge_from_left(ids[::-1], pair[::-1], new_id)[::-1]


def merge_from_left(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def past_the_end(ids, pair, new_id):
    """looks at `ids[i + 1]` at the last token too, which has no right neighbour"""
    merged, i = [], 0
    while i < len(ids):
        found = ids[i] == pair[0] and ids[i + 1] == pair[1]
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def first_seen(pair_counts):
    """takes the first of several equal pairs, so the result depends on the order of the text"""
    return max(pair_counts, key=pair_counts.get)


def largest_ids(pair_counts):
    """breaks ties towards the larger ids: `max` over (count, pair) prefers large pairs"""
    return max(pair_counts, key=lambda pair: (pair_counts[pair], pair))


def rarest(pair_counts):
    """takes the rarest pair"""
    return min(pair_counts, key=lambda pair: (pair_counts[pair], pair))


def ignores_counts(pair_counts):
    """takes the smallest ids whatever the counts; ids only decide between equal counts"""
    return min(pair_counts)


def pair_and_count(pair_counts):
    """returns the pair together with its count"""
    return min(pair_counts.items(), key=lambda item: (-item[1], item[0]))


def longest_token(ids, merges):
    """takes the longest token of the vocabulary that fits; BPE replays its merges, which is not the same"""
    tokens, word = [], "".join(SPELLED[i] for i in ids)
    while word:
        token = max((t for t in SPELLED if word.startswith(t)), key=len)
        tokens.append(SPELLED.index(token))
        word = word[len(token) :]
    return tokens


def leftmost_pair(ids, merges):
    """merges the leftmost pair that can be merged, whichever was learned first"""
    ids = list(ids)
    while places := [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) in merges]:
        i = places[0]
        ids[i : i + 2] = [merges[ids[i], ids[i + 1]]]
    return ids


def smallest_pair(ids, merges):
    """takes the pair with the smallest ids: that rule breaks ties in training, encoding follows the order learned"""
    ids = list(ids)
    while found := [pair for pair in zip(ids[:-1], ids[1:], strict=True) if pair in merges]:
        ids = merge_from_left(ids, min(found), merges[min(found)])
    return ids


def learned_last(ids, merges):
    """takes the merge that was learned last; the first one learned goes first"""
    ids = list(ids)
    while found := [pair for pair in zip(ids[:-1], ids[1:], strict=True) if pair in merges]:
        pair = max(found, key=list(merges).index)
        ids = merge_from_left(ids, pair, merges[pair])
    return ids


def result_thrown_away(ids, merges):
    """calls `merge_pair` and drops its result; it returns a new list and leaves `ids` alone"""
    return list(ids)


def ids_of_its_own(ids, merges):
    """counts the new ids itself; `merges` says which id each pair becomes"""
    for rank, pair in enumerate(merges):
        ids = merge_from_left(ids, pair, 256 + rank)
    return ids


def one_merge(ids, merges):
    """applies one merge and stops, although the new token may be half of another pair"""
    for pair, new_id in merges.items():
        if pair in zip(ids[:-1], ids[1:], strict=True):
            i = list(zip(ids[:-1], ids[1:], strict=True)).index(pair)
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


def without_prefix(word, vocab):
    """looks for pieces without ##, so that the inside of a word is cut like the beginning of one"""
    pieces, start = [], 0
    while start < len(word):
        ends = [end for end in range(len(word), start, -1) if word[start:end] in vocab]
        if not ends:
            return ["[UNK]"]
        pieces.append(word[start : ends[0]])
        start = ends[0]
    return pieces


def prefix_dropped(word, vocab):
    """finds the right pieces and returns them without their ##; `able` and `##able` are different tokens"""
    return [piece.removeprefix("##") for piece in longest_first(word, vocab)]


def longest_first(word, vocab, start=0):
    """The right answer."""
    if start == len(word):
        return []
    prefix = "##" if start else ""
    for end in range(len(word), start, -1):
        if prefix + word[start:end] in vocab:
            rest = longest_first(word, vocab, end)
            return ["[UNK]"] if rest == ["[UNK]"] else [prefix + word[start:end], *rest]
    return ["[UNK]"]


def goes_back(word, vocab, start=0):
    """goes back to a shorter piece where it gets stuck; BERT never does, and gives up the word"""
    if start == len(word):
        return []
    prefix = "##" if start else ""
    for end in range(len(word), start, -1):
        if prefix + word[start:end] in vocab and (rest := goes_back(word, vocab, end)) != ["[UNK]"]:
            return [prefix + word[start:end], *rest]
    return ["[UNK]"]


def unknown_part(word, vocab):
    """puts [UNK] for the part that fits nowhere; BERT gives up the whole word"""
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocab]
        if not ends:
            return [*pieces, "[UNK]"]
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


def shortest_first(word, vocab):
    """takes the shortest piece instead of the longest"""
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(start + 1, len(word) + 1) if prefix + word[start:end] in vocab]
        if not ends:
            return ["[UNK]"]
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


def _right(rows, max_length):
    framed = [[CLS, *row[: max_length - 2], SEP] for row in rows]
    length = max(map(len, framed))
    rests = [length - len(row) for row in framed]
    mask = [[1] * len(row) + [0] * rest for row, rest in zip(framed, rests, strict=True)]
    return [row + [PAD] * rest for row, rest in zip(framed, rests, strict=True)], mask


def cut_off_sep(rows, max_length):
    """cuts after framing, so that a long row loses its [SEP]"""
    framed = [[CLS, *row, SEP][:max_length] for row in rows]
    length = max(map(len, framed))
    padding = [[PAD] * (length - len(row)) for row in framed]
    return [r + p for r, p in zip(framed, padding, strict=True)], [
        [1] * len(r) + [0] * len(p) for r, p in zip(framed, padding, strict=True)
    ]


def no_room(rows, max_length):
    """cuts the text to `max_length` and adds the special tokens afterwards; they count too"""
    return _right(rows, max_length + 2)


def specials_hidden(rows, max_length):
    """hides the special tokens; only padding is hidden"""
    input_ids, _ = _right(rows, max_length)
    return input_ids, [[int(i not in (CLS, SEP, PAD)) for i in row] for row in input_ids]


def padded_left(rows, max_length):
    """pads on the left; BERT's texts begin at the first place"""
    input_ids, mask = _right(rows, max_length)
    turned = [(row[-row.count(PAD) :] + row[: -row.count(PAD)]) if PAD in row else row for row in input_ids]
    return turned, [sorted(row) for row in mask]


def inverted_mask(rows, max_length):
    """marks padding with 1 and text with 0: the mask says where to look, not what to hide"""
    input_ids, mask = _right(rows, max_length)
    return input_ids, [[1 - value for value in row] for row in mask]


def padded_inside(rows, max_length):
    """pads first and frames afterwards, so that padding stands between the text and its [SEP]"""
    cut = [row[: max_length - 2] for row in rows]
    length = max(map(len, cut))
    input_ids = [[CLS, *row, *[PAD] * (length - len(row)), SEP] for row in cut]
    return input_ids, [[int(i != PAD) for i in row] for row in input_ids]


def padded_to_limit(rows, max_length):
    """pads to max_length, which costs time for nothing: the longest row of the batch is enough"""
    input_ids, mask = _right(rows, max_length)
    more = [0] * (max_length - len(input_ids[0]))
    return [row + more for row in input_ids], [row + more for row in mask]
