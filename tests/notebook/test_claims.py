"""Claims: what the grammar accepts, what it refuses and why, and how the kernel's answers are judged."""

import json

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from course_utils.errors import UserError
from course_utils.notebook.claims import judge, kernel_expression, parse_claims

TAILS = ["", "; smoke: >= 0.4", "; smoke: skip", "; smoke: >= 0.4; gpu: ~= 0.91 ± 0.02", "; default: < 5; gpu: skip"]
EXPRESSIONS = [
    ("accuracy", "accuracy"),
    ('largest["as they are"]', "largest['as they are']"),
    ("d['a;b'] + len('x == 3')", "d['a;b'] + len('x == 3')"),
    ("sum(x < 3 for x in xs)", "sum((x < 3 for x in xs))"),
    ("a if b != c else d", "a if b != c else d"),
    ("a if b < c else d", "a if b < c else d"),
    ("n << 2", "n << 2"),
    ("(lambda y: y >= 2)(3)", "(lambda y: y >= 2)(3)"),
    ("f'{x}'.count(\";\")", "f'{x}'.count(';')"),
    ('"""two; < words"""[0]', "'two; < words'[0]"),
    ("f(a,\n  b)", "f(a, b)"),
    ("{k: v for k, v in d.items() if v == 1}['x']", "{k: v for k, v in d.items() if v == 1}['x']"),
]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("written", "parsed"), EXPRESSIONS)
@pytest.mark.parametrize("op", ["~=", "==", "<=", ">=", "<", ">"])
def test_expression_operator_and_profiles_come_apart(written, parsed, op, tail):
    (claim,) = parse_claims(f"it is 0.73 <!-- claim: {written} {op} 0.73{tail} --> here")
    assert claim.expression == parsed
    first = claim.clauses[""]
    assert (first.op, first.value) == (op, 0.73)
    assert list(claim.clauses)[1:] == [part.split(":")[0].strip() for part in tail.split(";")[1:]]


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ("0.73", "0.73"),
        ("73%", "0.73"),
        ("73 %", "0.73"),
        ("73%", "73%"),
        ("73%", "73"),
        ("73.1 percent", "0.731"),
        ("109,386", "109386"),
        ("109,386 parameters", "109_386"),
        ("109\u202f386", "109386"),
        ("**109,386**", "109,386"),
        ("$0.5$", "0.5"),
        ("(about `0.5`)", "0.50"),
        ("0.73 ± 0.03", "0.73"),
        ("1.2 M", "1_200_000"),
        ("1.2 M", "1.2"),
        ("22.7 million weights", "22_700_000"),
        ("6k tokens/s", "6000"),
        ("−0.5", "-0.5"),
        ("-3", "-3"),
        ("3e-8", "0.00000003"),
        ("1.5 × 10⁻⁸", "1.5e-8"),
        ("$1.5 \\times 10^{-8}$", "1.5e-8"),
        ("14 tokens per second", "14"),
        ("GPT-2 needs 12 layers", "12"),
        ("from 3 to 5", "5"),
        (".5", "0.5"),
    ],
)
def test_number_shown_equals_value(shown, value):
    (claim,) = parse_claims(f"Here it is {shown} <!-- claim: x ~= {value} ± 1 -->.")
    assert claim.clauses[""].tolerance == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.7 <!-- claim x ~= 0.7 -->", "write `claim:`"),
        ("0.7 <!-- claims: x ~= 0.7 -->", "write `claim:`"),
        ("0.7 <!-- claim: x ~= 0.7", "not closed"),
        ("0.7 <!-- claim: x -->", "no comparison"),
        ("0.7 <!-- claim: x = 0.7 -->", "no comparison"),
        ("0.7 <!-- claim: f(x ~= 0.7 -->", "no comparison"),
        ("0.7 <!-- claim: ~= 0.7 -->", "expression is missing"),
        ("0.7 <!-- claim: x y ~= 0.7 -->", "not a Python expression"),
        ("0.7 <!-- claim: x ~= -->", "write OP VALUE"),
        ("0.7 <!-- claim: x ~= seven -->", "compares numbers"),
        ("0.7 <!-- claim: x == seven -->", "nor a Python literal"),
        ("0.7 <!-- claim: x ~= 0.7 ± lots -->", "positive number"),
        ("0.7 <!-- claim: x ~= 0.7 ± 0 -->", "positive number"),
        ("0.7 <!-- claim: x ~= 0.7 ± 3% -->", "positive number"),
        ("0.7 <!-- claim: x == 0.7 ± 0.1 -->", "± belongs to ~="),
        ("0.7 <!-- claim: x ~= 0.8 -->", "the text shows '0.7' but the claim says 0.8"),
        ("many <!-- claim: x == 3 -->", "no number stands before it"),
        ("12 layers. And also <!-- claim: x == 12 -->", "no number stands before it"),
        ("BERT <!-- claim: best == 'GPT' -->", "must end with 'GPT'"),
        ("0.7 <!-- claim: x ~= 0.7; smok: skip -->", "did you mean 'smoke'"),
        ("0.7 <!-- claim: x ~= 0.7; smoke -->", "write PROFILE"),
        ("0.7 <!-- claim: x ~= 0.7; -->", "write PROFILE"),
        ("0.7 <!-- claim: x ~= 0.7; gpu: >= 1; gpu: skip -->", "two clauses"),
        ("0.7 <!-- claim: x ~= 0.7; smoke: 0.4 -->", "write OP VALUE"),
        ("0.7 <!-- claim: x ~= 0.7; default: skip; smoke: skip -->", "no run would ever prove it"),
    ],
)
def test_malformed_claim_is_named_with_its_text_and_the_reason(text, reason):
    with pytest.raises(UserError) as caught:
        parse_claims(text)
    assert caught.value.status == "invalid-notebook"
    assert reason in str(caught.value)
    assert text.split()[0] in str(caught.value)


def test_several_claims_in_one_cell_in_order():
    text = "# T\n\nFrom 3 <!-- claim: a == 3 --> to 73% <!--claim: b ~= 0.73 ± 0.01-->\nand less <!-- claim: c < 1 -->."
    assert [claim.expression for claim in parse_claims(text)] == ["a", "b", "c"]
    assert [claim.shown for claim in parse_claims(text)] == ["From 3", "to 73%", "and less"]


@pytest.mark.parametrize(
    "text",
    [
        "write `0.7 <!-- claim: broken -->` to claim",
        "write ``0.7 ` <!-- claim: broken -->`` to claim",
        "```\n0.7 <!-- claim: broken -->\n```",
        "~~~python\n0.7 <!-- claim: broken -->\n~~~\n",
        "an ordinary <!-- comment that makes no c-l-a-i-m -->",
        "no comment at all",
    ],
)
def test_code_and_other_comments_hold_no_claims(text):
    assert parse_claims(text) == []


def test_one_lone_backtick_hides_nothing():
    assert len(parse_claims("a ` b\n\n0.7 <!-- claim: x ~= 0.7 --> c ` d")) == 1


def ask(claim, **names):
    """What a kernel answers: IPython's own evaluation of `user_expressions`."""
    shell = InteractiveShell.instance()
    shell.user_ns.update(names)
    return shell.user_expressions({"claim": kernel_expression(claim)})["claim"]


def result(text, profile="default", **names):
    (claim,) = parse_claims(text)
    return judge(claim, profile, ask(claim, **names))


BFLOAT16 = torch.tensor(0.75, dtype=torch.bfloat16)
WITH_GRADIENT = torch.nn.Parameter(torch.full((1,), 0.75))
VALUES = [
    BFLOAT16,
    WITH_GRADIENT,
    0.75,
    np.float32(0.75),
    np.float64(0.75),
    torch.tensor(0.75),
    torch.tensor([[0.75]]),
    np.array([0.75]),
]


@pytest.mark.parametrize("value", VALUES)
def test_scalars_of_every_library_arrive_as_numbers(value):
    judged = result("0.75 <!-- claim: value ~= 0.75 ± 0.001 -->", value=value)
    assert (judged.status, judged.got) == ("ok", "0.75")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("so it is <!-- claim: value == True -->", np.bool_(True)),
        ("12 <!-- claim: value == 12 -->", np.int64(12)),
        ("12 <!-- claim: value == 12 -->", torch.tensor(12)),
        ("a shape <!-- claim: value == (2, 3) -->", torch.zeros(2, 3).shape),
        ("a shape <!-- claim: value.tolist() == [1, 2] -->", np.array([1, 2])),
        ("a shape <!-- claim: value == [1, 2] -->", np.array([1, 2])),
        ("*BERT* <!-- claim: value == 'BERT' -->", "BERT"),
        ("0.76 <!-- claim: value - 0.01 ~= 0.76 ± 0.03 -->", 0.80),
        ("0.76 <!-- claim: value ~= 0.76 ± 0.03 -->", 0.73),
        ("1e-9 <!-- claim: value < 1e-8 -->", 3e-9),
        ("huge <!-- claim: value > 1e8 -->", float("inf")),
        ("0.73 <!-- claim: value ~= 0.73 -->", 0.7349),
        ("109,386 <!-- claim: value ~= 109,386 -->", 110_000),
    ],
)
def test_claims_that_hold(text, value):
    assert result(text, value=value).status == "ok"


@pytest.mark.parametrize(
    ("text", "value", "got"),
    [
        ("0.91 <!-- claim: value ~= 0.91 ± 0.02 -->", 0.87, "0.87 (off by 0.04)"),
        ("0.73 <!-- claim: value ~= 0.73 -->", 0.751, "0.751"),
        ("12 <!-- claim: value == 12 -->", 13, "13 (off by 1)"),
        ("0.3 <!-- claim: value == 0.3 -->", 0.1 + 0.2, "0.30000000000000004"),
        ("*BERT* <!-- claim: value == 'BERT' -->", "GPT", "'GPT'"),
        ("0.5 <!-- claim: value ~= 0.5 ± 1 -->", float("nan"), "nan"),
        ("small <!-- claim: value < 1 -->", 1, "1"),
        ("small <!-- claim: value < 1 -->", float("nan"), "nan"),
        ("small <!-- claim: value < 1 -->", "word", "'word'"),
        ("0.5 <!-- claim: value ~= 0.5 ± 1 -->", True, "True"),
        ("0.5 <!-- claim: value ~= 0.5 ± 1 -->", np.array([0.5, 0.5]), "[0.5, 0.5]"),
        ("0.5 <!-- claim: value.nope ~= 0.5 -->", 0.5, "AttributeError: 'float' object has no attribute 'nope'"),
        ("0.5 <!-- claim: undefined_name ~= 0.5 -->", 0.5, "NameError: name 'undefined_name' is not defined"),
        ("0.5 <!-- claim: value ~= 0.5 -->", object(), "TypeError"),
    ],
)
def test_claims_that_drifted_say_what_was_expected_and_got(text, value, got):
    judged = result(text, value=value)
    assert judged.status == "claim-drift" and not judged.ok
    assert got in judged.message and judged.expected in judged.message and repr(judged.text) in judged.message


def test_profiles_choose_their_clause():
    text = "0.73 <!-- claim: value ~= 0.73 ± 0.03; smoke: >= 0.4; gpu: skip -->"
    assert result(text, "default", value=0.5).status == "claim-drift"
    assert result(text, "smoke", value=0.5).status == "ok"
    assert result(text, "gpu", value=0.5).status == "skipped"


def test_every_exact_decimal_is_equal_to_itself_and_not_to_its_neighbour():
    for thousandths in range(0, 1001, 7):
        shown = f"{thousandths / 10:.1f}%"
        assert len(parse_claims(f"{shown} <!-- claim: x ~= {thousandths / 1000} -->")) == 1, shown
        with pytest.raises(UserError, match="make them equal"):
            parse_claims(f"{shown} <!-- claim: x ~= {(thousandths + 1) / 1000} -->")


def test_a_kernel_that_says_nothing_is_drift():
    (claim,) = parse_claims("0.7 <!-- claim: x ~= 0.7 -->")
    assert judge(claim, "default", {}).status == "claim-drift"


def test_expression_survives_the_way_to_the_kernel():
    (claim,) = parse_claims('7 <!-- claim: sum(len(w) for w in ["a;b", "c<d", "\'"]) == 7 -->')
    assert json.loads(eval(kernel_expression(claim))) == 7
