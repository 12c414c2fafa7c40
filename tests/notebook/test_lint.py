"""Lint: the good notebooks are clean, each rule finds what it is for and leaves its near misses alone.

The bad notebooks of tests/fixtures are run through the real command by tests/test_bad_notebooks.py.
"""

import json
import shutil
from pathlib import Path

import pytest
from lessons import BODY, EXERCISES, make_checkout
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.cli import main
from course_utils.notebook import lint_files, lint_lessons
from course_utils.notebook.budgets import budget, words_in
from course_utils.notebook.lint import lint_file, lint_lesson
from course_utils.notebook.lint_leaks import leaked_solutions
from course_utils.notebook.lint_links import anchors_in, links_in
from course_utils.notebook.lint_numbers import unclaimed_numbers
from course_utils.notebook.lint_tree import dataclass_findings, ruff_findings
from course_utils.notebook.machine_traces import find_absolute_path, find_secret

GOOD = Path(__file__).resolve().parent.parent / "fixtures" / "notebooks" / "good"
CLOSING = '\n# %% [markdown] id="end"\n# ## Summary\n#\n# Done.\n#\n# ## References\n#\n# None.\n'


def code(source, text="", **metadata):
    outputs = [new_output("stream", text=text)] if text else []
    return new_code_cell(source, outputs=outputs, execution_count=1, metadata=metadata)


def markdown(source, **metadata):
    return new_markdown_cell(source, metadata=metadata)


def notebook(*cells, slug="05_small"):
    for index, cell in enumerate(cells):
        cell["id"] = f"c{index}"
    return new_notebook(cells=list(cells), metadata={"course": {"slug": slug, "minutes": 30}})


@pytest.mark.parametrize("path", sorted(GOOD.glob("*.ipynb")), ids=lambda path: path.stem)
def test_good_notebooks_are_clean(path):
    assert [str(finding) for finding in lint_file(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "/home/ada/x.py", "at /Users/ada/course/x", "'/tmp/run-3/log.txt'", "file:///etc/x", "C:\\Users\\ada\\x",
        "saved to /root/.cache/y", "/content/drive/x", '{"path": "/var/lib/x"}',
    ],
)  # fmt: skip
def test_absolute_paths(text):
    assert find_absolute_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "/device:CPU:0", "/job:localhost/replica:0/task:0", "https://example.org/home/ada/x", "data/tmp/x",
        "1/2 and/or", "</div></home>", "tokens/s", "~/course", "ratio 3/4", "./tmp/x", "..\\data\\x", "a:b", "N: 3",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_path(text):
    assert find_absolute_path(text) is None


def test_folders_of_this_machine_are_found_whatever_their_name():
    here = Path(__file__).resolve().parents[2]
    assert find_absolute_path(f"see {here}/notebooks", this_machine=True)
    assert find_absolute_path(f"'{here}'", this_machine=True) == str(here)


@pytest.mark.parametrize(
    "text",
    [
        "ghp_0123456789abcdefghijABCDEFGHIJ012345", "AKIAIOSFODNN7EXAMPLE", "-----BEGIN RSA PRIVATE KEY-----",
        "http://localhost:8888/lab?token=0123456789abcdef0123456789abcdef", "https://ada:secret99@example.org/x",
        'api_key = "abcd1234efgh5678ijkl"', "PASSWORD: abcd1234efgh5678",
    ],
)  # fmt: skip
def test_secrets(text):
    assert find_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "hf_hub_download", "token: 1234", "tokens = 0123456789", "sk-learn", "the secret of attention", "password: ...",
        "https://example.org/a@b", "api_key = os.environ['API_KEY']", "tokenizer.mask_token = '[MASK]'",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret(text):
    assert find_secret(text) is None


SOLUTION = "```python\ndef f(x):\n    a = first(x)\n    b = second(a)\n    c = third(b)\n    return fourth(c)\n```"


@pytest.mark.parametrize(
    ("cell", "leaks"),
    [
        (code("a=first( x )  # why\nb = second(a)\nc = third(b)\nprint(c)"), True),
        (markdown("Try this:\n\n```python\na = first(x)\nb = second(a)\nc = third(b)\n```"), True),
        (markdown("Hint\n\n    a = first(x)\n    b = second(a)\n    c = third(b)", tags=["hints"]), True),
        (code("%%module s.py\nif x:\n    a = first(x)\n    b = second(a)\n    c = third(b)"), True),
        (code("a = first(x)\nb = other(a)\nc = third(b)"), False),
        (code("c = third(b)\nb = second(a)\na = first(x)"), False),
        (markdown("First `a = first(x)`, then think."), False),
        (code("def f(x):\n    '''a = first(x)'''\n    raise NotImplementedError('exercise 05.1')"), False),
    ],
)  # fmt: skip
def test_leaks_by_shingles(cell, leaks):
    nb = notebook(cell, markdown(SOLUTION, tags=["solution"], exercise="05.1"))
    assert list(leaked_solutions(nb)) == ([("c0", "05.1")] if leaks else [])


def test_a_whole_function_leaks_with_other_names_too():
    renamed = SOLUTION.removeprefix("```python\n").removesuffix("```").replace("def f(x)", "def helper(data, /)")
    for old, new in (("(x)", "(data)"), ("a = ", "one = "), ("(a)", "(one)"), ("b = ", "two = "), ("(b)", "(two)")):
        renamed = renamed.replace(old, new)
    solution = markdown(SOLUTION, tags=["solution"])
    assert list(leaked_solutions(notebook(code(renamed), solution)))
    assert not list(leaked_solutions(notebook(code(renamed.replace("second", "another")), solution)))


def test_a_solution_of_one_line_leaks_as_an_expression():
    solution = markdown("```python\ndef f(x, m):\n    return (x * m).sum() / m.sum()\n```", tags=["solution"])
    assert list(leaked_solutions(notebook(code("print((x*m).sum()/m.sum())"), solution)))
    assert not list(leaked_solutions(notebook(code("print(x.sum() / m.sum())"), solution)))


def test_a_prediction_leaks_before_its_exercise_and_may_be_confirmed_after():
    solution = markdown("```python\ncount = 109_386\n```", tags=["solution"])
    told, confirmed = markdown("It has 109,386 parameters."), markdown("109,386: right.")
    assert list(leaked_solutions(notebook(told, solution)))
    assert not list(leaked_solutions(notebook(markdown("About 1,109,386 or 109,386,000."), solution, confirmed)))
    assert not list(
        leaked_solutions(notebook(markdown("4 ranks"), markdown("```python\nn = 4\n```", tags=["solution"])))
    )


def numbers(prose, output="", source="lr = 0.05\nshare = 0.15", **metadata):
    found = unclaimed_numbers(notebook(code(source, output), markdown(prose, **metadata)))
    return [message.split("'")[1] if "'" in message else message for _, _, message, _ in found]


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("About 0.73 of them are right.", ["0.73"]),
        ("That is 73.1%, a lot.", ["73.1%"]),
        ("The network has 109,386 weights.", ["109,386"]),
        ("Accuracy reaches 81% here.", ["81%"]),
        ("It took 12.5 seconds.", ["12.5"]),
        ("The loss fell to 0.42.", ["0.42"]),
    ],
)
def test_measured_numbers_without_a_claim(prose, found):
    assert numbers(prose, "accuracy 0.7312 of 109386 weights") == found


@pytest.mark.parametrize(
    "prose",
    [
        "0.73 <!-- claim: accuracy ~= 0.73 ± 0.02 --> of them.",
        "It is 0.73 ± 0.02 <!-- claim: accuracy ~= 0.73 ± 0.02 -->.",
        "We mask 15% of the tokens with a rate of 0.05.",
        "See section 0.73, Python 3.11, version 0.73.1 and arXiv 1810.04805.",
        "`0.73` is code, $x = 0.73$ a formula.",
        "## 0.73 in a heading",
        "## References\n\nAn article, 2009, doi 10.1016/j.x.0.73; another took 0.73 s.",
        "The paper reports an accuracy of 84.6%.",
        "There are 3 classes, 128 units and 2 epochs.",
        "```\naccuracy 0.73\n```",
        "<!-- lessons:begin -->\n| 05 | 12.5 s | 0.73 |\n<!-- lessons:end -->",
    ],
)  # fmt: skip
def test_numbers_that_need_no_claim(prose):
    assert numbers(prose, "accuracy 0.7312") == []


def test_opting_out_of_claims_needs_a_reason():
    assert numbers("0.73", "0.73", tags=["no-claim"], reason="a logged run") == []
    assert numbers("0.73", "0.73", tags=["no-claim"]) == ["the tag `no-claim` needs a reason"]


def test_links_and_anchors():
    text = "[![b](i.svg)](x.md) ![p](y.png) <a href='z.md'>z</a> `[code](no.md)`\n\n```\n[no](no.md)\n```"
    assert set(links_in(text)) == {"x.md", "i.svg", "y.png", "z.md"}
    assert {"3.-Why-divide?", "3-why-divide"} <= anchors_in("## 3. Why divide?")


def test_budgets():
    few = [markdown("words"), code("x = 1"), markdown("words"), code("y = 2")]
    assert list(budget(notebook(*few))) == []
    many = [cell for _ in range(46) for cell in (markdown("word " * 100), code("x = 1"))]
    messages = " ".join(message for _, _, message, _ in budget(notebook(*many), seconds=91))
    for words in ["92 cells", "46 code cells", "4,600 words", "91 seconds"]:
        assert words in messages
    exercises = [
        cell for i in range(10) for cell in (markdown("w"), code("def f(): ...", tags=["exercise"], exercise=str(i)))
    ]
    assert [m for *_, m, _ in budget(notebook(*exercises))] == ["10 exercises; at most 8"]
    assert list(budget(notebook(*exercises, slug="14_pytorch_ddp"))) == []
    assert words_in("Two words <!-- claim: a == 3 -->\n```\nno words here\n```") == 2


def test_imports_stand_in_one_cell():
    home = code("%load_ext course_utils\nimport os\n\nos.environ['A'] = '1'\n\nimport math")
    module = code("%%module train.py\nimport torch")
    local = code("def f():\n    import json\n    return json")
    assert list(lint_lessons.imports(notebook(home, module, local))) == []
    written = code("from train import step\nimport train")
    assert list(lint_lessons.imports(notebook(home, module, written))) == []
    assert list(lint_lessons.imports(notebook(home, written, module)))
    late = code("if True:\n    import json")
    assert "json" in next(iter(lint_lessons.imports(notebook(home, late))))[2]
    for source in ("from math import *", "!pip install x", "import sys\nsys.path.append('x')"):
        assert list(lint_lessons.imports(notebook(home, code(source))))


def lesson_findings(root, body=BODY + CLOSING, exercises=EXERCISES):
    layout = make_checkout(root, body, exercises)
    assert main(["build", "--root", str(root)]) == 0
    return {(f.cell, f.status): f for f in lint_lesson(layout.source("05_small"), layout)}


def test_a_lesson_that_was_not_run_is_the_only_finding(tmp_path):
    found = lesson_findings(tmp_path)
    assert set(found) == {("bootstrap", "not-run")}
    assert "course build --execute" in str(found["bootstrap", "not-run"])


def test_lesson_rules(tmp_path):
    body = BODY.replace("# # 05 ·", "# # 5 ·").replace("# ### Exercise 05.1\n", "").replace('items")', '{unknown}")')
    second = '    Exercise("05.2", title="t", name="n", solution=3, check=None, minutes=1, difficulty=1),\n]'
    layout = make_checkout(tmp_path, body, EXERCISES.rstrip().removesuffix("]") + second)
    (layout.notebooks / "profiles" / "smoke.yaml").write_text("05_small:\n  num_item: 3\n")
    text = "\n".join(map(str, lint_lesson(layout.source("05_small"), layout)))
    for words in ["never built", "begin the lesson", "with a summary", "no heading introduces exercise 05.1"]:
        assert words in text
    for words in ["05.2 is defined once and used 0", "did you mean 'num_items'", "result · code: F821"]:
        assert words in text


def test_tree_rules(tmp_path):
    layout = make_checkout(tmp_path)
    bad = layout.package / "bad.py"
    bad.write_text("import os\nfrom dataclasses import dataclass\n\n@dataclass\nclass A:\n    x: int = 1\n    y = 2\n")
    found = [str(f) for f in [*ruff_findings(layout, [layout.package]), *dataclass_findings(layout)]]
    assert any("F401" in text and "line 1" in text for text in found)
    assert any("unformatted" in text for text in found)
    assert any("`y = 2` in dataclass A" in text and "line 7" in text for text in found)
    bad.write_text("no python\n")
    (finding,) = ruff_findings(layout, [bad])
    assert finding.cell == "line 1" and "invalid-syntax" in finding.message
    assert list(dataclass_findings(layout)) == []


def test_report_and_exit_codes(tmp_path, capsys):
    copy = tmp_path / "a copy ü.ipynb"
    shutil.copy(GOOD / "plain.ipynb", copy)
    report = tmp_path / "r.json"
    assert main(["lint", str(copy), "--json", str(report)]) == 0
    assert json.loads(report.read_text())["notebooks"][0]["status"] == "ok"
    text = copy.read_text(encoding="utf-8")
    copy.write_text(text.replace("0.731 <!-- claim: 0.731 ~= 0.731 ± 0.02 -->", "0.731"), encoding="utf-8")
    assert main(["lint", str(copy)]) == 0
    assert main(["lint", str(copy), "--strict"]) == 1
    assert "notice · unclaimed-number: warning: '0.731'" in capsys.readouterr().out
    assert main(["lint", str(tmp_path / "none.ipynb")]) == 2
    assert main(["lint", "77"]) == 2
    assert "no lesson '77'" in capsys.readouterr().err


def test_an_nbval_comment_that_skips_is_found():
    nb = notebook(code("# NBVAL_SKIP\nprint(1)"))
    assert [found[1] for found in lint_files.tags(nb)] == ["tag"]
