"""What checks are written with: `expect`, `expect_equal`, `expect_close`. Each either returns or raises `Failure`.

A failure says what was tried, expected and got, at the first place where they differ, and asks a question about the
likely cause. Nothing here decides how that looks (see `display`) or runs anything (see `guard`).
"""

import numbers
import os
from typing import Any

import numpy as np

from course_utils.exercises.describe import (
    SMALL_ARRAY,
    array_kind,
    as_array,
    describe,
    dtype_name,
    show_array,
    show_number,
)

SHORT_TEXT = 40  # characters: both texts then fit into the sentence
KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "floating point", "c": "complex"}


class Failure(AssertionError):
    """A wrong answer. `headline`: one or two sentences; `detail`: a preformatted block; `question`: likely cause."""

    def __init__(self, headline: str, question: str = "", detail: str = "", tried: str = "", got: Any = None):
        super().__init__(headline)
        self.headline, self.question, self.detail, self.tried, self.got = headline, question, detail, tried, got


def expect(condition: bool, message: str, question: str = "", *, tried: str = "") -> None:
    """Fail with `message` unless the condition holds; the message must contain what was got."""
    if not condition:
        raise Failure(message, question, tried=tried)


def expect_close(
    got: Any,
    expected: Any,
    *,
    tried: str = "",
    question: str = "",
    atol: float = 1e-5,
    rtol: float = 1e-4,
    dtype: Any = None,
) -> None:
    """Equal kind, shape and values within `atol + rtol * |expected|`; lists, tuples and dicts element by element.

    Floating-point widths may differ (an oracle often runs in float64) unless `dtype` names the exact one.
    """
    try:
        compare(got, expected, "", atol, rtol)
        if dtype is not None and dtype_name(got) != str(dtype).removeprefix("torch."):
            raise Failure(f"The values are right, but the dtype is {dtype_name(got)} instead of {dtype}.")
    except Failure as failure:
        failure.tried, failure.question = failure.tried or tried, failure.question or question
        raise


def expect_equal(got: Any, expected: Any, *, tried: str = "", question: str = "") -> None:
    """Exactly equal: numbers, texts, lists, dicts, sets, and arrays without tolerance."""
    expect_close(got, expected, tried=tried, question=question, atol=0.0, rtol=0.0)


def compare(got: Any, expected: Any, place: str, atol: float, rtol: float) -> None:
    """Raise `Failure` at the first difference; `place` is where inside a list or dict we are, like `[2]['loss']`."""
    if got is None and expected is not None:
        wanted = describe(expected).removeprefix("the number ").removeprefix("the text ")
        raise Failure(f"Expected {wanted}{at(place)}, got None.", "Did you forget `return`?")
    if array_kind(expected):
        compare_arrays(got, expected, place, atol, rtol)
    elif isinstance(expected, bool | str | None):
        compare_plain(got, expected, place)
    elif isinstance(expected, numbers.Number):
        compare_numbers(got, expected, place, atol, rtol)
    elif isinstance(expected, dict):
        compare_dicts(got, expected, place, atol, rtol)
    elif isinstance(expected, list | tuple):
        compare_lists(got, expected, place, atol, rtol)
    else:
        compare_plain(got, expected, place)


def both(got: Any, expected: Any) -> str:
    return f"expected: {expected!r}\ngot:      {got!r}"


def at(place: str) -> str:
    return f" at {place}" if place else ""


def compare_plain(got: Any, expected: Any, place: str) -> None:
    """Texts, booleans, None, sets and anything with `==`."""
    if isinstance(expected, bool) and array_kind(got) is None and isinstance(got, np.bool_):
        got = bool(got)
    if type(got) is not type(expected) and not isinstance(got, type(expected)):
        raise Failure(f"Expected {describe(expected)}{at(place)}, got {describe(got)}.", got=got)
    if got == expected:
        return
    if isinstance(expected, str) and max(len(got), len(expected)) > SHORT_TEXT:
        i = len(os.path.commonprefix([got, expected]))
        where = f"They differ from character {i} on: expected {expected[i : i + 20]!r}, got {got[i : i + 20]!r}."
        raise Failure(f"The texts differ{at(place)}. {where}", detail=both(got, expected), got=got)
    raise Failure(f"Expected {expected!r}{at(place)}, got {got!r}.", got=got)


def compare_numbers(got: Any, expected: Any, place: str, atol: float, rtol: float) -> None:
    """Python and NumPy numbers, and arrays that hold exactly one value."""
    if array_kind(got) and as_array(got).size == 1:
        got = as_array(got).item()
    if isinstance(got, bool | np.bool_) or not isinstance(got, numbers.Number):
        raise Failure(f"Expected a number{at(place)}, got {describe(got)}.", got=got)
    if not np.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True):
        raise Failure(f"Expected {show_number(expected)}{at(place)}, got {show_number(got)}.", got=got)


def compare_dicts(got: Any, expected: dict, place: str, atol: float, rtol: float) -> None:
    """The same keys in any order, then value by value."""
    if not isinstance(got, dict):
        raise Failure(f"Expected a dict{at(place)}, got {describe(got)}.", got=got)
    missing, extra = [k for k in expected if k not in got], [k for k in got if k not in expected]
    if missing or extra:
        parts = [f"missing {missing}"] * bool(missing) + [f"not expected {extra}"] * bool(extra)
        raise Failure(f"The keys differ{at(place)}: {', '.join(parts)}.", got=got)
    for key in expected:
        compare(got[key], expected[key], f"{place}[{key!r}]", atol, rtol)


def compare_lists(got: Any, expected: list | tuple, place: str, atol: float, rtol: float) -> None:
    """Lists and tuples alike; the first differing element, or else the lengths."""
    if not isinstance(got, list | tuple):
        raise Failure(
            f"Expected a {type(expected).__name__} of {len(expected)}{at(place)}, got {describe(got)}.", got=got
        )
    try:
        for i, (a, b) in enumerate(zip(got, expected, strict=False)):
            compare(a, b, f"{place}[{i}]", atol, rtol)
        if len(got) != len(expected):
            raise Failure(f"Expected {len(expected)} elements{at(place)}, got {len(got)}.", got=got)
    except Failure as failure:
        if not failure.detail and max(len(got), len(expected)) <= SMALL_ARRAY and len(repr((got, expected))) < 600:
            failure.detail = both(got, expected)
        raise


def compare_arrays(got: Any, expected: Any, place: str, atol: float, rtol: float) -> None:
    """Library, shape, kind of number, then values; shows the whole array when it is small, else the first wrong row."""
    kind = array_kind(expected)
    if array_kind(got) != kind:
        raise Failure(f"Expected {describe(expected)}{at(place)}, got {describe(got)}.", got=got)
    if tuple(got.shape) != tuple(expected.shape):
        raise Failure(f"Expected shape {tuple(expected.shape)}{at(place)}, got {tuple(got.shape)}.", got=got)
    mine, right = as_array(got), as_array(expected)
    if KINDS.get(mine.dtype.kind) != KINDS.get(right.dtype.kind):
        kinds = [KINDS.get(a.dtype.kind, str(a.dtype)) for a in (right, mine)]
        raise Failure(f"Expected {kinds[0]} values{at(place)}, got {kinds[1]} ones ({dtype_name(got)}).", got=got)
    exact = mine.dtype.kind not in "fc"
    equal = mine == right if exact else np.isclose(mine, right, rtol=rtol, atol=atol, equal_nan=True)
    if not equal.all():
        raise array_failure(mine, right, ~equal, place)


def array_failure(mine: np.ndarray, right: np.ndarray, wrong: np.ndarray, place: str) -> Failure:
    """The first wrong entry, how many are wrong and by how much, and the values around it."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"{place}[{', '.join(map(str, index))}]" if index else place
    headline = f"Expected {show_number(right[index])}{at(where)}, got {show_number(mine[index])}."
    if mine.size > 1:
        headline += f" {wrong.sum():,} of {mine.size:,} values differ{largest_gap(mine, right, wrong)}."
    if np.isnan(mine).sum() > np.isnan(right).sum() if mine.dtype.kind in "fc" else False:
        headline += " Some are nan: a division 0/0, or infinity minus infinity?"
    if mine.size > SMALL_ARRAY and mine.ndim > 1:  # the row of the first difference
        row = index[:-1]
        mine, right, where = mine[row], right[row], f"row [{', '.join(map(str, row))}] "
    else:
        where = ""
    small = 1 < mine.size <= SMALL_ARRAY
    detail = f"{where}expected:\n{show_array(right)}\n{where}got:\n{show_array(mine)}" if small else ""
    return Failure(headline, detail=detail, got=mine)


def largest_gap(mine: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> str:
    if mine.dtype.kind == "b":
        return ""
    gap = np.abs(mine[wrong].astype(np.float64) - right[wrong].astype(np.float64))
    return f", by up to {show_number(float(gap.max()))}" if np.isfinite(gap).all() else ""
