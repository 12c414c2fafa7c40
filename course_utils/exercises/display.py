"""How a verdict looks: plain text, HTML for light and dark themes, and one JSON output for the engine.

All three travel in one display bundle, so that a front end shows exactly one. Nothing here depends on time or machine.
"""

import html
import textwrap
from typing import Any

MIME = "application/vnd.course-utils.exercise+json"
WIDTH = 110
HEADINGS = {"todo": "to do", "wrong": "not yet", "error": "error", "pass": "passed"}
SYMBOLS = {"todo": "○", "wrong": "✗", "error": "!", "pass": "✓"}
BOX = "padding: 8px 14px; margin: 4px 0; max-width: 62em"
COLOURS = {"todo": "128, 128, 128", "wrong": "214, 120, 20", "error": "205, 60, 60", "pass": "40, 150, 90"}


def outcome(verdict: Any, standing: str = "") -> str:
    """What the lesson goes on with, and what to do next."""
    if verdict.status == "pass":
        return " ".join(part for part in ("The lesson goes on with your version.", standing) if part)
    theirs = f"the course's `{verdict.name}`"
    if verdict.status == "todo":
        return f"Until then the lesson goes on with {theirs}."
    return f"The lesson goes on with {theirs}. Open a hint below, or change your answer and run both cells again."


def cause(verdict: Any) -> str:
    """The misconception, if one was recognised, and the question."""
    misconception = f"Likely cause: {verdict.misconception.rstrip('.')}." if verdict.misconception else ""
    return " ".join(part for part in (misconception, verdict.question) if part)


def tried(verdict: Any) -> str:
    return f"Tried: {verdict.tried}" if verdict.tried and verdict.status in ("wrong", "error") else ""


def as_text(verdict: Any, standing: str = "") -> str:
    """The verdict as plain text, wrapped, with a hanging indent as wide as the id."""
    indent = " " * (len(verdict.id) + 1)
    parts = [f"{verdict.id} {HEADINGS[verdict.status]}. {verdict.headline}", tried(verdict), cause(verdict)]
    lines = [wrap(part, indent).removeprefix(indent if i == 0 else "") for i, part in enumerate(parts[:2]) if part]
    lines += [textwrap.indent(verdict.detail, indent + "  ")] if verdict.detail else []
    lines += [wrap(part, indent) for part in parts[2:] if part]
    if verdict.printed and verdict.status != "todo":
        lines += [f"{indent}Your code printed:", textwrap.indent(verdict.printed, indent + "  ")]
    return "\n".join([*lines, wrap(outcome(verdict, standing), indent)])


def wrap(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def as_html(verdict: Any, standing: str = "") -> str:
    """The verdict as one block; translucent colours let both themes show through. No script, no style sheet."""
    colour = COLOURS[verdict.status]
    box = f"border-left: 4px solid rgb({colour}); background: rgba({colour}, 0.09); {BOX}"
    rows = [
        f'<div><b style="color: rgb({colour})">{SYMBOLS[verdict.status]} {verdict.id} {HEADINGS[verdict.status]}</b>'
        f"&ensp;{code(verdict.headline)}</div>"
    ]
    if tried(verdict):
        rows.append(f'<div style="margin-top: 4px">Tried <code>{html.escape(verdict.tried)}</code></div>')
    if verdict.detail:
        rows.append(pre(verdict.detail))
    if cause(verdict):
        rows.append(f'<div style="margin-top: 6px">{code(cause(verdict))}</div>')
    if verdict.printed and verdict.status != "todo":
        rows.append(f'<div style="margin-top: 6px">Your code printed:</div>{pre(verdict.printed)}')
    rows.append(f'<div style="margin-top: 6px; opacity: 0.75">{code(outcome(verdict, standing))}</div>')
    return f'<div style="{box}">' + "".join(rows) + "</div>"


def pre(text: str) -> str:
    style = "margin: 6px 0 0 0; background: transparent; white-space: pre; overflow-x: auto; line-height: 1.35"
    return f'<pre style="{style}">{html.escape(text)}</pre>'


def code(text: str) -> str:
    """Escaped text, with `backticks` as code."""
    parts = html.escape(text, quote=False).split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def show(verdict: Any, standing: str = "", report: bool = True) -> None:
    """Display the verdict in a notebook, or print it anywhere else; `report` adds the output that the engine reads."""
    from IPython import get_ipython
    from IPython.display import display

    text = as_text(verdict, standing)
    if get_ipython() is None:
        print(text)
        return
    bundle = {"text/plain": text, "text/html": as_html(verdict, standing)}
    if report:
        bundle[MIME] = {"id": verdict.id, "status": verdict.status, "message": verdict.message}
    display(bundle, raw=True)
