"""Lint rule for links: what they point to exists, as far as that can be known without a network."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode

from course_utils.notebook.canonical import read_notebook
from course_utils.notebook.facts import colab_address
from course_utils.notebook.findings import cell_name
from course_utils.notebook.layout import Layout

CODE = re.compile(r"^(`{3,}|~{3,}).*?^\1[^\n]*$|(`+)(?!`).*?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\]\([^)]*\))*\]\(<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)")
INNER_LINK = re.compile(r"!\[[^\]]*\]\(([^)\s]+)")
HTML_LINK = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)\s*=\s*[\"']([^\"']+)", re.IGNORECASE)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
ANCHOR = re.compile(r"<a\b[^>]*?\b(?:id|name)\s*=\s*[\"']([^\"']+)", re.IGNORECASE)
COLAB = "https://colab.research.google.com/github/"


def links_in(markdown: str) -> list[str]:
    """Every target of a link or image, code left out."""
    text = CODE.sub("", markdown)
    return [*LINK.findall(text), *INNER_LINK.findall(text), *HTML_LINK.findall(text)]


def anchors_in(markdown: str) -> set[str]:
    """Anchors of the headings, both as JupyterLab makes them (spaces to dashes) and as GitHub does (lower case, letters
    only), and explicit ones."""
    text = CODE.sub(lambda match: match[0] if "\n" not in match[0] else "", markdown)
    found = set(ANCHOR.findall(text))
    for heading in HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found |= {plain.replace(" ", "-"), re.sub(r"[`*]", "", plain).replace(" ", "-")}
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


def broken_links(nb: NotebookNode, folder: Path, layout: Layout | None) -> Iterator[tuple[str, str]]:
    """(cell, what is wrong) for every link of a notebook in `folder` that leads nowhere."""
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    anchors = anchors_in(text)
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            attached = set(cell.get("attachments", {}))
            for target in dict.fromkeys(links_in(cell.source)):
                if target.removeprefix("attachment:") in attached:
                    continue
                if problem := link_problem(target, folder, anchors, layout):
                    yield cell_name(cell, index), problem


def link_problem(target: str, folder: Path, anchors: set[str], layout: Layout | None) -> str | None:
    """What is wrong with one link, or None."""
    if target.startswith("#"):
        return None if unquote(target[1:]) in anchors else f"there is no heading for {target}"
    if target.startswith(COLAB):
        return _colab_problem(target, layout)
    if layout and target.startswith(f"{layout.repository}/"):
        return _repository_problem(target.removeprefix(layout.repository), layout)
    if re.match(r"[a-z][a-z0-9+.-]*:", target, re.IGNORECASE):
        return None  # another site: not looked up, lint needs no network
    path_text, _, anchor = unquote(target).partition("#")
    path = folder / path_text
    if not path.exists() and not (layout and layout.source(path.stem).is_file() and path.parent == layout.notebooks):
        return f"{target} does not exist"
    if anchor and path.is_file() and anchor not in _anchors_of_file(path):
        return f"{path_text} has no heading for #{anchor}"
    return None


def _anchors_of_file(path: Path) -> set[str]:
    if path.suffix != ".ipynb":
        return anchors_in(path.read_text(encoding="utf-8", errors="replace"))
    return anchors_in("\n\n".join(c.source for c in read_notebook(path).cells if c.cell_type == "markdown"))


def _colab_problem(target: str, layout: Layout | None) -> str | None:
    if layout is None or not target.startswith(COLAB + layout.repository.removeprefix("https://github.com/")):
        return None
    slug = Path(target).stem
    if not layout.source(slug).is_file():
        return f"the badge opens lesson {slug}, which does not exist"
    expected = colab_address(layout, slug)
    return None if target == expected else f"the badge opens {target}, but the release is {expected}"


def _repository_problem(rest: str, layout: Layout) -> str | None:
    match = re.match(r"/(?:blob|tree)/[^/]+/([^#?]+)", rest)
    if match and not (layout.root / unquote(match[1])).exists():
        return f"{match[1]} does not exist in the repository"
    return None
