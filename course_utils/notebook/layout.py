"""Where the files of a checkout are, and which lesson a person means by `5`, `05` or `05_bert_fine_tuning`.

Reads names only; parsing is `percent`'s work.
"""

import difflib
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import course_utils
from course_utils import paths
from course_utils.errors import UserError


@dataclass(frozen=True)
class Layout:
    """The folders and generated files of one checkout."""

    root: Path

    @classmethod
    def here(cls, root: str | Path | None = None) -> "Layout":
        """The checkout this package runs from, or the one given. Raises UserError outside a checkout."""
        found = Path(root).resolve() if root else paths.checkout()
        if found is None:
            raise UserError("this command works in a checkout of the course, and the package runs from elsewhere.")
        return cls(found)

    @classmethod
    def of_source(cls, source: Path) -> "Layout":
        """The checkout that holds `notebooks/src/NN_slug.py`."""
        return cls(Path(source).resolve().parent.parent.parent)

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def sources_folder(self) -> Path:
        return self.notebooks / "src"

    @property
    def verified(self) -> Path:
        """Measured seconds and memory of each lesson."""
        return self.notebooks / "verified.json"

    @property
    def package(self) -> Path:
        return self.root / "course_utils"

    def learner(self, slug: str) -> Path:
        return self.notebooks / f"{slug}.ipynb"

    def solved(self, slug: str) -> Path:
        return self.root / "build" / "solved" / f"{slug}.ipynb"

    def source(self, slug: str) -> Path:
        return self.sources_folder / f"{slug}.py"

    def sources(self) -> list[Path]:
        """Every source, in lesson order."""
        return sorted(self.sources_folder.glob("[0-9][0-9]_*.py"))

    def show(self, path: Path) -> str:
        """The path as a person reads it: relative to the checkout where possible, with forward slashes."""
        path = Path(path)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    @cached_property
    def repository(self) -> str:
        """Address of the repository, from pyproject.toml: the one place that names it."""
        text = (self.root / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["project"]["urls"]["Repository"].rstrip("/")

    @property
    def release_tag(self) -> str:
        """The tag that badges and the bootstrap cell point to: notebook and package from the same commit."""
        return f"v{course_utils.__version__}"

    def select(self, wanted: list[str]) -> list[Path]:
        """Sources for `5`, `05`, `05_slug` or a path of a source or notebook; all of them for an empty list.

        Raises UserError: `nothing-selected` when there are no sources at all or a name matches none.
        """
        sources = self.sources()
        if not sources:
            raise UserError(f"{self.show(self.sources_folder)} holds no lesson (NN_slug.py).", "nothing-selected")
        chosen = [self._find(word, sources) for word in wanted]
        return [source for source in sources if source in chosen] if wanted else sources

    def _find(self, word: str, sources: list[Path]) -> Path:
        stem = Path(word).stem
        number = stem.zfill(2) if stem.isdigit() else stem
        for source in sources:
            if number in (source.stem, source.stem[:2]):
                return source
        known = [source.stem for source in sources]
        near = difflib.get_close_matches(stem, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"lessons: {', '.join(known)}."
        raise UserError(f"there is no lesson {word!r}; {hint}", "nothing-selected")
