"""Doctor's table in a notebook: HTML for light and dark themes beside plain text, without this machine's folders.

What is checked, and what to do about it, is `doctor`'s business.
"""

import contextlib
import html
import re
import sys
from pathlib import Path

from course_utils import doctor, paths

COLOURS = {doctor.OK: "40, 150, 90", doctor.WARN: "214, 120, 20", doctor.FAIL: "205, 60, 60"}
SYMBOLS = {doctor.OK: "✓", doctor.WARN: "!", doctor.FAIL: "✗"}
CELL = "padding: 3px 14px 3px 0; text-align: left; vertical-align: top"
ABSOLUTE = re.compile(r"(?<![\w.:/~\\])(?:/|[A-Za-z]:\\)[^\s'\",;()]+[/\\]([^\s'\",;()/\\]+)")


def show() -> None:
    """Check this machine (about a second, no network) and display the table, or print it outside a notebook."""
    from IPython import get_ipython
    from IPython.display import display

    rows = doctor.rows()
    text = shorten_paths(doctor.as_text(rows))
    if get_ipython() is None:
        print(text)
        return
    display({"text/plain": text, "text/html": as_html(rows)}, raw=True)


def as_html(rows: list[doctor.Row]) -> str:
    """The table, each fix below what it fixes, and a last line that sums up."""
    verdict = html.escape(doctor.as_text(rows).rpartition("\n")[2])
    worst = max((row.status for row in rows), key=(doctor.OK, doctor.WARN, doctor.FAIL).index)
    style = f"margin: 8px 0; font-weight: bold; color: rgb({COLOURS[worst]})"
    body = "".join(table_row(row) for row in rows)
    summary = f'<p style="{style}">{verdict[:1].upper()}{verdict[1:]}.</p>'
    return f'<table style="border-collapse: collapse">{body}</table>{summary}'


def table_row(row: doctor.Row) -> str:
    """One check: a coloured mark with its word (never colour alone), the subject, what was found, the fix."""
    mark = f'<span style="color: rgb({COLOURS[row.status]})"><b>{SYMBOLS[row.status]}</b> {row.status}</span>'
    found = html.escape(shorten_paths(row.found))
    if row.fix:
        found += f"<br><i>{html.escape(shorten_paths(row.fix))}</i>"
    cells = [mark, html.escape(row.subject), found]
    return "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells) + "</tr>"


def shorten_paths(text: str) -> str:
    """Folders as seen from the course or from home; of any other absolute path only the last part."""
    for folder, short in known_folders():
        text = re.sub(rf"{re.escape(str(folder))}(?=[/\\\s);,.]|$)", short.replace("\\", r"\\"), text)
    return ABSOLUTE.sub(r"…/\1", text)


def known_folders() -> list[tuple[Path, str]]:
    """(folder, what to show instead), longest first."""
    found = [(Path(sys.prefix), Path(sys.prefix).name), (paths.cache_dir().absolute(), "the cache folder")]
    if root := paths.checkout():
        found.append((root, "the course's folder"))
    with contextlib.suppress(RuntimeError):  # no home folder
        found.append((Path.home(), "~"))
    return sorted(found, key=lambda pair: -len(str(pair[0])))
