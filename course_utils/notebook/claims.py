"""Claims: numbers in prose tied to an expression that the runner evaluates in the live kernel.

    accuracy is 0.73 <!-- claim: accuracy ~= 0.73 ± 0.03; smoke: >= 0.4; gpu: skip -->

`claim_grammar` parses them; this module says what to ask the kernel and judges its answer. It starts no kernel.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from course_utils.notebook.claim_grammar import Claim, Clause, parse_claims

__all__ = ["Claim", "ClaimResult", "Clause", "judge", "kernel_expression", "parse_claims"]

# Tensors and arrays of any library, and their scalars, as plain Python numbers and lists.
_TO_JSON = "lambda v: v.tolist() if hasattr(v, 'tolist') else v.numpy().tolist() if hasattr(v, 'numpy') else float(v)"


@dataclass(frozen=True)
class ClaimResult:
    """What became of one claim: `status` is `ok`, `claim-drift` or `skipped`; `cell` is the id of its markdown cell."""

    text: str
    expression: str
    profile: str
    expected: str
    got: str
    status: str
    message: str = ""
    cell: str = ""

    @property
    def ok(self) -> bool:
        """Whether the claim holds or was not to be evaluated."""
        return self.status != "claim-drift"


def kernel_expression(claim: Claim) -> str:
    """The Python expression to send as a `user_expressions` entry; its value arrives as JSON, whatever its type."""
    return f"__import__('json').dumps(({claim.expression}), default={_TO_JSON})"


def judge(claim: Claim, profile: str, reply: Mapping[str, Any]) -> ClaimResult:
    """Compare the kernel's answer with the clause of `profile`.

    `reply` is the entry of `content["user_expressions"]` for `kernel_expression(claim)`: `{"status": "ok", "data":
    {"text/plain": ...}}`, or the kernel's error with `ename` and `evalue`. An expression that fails is claim-drift.
    """
    clause = claim.clause(profile)
    if clause.is_skip:
        return _result(claim, profile, got="", status="skipped")
    if reply.get("status") != "ok":
        error = f"{reply.get('ename', 'no answer')}: {reply.get('evalue', 'the kernel did not evaluate it')}"
        return _result(claim, profile, got=error, status="claim-drift")
    got = json.loads(ast.literal_eval(reply["data"]["text/plain"]))
    got = got if isinstance(clause.value, list) else _unwrap(got)
    status = "ok" if _holds(clause, got) else "claim-drift"
    return _result(claim, profile, got=_show(clause, got), status=status, off_by=_distance(clause, got))


def _result(claim: Claim, profile: str, got: str, status: str, off_by: str = "") -> ClaimResult:
    clause = claim.clause(profile)
    message = ""
    if status == "claim-drift":
        message = (
            f"the text says {claim.shown!r}; `{claim.expression}` should be {clause.text} under profile {profile!r}, "
            f"got {got}{off_by}. Correct the text, or the code if the text is right."
        )
    return ClaimResult(claim.shown, claim.expression, profile, clause.text, got, status, message)


def _show(clause: Clause, got: Any) -> str:
    rounded = isinstance(got, float) and clause.op != "=="  # what differs in the tenth digit must be seen to differ
    return f"{got:.6g}" if rounded else repr(got)


def _distance(clause: Clause, got: Any) -> str:
    if not (_is_number(got) and _is_number(clause.value)):
        return ""
    return f" (off by {abs(got - clause.value):.3g})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unwrap(got: Any) -> Any:
    """A tensor with one element arrives as nested lists: a claim about a number means that element."""
    while isinstance(got, list) and len(got) == 1:
        got = got[0]
    return got


def _holds(clause: Clause, got: Any) -> bool:
    if clause.op == "==":
        return clause.value == got
    if not _is_number(got):
        return False
    if clause.op == "~=":
        # 0.73 + 0.03 is 0.76 to a reader; binary rounding must not decide.
        return abs(got - clause.value) <= clause.tolerance * (1 + 1e-9) + 1e-15
    return {
        "<": got < clause.value,
        "<=": got <= clause.value,
        ">": got > clause.value,
        ">=": got >= clause.value,
    }[clause.op]
