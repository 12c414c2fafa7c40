"""Build: the two forms of a lesson, the same bytes every time, outputs kept while they are valid, errors by cell."""

import json
import subprocess
import sys

import nbformat
import pytest
from lessons import BODY, EXERCISES, make_checkout

from course_utils.cli import main
from course_utils.errors import UserError
from course_utils.notebook import build_execute, build_plan
from course_utils.notebook.build import build_lesson
from course_utils.notebook.canonical import notebook_bytes, read_notebook, write_notebook
from course_utils.notebook.layout import Layout


def built(layout: Layout, form: str = "learner") -> dict[str, nbformat.NotebookNode]:
    return {cell.id: cell for cell in build_lesson(layout.source("05_small"), form).cells}


def course(layout: Layout, *arguments: str) -> int:
    return main(["build", *arguments, "--root", str(layout.root)])


def run_by_hand(layout: Layout) -> None:
    """Give the committed notebook outputs and the key, as an execution would."""
    nb, _ = build_plan.planned_learner(layout, layout.source("05_small"))
    nb.metadata.course["key"] = build_plan.output_key(nb)
    for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", text=f"output of {cell.id}\n")]
    write_notebook(nb, layout.learner("05_small"))


def test_learner_form(tmp_path):
    cells = built(make_checkout(tmp_path))
    assert list(cells)[:4] == ["title", "lesson-facts", "bootstrap", "imports"]
    assert list(cells)[6:11] == ["intro", "ex1", "ex1-check", "ex1-hints", "ex1-solution"]
    assert cells["intro"].source.startswith("### Exercise 05.1 · a sum of roots · 10 minutes · difficulty ●●○○○\n")
    assert cells["ex1"].source.endswith(
        '    """The sum of square roots."""\n    raise NotImplementedError("exercise 05.1")'
    )
    assert cells["ex1"].metadata == {"exercise": "05.1", "tags": ["exercise"]}
    assert cells["ex1-check"].source == 'root_sum = exercise("05.1", root_sum)'
    assert cells["ex1-hints"].source.count("<details>") == 2
    # GitHub, JupyterLab and Colab read Markdown inside HTML only after a blank line.
    assert "</summary>\n\n```python\ndef root_sum" in cells["ex1-solution"].source
    assert cells["ex1-solution"].source.endswith("```\n\n</details>")
    assert cells["parameters"].metadata.tags == ["parameters"]
    assert "[00]" not in cells["lesson-facts"].source and "| 30 min | 1 | CPU |" in cells["lesson-facts"].source


def test_solved_form(tmp_path):
    cells = built(make_checkout(tmp_path), "solved")
    assert "math.sqrt(value)" in cells["ex1"].source and "raise" not in cells["ex1"].source
    assert "ex1-solution" not in cells and "ex1-hints" in cells


def test_fences_inside_a_solution_do_not_end_its_block(tmp_path):
    fenced = '"""The sum.\n\n```python\nroot_sum([4])\n```\n    """'
    layout = make_checkout(tmp_path, exercises=EXERCISES.replace('"""The sum of square roots."""', fenced))
    assert "\n````python\ndef" in built(layout)["ex1-solution"].source


def test_the_same_bytes_in_every_process(tmp_path):
    layout = make_checkout(tmp_path)
    code = (
        "import sys; from pathlib import Path; from course_utils.notebook.build import build_lesson;"
        "from course_utils.notebook.canonical import notebook_bytes;"
        "sys.stdout.buffer.write(notebook_bytes(build_lesson(Path(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, str(layout.source("05_small"))]
    runs = [subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": s}) for s in "12"]
    data = runs[0].stdout
    assert data == runs[1].stdout == notebook_bytes(build_lesson(layout.source("05_small")))
    assert data.endswith(b"}\n") and "●●".encode() in data
    nbformat.validate(json.loads(data))


def test_nothing_imports_torch_or_the_exercises(tmp_path):
    layout = make_checkout(tmp_path, exercises="raise RuntimeError('imported')\n" + EXERCISES)
    code = "import sys; from course_utils.cli import main; assert main(sys.argv[1:]) == 0"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, "build", "--root", str(layout.root)], check=True, capture_output=True)
    assert layout.solved("05_small").is_file()


def test_outputs_stay_while_prose_changes_and_go_when_code_changes(tmp_path, capsys):
    layout = make_checkout(tmp_path)
    assert course(layout) == 0
    assert "course build --execute 05" in capsys.readouterr().out
    run_by_hand(layout)
    assert course(layout, "--check") == 0
    before = layout.learner("05_small").read_bytes()

    make_checkout(tmp_path, BODY.replace("Look.", "Look here."))
    assert course(layout, "--check") == 1
    assert "05_small.ipynb · result-intro · prose\n" in capsys.readouterr().out
    assert layout.learner("05_small").read_bytes() == before
    assert course(layout) == 0
    nb = read_notebook(layout.learner("05_small"))
    assert nb.cells[-1].outputs[0].text == "output of result\n" and nb.metadata.course.key

    make_checkout(tmp_path, BODY.replace('items")', 'things")'))
    assert course(layout, "--check", "05") == 1
    out = capsys.readouterr().out
    assert "05_small.ipynb · result · code, outputs\n" in out and "course build --execute 05" in out
    assert course(layout) == 0
    nb = read_notebook(layout.learner("05_small"))
    assert nb.cells[-1].outputs == [] and "key" not in nb.metadata.course


def test_check_finds_every_byte_that_build_would_change(tmp_path, capsys):
    layout = make_checkout(tmp_path)
    (tmp_path / "README.md").write_text("# C\n\n<!-- lessons:begin -->\nold\n<!-- lessons:end -->\nend\n")
    course(layout)
    run_by_hand(layout)
    assert course(layout, "--check") == 0
    readme = (tmp_path / "README.md").read_text()
    assert "[A small lesson](notebooks/05_small.ipynb)" in readme and readme.endswith("<!-- lessons:end -->\nend\n")
    path = layout.learner("05_small")
    for target, old, new, says in [
        (path, b"3", b"3 ", "05_small.ipynb"),
        (path, b'"cells"', b' "cells"', "formatting"),
        (path, b'"id": "result"', b'"id": "resulT"', "result · code added"),
        (tmp_path / "README.md", b"A small", b"Another", "README.md: line"),
        (tmp_path / "course_utils" / "lessons.json", b"30", b"31", "lessons.json: line"),
    ]:
        data = target.read_bytes()
        target.write_bytes(data.replace(old, new, 1))
        capsys.readouterr()
        assert course(layout, "--check") == 1
        assert says in capsys.readouterr().out
        target.write_bytes(data)
    (layout.notebooks / "99_orphan.ipynb").write_bytes(path.read_bytes())
    assert course(layout, "--check") == 1
    assert "99_orphan.ipynb: has no source" in capsys.readouterr().out


def test_execution_by_the_engine_keeps_cleaned_outputs_and_facts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(build_execute, "MAX_BUSY_SHARE", 2.0)  # whatever else runs on the test machine
    noisy = "import sys\n\nprint(object(), file=sys.stdout)\nprint('log', file=sys.stderr)\nnum_items"
    body = BODY.replace('# %% id="ex1" exercise="05.1"\n\n', "").replace('print(f"{num_items} items")', noisy)
    layout = make_checkout(tmp_path, body)
    assert course(layout, "--execute") == 0
    nb = read_notebook(layout.learner("05_small"))
    printed, value = nb.cells[-1].outputs
    assert printed.text == "<object object at 0x000000000000>\n"
    assert (value.data, value.execution_count) == ({"text/plain": "3"}, nb.cells[-1].execution_count)
    assert "execution" not in nb.cells[-1].metadata and nb.metadata.language_info == {"name": "python"}
    assert set(json.loads(layout.verified.read_text())) == {"05_small"}
    assert " s on two CPU cores | 0." in nb.cells[1].source
    assert course(layout, "--check") == 0
    capsys.readouterr()
    assert course(layout, "--execute") == 0
    assert "running" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("1 / 0", ["error", "'result'", "ZeroDivisionError"]),
        ("import os; print(os.getcwd())", ["absolute-path", "'result'"]),
    ],
)
def test_a_failed_execution_leaves_the_committed_notebook_alone(tmp_path, capsys, code, says):
    body = BODY.replace('# %% id="ex1" exercise="05.1"\n\n', "")
    layout = make_checkout(tmp_path, body)
    course(layout)
    before = layout.learner("05_small").read_bytes()
    make_checkout(tmp_path, body.replace('print(f"{num_items} items")', code))
    assert course(layout, "--execute") == 1
    said = capsys.readouterr().err
    for words in [*says, "unchanged", "build/failed/05_small.ipynb"]:
        assert words in said
    assert layout.learner("05_small").read_bytes() == before and not layout.verified.exists()
    assert (tmp_path / "build" / "failed" / "05_small.ipynb").is_file()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("import math\n", "import os\n"), ["line 31", "05.1", "`math`", "'ex1'"]),
        (("from course_utils.exercises import exercise\n", ""), ["`exercise`"]),
        (('exercise="05.1"', 'exercise="05.7"'), ["no exercise '05.7'", "did you mean 05.1"]),
        (('id="result-intro"', 'id="ex1-check"'), ["'ex1-check'", "generated cell"]),
        (("# Look.", "# It is 3 <!-- claim: num_items about 3 -->"), ["'result-intro'", "malformed claim"]),
    ],
)
def test_mistakes_in_a_source_are_named(tmp_path, capsys, change, says):
    layout = make_checkout(tmp_path, BODY.replace(*change))
    with pytest.raises(UserError) as caught:
        build_lesson(layout.source("05_small"))
    assert caught.value.status == "invalid-notebook"
    for words in ["05_small.py", *says]:
        assert words in str(caught.value)
    assert course(layout) == 2
    assert says[0] in capsys.readouterr().err and not layout.learner("05_small").exists()


def test_one_broken_source_does_not_stop_the_others(tmp_path, capsys):
    make_checkout(tmp_path, "x = 1\n", name="04_broken")
    layout = make_checkout(tmp_path)
    assert course(layout) == 2
    assert layout.learner("05_small").is_file() and "04_broken" in capsys.readouterr().err
    assert course(layout, "05") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["06"], "no lesson '06'"),
        (["05_smal"], "did you mean 05_small"),
        (["--check", "--execute"], "choose one"),
        (["--fresh"], "--execute"),
    ],
)
def test_bad_arguments(tmp_path, capsys, arguments, says):
    assert course(make_checkout(tmp_path), *arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("word", ["5", "05", "05_small", "notebooks/src/05_small.py", "notebooks/05_small.ipynb"])
def test_a_lesson_has_many_names(tmp_path, word):
    layout = make_checkout(tmp_path)
    assert layout.select([word]) == [layout.source("05_small")]


def test_a_path_with_spaces_and_letters_of_other_alphabets(tmp_path):
    assert course(make_checkout(tmp_path / "мой курс ü")) == 0


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    layout = make_checkout(tmp_path)
    (tmp_path / "build").write_text("a file where a folder should be")
    assert course(layout) == 2
    assert "cannot write" in capsys.readouterr().err
