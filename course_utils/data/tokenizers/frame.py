"""From lists of token ids to what a model reads: truncation, special tokens, padding, attention masks, token types.

The frame of Devlin et al., *BERT*, NAACL 2019, section 3: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]. Knows no text.
"""

from collections.abc import Sequence

from course_utils.errors import UserError


def frame(
    ids: Sequence[int], pair: Sequence[int] | None, cls_id: int, sep_id: int, max_length: int | None = None
) -> tuple[list[int], list[int]]:
    """Token ids [CLS] ids [SEP] (pair [SEP]) and their token types (0 up to the first [SEP], then 1), both (T,).

    With `max_length`, text is cut at its end so that T <= max_length; special tokens stay. Of two texts the longer is
    cut first, and both to equal halves when that is not enough; the second keeps the odd token. Raises UserError if
    `max_length` has no room for the special tokens.
    """
    num_special = 2 if pair is None else 3
    if max_length is not None:
        if max_length < num_special:
            raise UserError(f"max_length must be at least {num_special}, for the special tokens; got {max_length}.")
        room = max_length - num_special
        ids, pair = (ids[:room], None) if pair is None else truncate_pair(ids, pair, room)
    framed = [cls_id, *ids, sep_id]
    if pair is None:
        return framed, [0] * len(framed)
    return framed + [*pair, sep_id], [0] * len(framed) + [1] * (len(pair) + 1)


def truncate_pair(a: Sequence[int], b: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """Both texts, cut at their ends to `room` tokens together."""
    shorter, longer = sorted((len(a), len(b)))
    longer = min(longer, max(shorter, room - shorter))
    if shorter + longer > room:
        shorter, longer = room // 2, room - room // 2
    num_a, num_b = (shorter, longer) if len(a) <= len(b) else (longer, shorter)
    return a[:num_a], b[:num_b]


def pad(rows: Sequence[Sequence[int]], value: int) -> tuple[list[list[int]], list[list[int]]]:
    """Rows of equal length T, filled up with `value` on the right, and their attention masks: 1 real, 0 padding."""
    length = max(map(len, rows), default=0)
    padded = [[*row, *[value] * (length - len(row))] for row in rows]
    return padded, [[1] * len(row) + [0] * (length - len(row)) for row in rows]
