"""Keys: every input of a run changes them, and nothing else does."""

import copy

import pytest
from run_helpers import notebook

from course_utils.notebook import keys
from course_utils.notebook.keys import Key, closure, imported_modules, output_key, run_key


@pytest.fixture
def root(tmp_path):
    package = tmp_path / "course_utils"
    for folder in ("data", "exercises", "training"):
        (package / folder).mkdir(parents=True)
    files = {
        "__init__.py": "",
        "config.py": "SIZE = 1\n",
        "viz.py": "",
        "data/__init__.py": "",
        "data/sentiment.py": "from course_utils.config import SIZE\n\n\ndef load():\n    from . import words\n",
        "data/words.py": "TEXT = '''\n# not a comment\n'''\n",
        "data/words.json": "{}",
        "exercises/__init__.py": "",
        "exercises/lesson_05.py": "from course_utils.training import loop\n",
        "training/__init__.py": "",
        "training/loop.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    return tmp_path


def names(found, root) -> set[str]:
    return {path.relative_to(root / "course_utils").as_posix() for path in found}


def test_closure_follows_imports_anywhere(root):
    found = names(closure(["from course_utils.data import sentiment"], root), root)
    assert found == {
        "__init__.py", "config.py", "data/__init__.py", "data/sentiment.py", "data/words.py", "data/words.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        "import course_utils.config",
        "%load_ext course_utils\nfrom course_utils.config import SIZE",
        "!ls\nimport course_utils.config as c\nawait x",
        "%%module ranks.py\nfrom course_utils.config import SIZE",
        "def f(:\n  broken\nfrom course_utils.config import SIZE",
        "launch('course_utils.config:main', 2)",
    ],
)
def test_imports_are_found_in_cells_of_all_kinds(source):
    assert "course_utils.config" in imported_modules(source)


def test_strangers_are_not_ours():
    assert imported_modules("import torch, course_utils_extra\nfrom os import path") == []


def test_relative_imports():
    assert "course_utils.data.words" in imported_modules("from .words import x", "course_utils.data")
    assert "course_utils.config" in imported_modules("from ..config import x", "course_utils.data")


BASE = ("import course_utils.config", "md: It is 2 <!-- claim: x == 2 -->.", "x = 2")


def changed(root, before: str, nb=None, **course) -> bool:
    return output_key(nb or notebook(*BASE, **course), root) != before


def test_what_changes_the_output_key(root):
    nb = notebook(*BASE)
    before = output_key(nb, root)
    assert changed(root, before, notebook(*BASE[:2], "x = 3"))
    assert changed(root, before, notebook(BASE[0], "md: It is 2 <!-- claim: x + 0 == 2 -->.", BASE[2]))
    tagged = copy.deepcopy(nb)
    tagged.cells[2].metadata["tags"] = ["nbval-ignore-output"]
    assert changed(root, before, tagged)
    (root / "course_utils" / "config.py").write_text("SIZE = 2\n")
    assert changed(root, before, nb)


def test_what_does_not_change_the_output_key(root):
    nb = notebook(*BASE)
    before = output_key(nb, root)
    other = copy.deepcopy(nb)
    other.cells[1].source = "More words: it is 2 <!-- claim: x == 2 -->.".replace("More words: it is", "It is")
    other.cells.append(notebook("md: Only words.").cells[0])
    other.cells[0].metadata["tags"] = ["hide-input"]
    other.cells[0].execution_count = 7
    assert not changed(root, before, other)
    injected = notebook("N = 1").cells[0]
    injected.metadata["tags"] = ["injected-parameters"]
    other.cells.insert(1, injected)
    assert not changed(root, before, other)
    (root / "course_utils" / "config.py").write_text("# why\n\nSIZE = 1\n\n    # more\n")
    (root / "course_utils" / "viz.py").write_text("unused = 1\n")
    assert not changed(root, before, nb)


def test_a_comment_line_inside_a_string_counts(root):
    nb = notebook("import course_utils.data.words")
    before = output_key(nb, root)
    (root / "course_utils" / "data" / "words.py").write_text("TEXT = '''\n# another\n'''\n")
    assert changed(root, before, nb)


def test_a_lessons_exercises_count(root):
    nb = notebook("from course_utils.exercises import exercise", slug="05_small")
    before = output_key(nb, root)
    (root / "course_utils" / "training" / "loop.py").write_text("steps = 1\n")
    assert changed(root, before, nb)


def test_the_run_key_adds_profile_and_parameters(root):
    nb = notebook(*BASE)
    key = run_key(nb, "default", {}, root)
    assert key == run_key(nb, "default", {}, root)
    assert key.digest != run_key(nb, "smoke", {}, root).digest
    assert key.digest != run_key(nb, "default", {"n": 1}, root).digest
    assert key.parts["runner"] == keys._runner_digest()


def test_reasons_name_what_changed(root):
    before = run_key(notebook(*BASE), "default", {}, root).parts
    (root / "course_utils" / "config.py").write_text("SIZE = 2\n")
    after = run_key(notebook(*BASE[:2], "x = 3"), "default", {}, root)
    assert after.reason(before) == "cell c2 changed, course_utils/config.py changed"
    assert after.reason(None) == "new"
    assert after.reason(after.parts) == "unchanged"
    assert Key("", {**before, "requirements/lock.txt": "x"}).reason(before) == "lock changed"
    assert Key("", {**before, "cell c9": "x"}).reason(before) == "cell c9 added"
    assert Key("", {**before, "cells": "x"}).reason(before) == "cells in another order"
