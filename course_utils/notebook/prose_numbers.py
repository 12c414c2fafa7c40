"""Numbers as people write them in prose: signs, thousands separators, percent, scales, exponents.

Exact (Decimal), so that 73% equals 0.73. It does not decide which numbers matter; claims.py and compare.py do.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

SCALES = {
    "%": Decimal("0.01"),
    "percent": Decimal("0.01"),
    "k": Decimal(1000),
    "K": Decimal(1000),
    "thousand": Decimal(1000),
    "M": Decimal(10) ** 6,
    "million": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "B": Decimal(10) ** 9,
    "billion": Decimal(10) ** 9,
}
MAX_UNIT_CHARACTERS = 40  # between the number and what it belongs to: "14 tokens per second"

_THIN = "\u00a0\u2009\u202f"
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
NUMBER = re.compile(
    rf"""(?:(?<![\w.)\]])[-+\u2212])?           # a sign, unless it is a hyphen or a minus between two things
    (?:(?<![\w.])|(?<=[-+\u2212]))              # not inside a word such as GPT2
    (?P<digits>\d{{1,3}}(?:[,{_THIN}]\d{{3}})+(?!\d)(?:\.\d+)?|\d[\d_]*(?:\.\d+)?|\.\d+)
    (?P<exponent>[eE][-+\u2212]?\d+)?
    (?:\s*(?:×|·|\\times|\\cdot)\s*10(?:\^\{{?(?P<power>-?\d+)\}}?|(?P<superscript>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)))?
    (?:\s?(?P<scale>%|(?:percent|[kKMGB]|thousand|million|billion)(?![A-Za-z])))?""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Number:
    """A number as written: `digits` without its scale, `scale` (0.01 for %), `unit` one step of its last digit."""

    text: str
    digits: Decimal
    scale: Decimal
    unit: Decimal

    @property
    def value(self) -> Decimal:
        """What it stands for: 73% is 0.73."""
        return self.digits * self.scale

    def plain(self) -> int | float:
        """As a Python number: int when it was written without a decimal point or exponent."""
        value = self.value
        return int(value) if value == value.to_integral_value() and not re.search("[.eE]", self.text) else float(value)


def _to_number(match: re.Match) -> Number:
    text = match[0].replace("\u2212", "-")
    mantissa = re.sub(rf"[,_{_THIN}]", "", match["digits"])
    exponent = int((match["exponent"] or "e0")[1:].replace("\u2212", "-"))
    exponent += int(match["power"] or (match["superscript"] or "0").translate(_SUPERSCRIPTS))
    decimals = len(mantissa.partition(".")[2])
    sign = -1 if text.lstrip().startswith("-") else 1
    scale = SCALES[match["scale"]] if match["scale"] else Decimal(1)
    step = Decimal(1).scaleb(exponent - decimals) * scale
    return Number(match[0], sign * Decimal(mantissa).scaleb(exponent), scale, step)


def parse_number(text: str) -> Number | None:
    """The number that `text` is, or None when it is anything else."""
    match = NUMBER.fullmatch(text.strip())
    return _to_number(match) if match else None


def number_before(text: str) -> Number | None:
    """The last number of `text`, if only its unit (no digit, no new sentence, 40 characters at most) follows it.

    In `0.73 ± 0.03` that is 0.73.
    """
    matches = list(NUMBER.finditer(text))
    if not matches:
        return None
    tail = text[matches[-1].end() :]
    if len(tail.strip()) > MAX_UNIT_CHARACTERS or re.search(r"[.!?;:]\s", tail):
        return None
    if len(matches) > 1 and text[matches[-2].end() : matches[-1].start()].strip() in ("±", "+-", "\\pm"):
        matches.pop()
    return _to_number(matches[-1])
