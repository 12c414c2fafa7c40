"""Sources: what is read, and that every mistake of an author is named with its line."""

import pytest

from course_utils.errors import UserError
from course_utils.notebook.percent import read_source

HEADER = """\
# ---
# jupyter:
#   course:
#     title: Ünïcode · a title
#     question: What is read?
#     minutes: 30
#     needs: CPU
# ---
"""
TITLE = '\n# %% [markdown] id="title"\n# # 05 · Title\n'


def write(folder, text, name="05_small.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_keep_ids_tags_metadata_and_magics(tmp_path):
    body = '\n# %% id="load"\n# %load_ext course_utils\n\n# %% id="module" tags=["a", "b"] note="kept"\n'
    body += '# %%module train.py\nx = 1\n\n# %% id="ex1" exercise="05.1"\n'
    source = read_source(write(tmp_path, HEADER + TITLE + body))
    assert (source.slug, source.number, source.header["title"]) == ("05_small", "05", "Ünïcode · a title")
    title, load, module, exercise = source.cells
    assert (title.kind, title.source) == ("markdown", "# 05 · Title")
    assert load.source == "%load_ext course_utils"
    assert module.source == "%%module train.py\nx = 1"
    assert (module.tags, module.metadata) == (("a", "b"), {"note": "kept"})
    assert (exercise.exercise, exercise.source, exercise.line) == ("05.1", "", 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TITLE, ["line 1", "header", "missing"]),
        (HEADER.replace("minutes: 30", "minutes: [30") + TITLE, ["line", "YAML"]),
        (HEADER.replace("minutes: 30", "minuets: 30") + TITLE, ["minuets", "did you mean `minutes`"]),
        (HEADER.replace("#     minutes: 30\n", "") + TITLE, ["lacks `minutes`"]),
        (HEADER.replace("minutes: 30", "minutes: yes") + TITLE, ["minutes", "True"]),
        (HEADER.replace("needs: CPU", "needs: CPU\n#     prerequisites: [3]") + TITLE, ["prerequisite 3"]),
        (HEADER + TITLE + '\n# %% id="title"\nx = 1\n', ["line 13", "'title'", "twice"]),
        (HEADER + TITLE + "\n# %%\nx = 1\n", ["line 13", "no id"]),
        (HEADER + TITLE + '\n# %% id="a b"\nx = 1\n', ["line 13", "'a b'"]),
        (HEADER + TITLE + '\n# %% id="a"\n\n# %% id="b"\nx = 1\n', ["line 13", "'a' is empty"]),
        (HEADER + TITLE + '\n# %% id="ex1" exercise="05.1"\nx = 1\n', ["line 13", "build fills it"]),
        (HEADER + '\n# %% id="code"\nx = 1\n', ["first cell", "markdown"]),
        (HEADER + TITLE + '\n# %% [raw] id="r"\n# x\n', ["line 13", "raw"]),
        (HEADER + TITLE + '\n# %% id="t" tags="parameters"\nx = 1\n', ["parameters", "array"]),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, says):
    with pytest.raises(UserError) as caught:
        read_source(write(tmp_path, text))
    assert caught.value.status == "invalid-notebook"
    for words in ["05_small.py", *says]:
        assert words in str(caught.value)


def test_a_source_needs_a_number(tmp_path):
    with pytest.raises(UserError, match="NN_slug"):
        read_source(write(tmp_path, HEADER + TITLE, "small.py"))
