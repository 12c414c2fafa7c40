"""The grammar of claims: from a markdown cell's text to `Claim` objects. It judges nothing.

    TEXT <!-- claim: EXPR OP VALUE [± TOL] [; PROFILE: OP VALUE [± TOL] | skip] -->

Rules that the grammar alone does not settle:

* `~=` without `± TOL` allows one unit of VALUE's last digit or 1%, whichever is larger. `==` is exact. `+-` may stand
  for `±`.
* With `~=` and `==` the last number before the comment is the number shown. It may carry a sign, thousands separators,
  an exponent (`1.5e-8`, `1.5 × 10⁻⁸`), `%`, `k`, `M`, `million`, ... and up to 40 characters of unit without digits. It
  equals VALUE when its digits do, or its digits times its scale: `73%` is 0.73 or 73, `1.2 M` is 1.2 or 1_200_000. Both
  readings are safe, because the kernel's value is compared with VALUE.
* With `==` VALUE may be any Python literal (`"BERT"`, `True`, `(2, 3)`); a string must stand right before the comment.
* Comments inside code spans and fences are text about claims, not claims.
* A claim skipped in every run of `course test` would never be proven, so it is malformed.
"""

import ast
import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from course_utils.errors import UserError
from course_utils.notebook.prose_numbers import Number, number_before, parse_number

OPERATORS = ("~=", "==", "<=", ">=", "<", ">")
PROFILES = ("default", "smoke", "gpu")
PROVING_PROFILES = ("default", "smoke")  # what `course test` runs: learner form by default, solved form under smoke
SHOWN_WORDS = 8

# Leftmost match wins, as in CommonMark: a fence or a code span hides a comment, and a comment hides backticks.
_MARKUP = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=ticks)(?!`)"
    r"|<!--(?P<comment>.*?)(?P<end>-->|\Z)",
    re.DOTALL | re.MULTILINE,
)
_STRING = re.compile(r"'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)
# Two-character signs of Python that hold a comparison character but are no comparison.
_NOT_OPERATORS = ("!=", "<<", ">>", "->", ":=")


@dataclass(frozen=True)
class Clause:
    """What must hold under one profile: `op value`, within `tolerance` for `~=`; `op == "skip"` means not evaluated."""

    op: str
    value: Any = None
    tolerance: float | None = None
    text: str = "skip"

    @property
    def is_skip(self) -> bool:
        return self.op == "skip"


@dataclass(frozen=True)
class Claim:
    """One claim: the text shown before it, the expression, and a clause for each profile that has its own.

    `clauses[""]` is the first clause, which holds for every profile without one of its own.
    """

    shown: str
    expression: str
    clauses: dict[str, Clause]

    def clause(self, profile: str) -> Clause:
        """The clause that holds under `profile`."""
        return self.clauses.get(profile, self.clauses[""])


def parse_claims(markdown: str) -> list[Claim]:
    """The claims of one markdown cell, in order.

    Raises UserError with status `invalid-notebook`, naming the text of the cell, for a malformed claim.
    """
    found, previous_end = [], 0
    for match in _MARKUP.finditer(markdown):
        body = match["comment"]
        if body is None or not re.match(r"\s*claims?\b", body, re.IGNORECASE):
            continue
        before = markdown[previous_end : match.start()].rsplit("\n\n", 1)[-1]
        try:
            found.append(_parse_claim(before, body, closed=match["end"] == "-->"))
        except ValueError as problem:
            text = f"{_last_words(before)} <!--{body}{match['end']}".strip()
            raise UserError(f"malformed claim in {text!r}: {problem}", status="invalid-notebook") from None
        previous_end = match.end()
    return found


def _last_words(text: str) -> str:
    return " ".join(text.split()[-SHOWN_WORDS:])


def _parse_claim(before: str, body: str, closed: bool) -> Claim:
    if not closed:
        raise ValueError("the comment is not closed; end it with `-->`")
    head = re.match(r"\s*claim\s*:(.*)\Z", body, re.DOTALL)
    if not head:
        raise ValueError("write `claim:` and then EXPR OP VALUE")
    first, *others = _split_clauses(head[1])
    expression, clause_text = _split_expression(first)
    clauses = {"": _parse_clause(clause_text)}
    for text in others:
        profile, clause = _parse_profile_clause(text)
        if profile in clauses:
            raise ValueError(f"profile {profile!r} has two clauses; keep one")
        clauses[profile] = clause
    claim = Claim(_last_words(before), expression, clauses)
    _require_shown_equals_value(before, clauses[""])
    if all(claim.clause(profile).is_skip for profile in PROVING_PROFILES):
        raise ValueError(f"skipped under {' and '.join(PROVING_PROFILES)}, so no run would ever prove it; keep one")
    return claim


def _top_level(text: str) -> Iterator[tuple[int, str]]:
    """(position, character) of everything outside strings and brackets."""
    depth, position = 0, 0
    while position < len(text):
        if string := _STRING.match(text, position):
            position = string.end()
            continue
        character = text[position]
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            yield position, character
        position += 1


def _split_clauses(text: str) -> list[str]:
    cuts = [position for position, character in _top_level(text) if character == ";"]
    return [text[start + 1 : end].strip() for start, end in zip([-1, *cuts], [*cuts, len(text)], strict=True)]


def _split_expression(text: str) -> tuple[str, str]:
    """`EXPR OP VALUE ...` -> (EXPR on one line, `OP VALUE ...`); the last comparison outside brackets is OP."""
    last, skip_until = None, 0
    for position, _ in _top_level(text):
        if position < skip_until:
            continue
        pair = text[position : position + 2]
        if pair in OPERATORS or pair in _NOT_OPERATORS:
            last = last if pair in _NOT_OPERATORS else position
            skip_until = position + 2
        elif text[position] in "<>":
            last = position
    if last is None:
        signs = " ".join(OPERATORS)
        raise ValueError(f"no comparison outside brackets; after the expression write one of {signs} and a value")
    source = text[:last].strip()
    if not source:
        raise ValueError("the expression is missing; write EXPR OP VALUE")
    try:
        return ast.unparse(ast.parse(source, mode="eval")), text[last:]
    except SyntaxError as problem:
        raise ValueError(f"`{source}` is not a Python expression ({problem.msg})") from None


def _parse_profile_clause(text: str) -> tuple[str, Clause]:
    match = re.match(r"([A-Za-z_][\w-]*)\s*:\s*(.*)\Z", text, re.DOTALL)
    if not match:
        raise ValueError(f"after `;` write PROFILE: OP VALUE or PROFILE: skip, not {text!r}")
    profile, rest = match[1], match[2].strip()
    if profile not in PROFILES:
        near = difflib.get_close_matches(profile, PROFILES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown profile {profile!r}; the profiles are {', '.join(PROFILES)}{hint}")
    return profile, Clause("skip") if rest == "skip" else _parse_clause(rest)


def _parse_clause(text: str) -> Clause:
    match = re.match(r"(~=|==|<=|>=|<|>)\s*(.*?)\s*(?:(?:±|\+/?-)\s*(\S+)\s*)?\Z", text, re.DOTALL)
    if not match or not match[2]:
        raise ValueError(f"write OP VALUE [± TOL] with OP one of {' '.join(OPERATORS)}, not {text!r}")
    op, value_text, tolerance_text = match.groups()
    if tolerance_text and op != "~=":
        raise ValueError(f"± belongs to ~=, not to {op}; use ~= or drop the tolerance")
    number = parse_number(value_text)
    if number is None:
        return Clause(op, _literal(value_text, op), None, f"{op} {value_text}")
    value = number.plain()
    tolerance = _tolerance(number, tolerance_text) if op == "~=" else None
    shown = f"{value_text} ± {tolerance:g}" if op == "~=" else f"{op} {value_text}"
    return Clause(op, value, tolerance, shown)


def _literal(text: str, op: str) -> Any:
    """A literal that is no number, as JSON would give it back; only `==` can use one."""
    if op != "==":
        raise ValueError(f"{op} compares numbers, and {text!r} is none")
    try:
        return json.loads(json.dumps(ast.literal_eval(text)))
    except (SyntaxError, ValueError, TypeError):
        raise ValueError(f"{text!r} is neither a number nor a Python literal") from None


def _tolerance(value: Number, text: str | None) -> float:
    if text is None:
        return float(max(value.unit, abs(value.value) / 100))
    tolerance = parse_number(text)
    if tolerance is None or tolerance.scale != 1 or tolerance.value <= 0:
        raise ValueError(f"the tolerance must be a positive number, not {text!r}")
    return float(tolerance.value)


def _require_shown_equals_value(before: str, clause: Clause) -> None:
    if clause.op not in ("~=", "=="):
        return
    if isinstance(clause.value, str):
        if not re.sub(r"[\s*_`)\"'”’]+\Z", "", before).endswith(clause.value):
            raise ValueError(f"the text before it must end with {clause.value!r}, but reads {_last_words(before)!r}")
    elif isinstance(clause.value, int | float) and not isinstance(clause.value, bool):
        number = number_before(before)
        wanted = Decimal(str(clause.value))
        if number is None:
            raise ValueError(f"no number stands before it; show {clause.value} in the text")
        if wanted not in (number.digits, number.value):
            raise ValueError(
                f"the text shows {number.text.strip()!r} but the claim says {clause.value}; make them equal"
            )
