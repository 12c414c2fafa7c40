"""One self-contained HTML page about a run: what failed and why, what it cost, which claims and exercises were proven.

Results in, text out. Readable without colour and without a network; the layout is in `report.html`.
"""

import html
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from course_utils.notebook.results import CellResult, NotebookResult

SLOWEST_CELLS = 5
_BASIC = ("#57606a", "#b42318", "#1a7f37", "#8a6100", "#0b5cad", "#8250df", "#0e7490", "#57606a")
_SGR = re.compile(r"\x1b\[([\d;]*)m")
_OTHER_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-ln-~]|[\x00-\x08\x0b\x0c\x0e-\x1a]")
SYMBOLS = {"ok": "✓", "skipped": "–"}


def html_report(results: Sequence[NotebookResult], title: str, seconds: float) -> str:
    """The page. Failed notebooks come first and open; `seconds` is the wall time of the whole run."""
    template = _environment().from_string((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    ordered = sorted(results, key=lambda result: (result.passed, result.skipped))
    skipped = sum(result.skipped for result in results)
    passed = sum(result.passed for result in results)
    return template.render(
        title=title,
        results=ordered,
        passed=passed,
        failed=len(results) - passed - skipped,
        skipped=skipped,
        reused=sum(result.cached for result in results),
        seconds=seconds,
        when=time.strftime("%Y-%m-%d %H:%M"),
        longest=max((result.seconds for result in results), default=0),
        largest=max((result.peak_mb for result in results), default=0),
        slowest=_slowest(results),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "ansi": ansi_to_html,
        "duration": duration,
        "megabytes": lambda value: f"{value:,.0f} MB",
        "share": lambda value, whole: f"{100 * value / whole:.1f}" if whole else "0",
        "symbol": lambda status: SYMBOLS.get(status, "✗"),
    }
    return environment


def duration(seconds: float) -> str:
    """`0.24 s`, `41.2 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _slowest(results: Sequence[NotebookResult]) -> list[tuple[NotebookResult, CellResult]]:
    cells = [(result, cell) for result in results for cell in result.cells if cell.seconds >= 0.1]
    return sorted(cells, key=lambda pair: -pair[1].seconds)[:SLOWEST_CELLS]


def ansi_to_html(text: str) -> Markup:
    """Escaped text with a terminal's colours and bold as spans; other control sequences are dropped."""
    parts, style, position = [], {}, 0
    text = _OTHER_CONTROL.sub("", text)
    for match in _SGR.finditer(text):
        parts.append(_span(text[position : match.start()], style))
        style = _next_style(style, [int(code or 0) for code in match[1].split(";")])
        position = match.end()
    parts.append(_span(text[position:], style))
    return Markup("".join(parts))


def _span(text: str, style: dict[str, Any]) -> str:
    escaped = html.escape(text)
    css = ";".join(f"{name}:{value}" for name, value in style.items())
    return f'<span style="{css}">{escaped}</span>' if css and text else escaped


def _next_style(style: dict[str, Any], codes: list[int]) -> dict[str, Any]:
    style, rest = dict(style), list(codes)
    while rest:
        code = rest.pop(0)
        if code == 0:
            style = {}
        elif code == 1:
            style["font-weight"] = "bold"
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style["color"] = _BASIC[code % 10]
        elif code == 38 and rest[:1] == [5] and len(rest) > 1:
            style["color"] = _from_256(rest[1])
            rest = rest[2:]
        elif code == 39:
            style.pop("color", None)
        elif code == 22:
            style.pop("font-weight", None)
    return style


def _from_256(number: int) -> str:
    """A colour of the 256-colour palette, darkened enough to be read on white."""
    if number < 16:
        return _BASIC[number % 8]
    if number > 231:
        return "#57606a"
    levels = [0, 55, 85, 115, 140, 165]
    cube = number - 16
    return f"#{levels[cube // 36]:02x}{levels[cube // 6 % 6]:02x}{levels[cube % 6]:02x}"
