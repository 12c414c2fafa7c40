"""Exercises read as text: stubs, solutions followed through imports, predictions, mistakes named with their line."""

import sys
import textwrap

import pytest

from course_utils.errors import UserError
from course_utils.notebook.exercise_source import read_exercises
from course_utils.notebook.stub import global_names, stub_of

COMMON = "title='t', check=None, minutes=10, difficulty=2"
TWICE = "\n".join(f"E{i} = Exercise('05.1', solution=f, {COMMON})" for i in range(2))


def package(root, lesson, **modules):
    for name, text in {"exercises.lesson_05": lesson, **modules}.items():
        path = root.joinpath("course_utils", *name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return read_exercises("05", root)


def test_stub_keeps_decorators_signature_and_docstring_and_hides_the_body():
    solution = textwrap.dedent('''\
        @torch.no_grad()
        def masked_mean(
            x: torch.Tensor, mask: "torch.Tensor" = None, *, key=lambda pair: pair[1]
        ) -> torch.Tensor:  # divide by the mask
            """The mean: of what is left.

            Two paragraphs.
            """
            # the trick is here
            return (x * mask).sum() / mask.sum()''')
    stub = stub_of(solution, "05.1")
    assert stub.splitlines()[:4] == [
        "@torch.no_grad()",
        "def masked_mean(",
        '    x: torch.Tensor, mask: "torch.Tensor" = None, *, key=lambda pair: pair[1]',
        ") -> torch.Tensor:",
    ]
    assert stub.endswith('    """\n    raise NotImplementedError("exercise 05.1")')
    assert "trick" not in stub and "divide" not in stub and "mask.sum" not in stub
    with pytest.raises(NotImplementedError, match=r"exercise 05\.1"):
        namespace = {}
        exec(stub.replace("@torch.no_grad()", "").replace("torch.Tensor", "int"), namespace)
        namespace["masked_mean"](1)


def test_stub_of_a_class_keeps_fields_and_empties_methods():
    solution = '''\
class Layer(Base):
    """A layer."""

    width: int = 3
    _secret = 12

    def __init__(self, width: int):
        self.weight = secret(width)

    @property
    def size(self) -> int:
        """How large."""
        return self.width ** 2'''
    namespace = {"Base": object}
    stub = stub_of(solution, "05.2")
    exec(stub, namespace)
    assert "secret" not in stub and namespace["Layer"].width == 3
    with pytest.raises(NotImplementedError, match=r"05\.2"):
        namespace["Layer"](3)
    with pytest.raises(NotImplementedError):
        _ = object.__new__(namespace["Layer"]).size


@pytest.mark.parametrize(
    "code", ["def f(x): return x + 1", 'def f(x): "Doc."; return x', "async def f(x):\n    return x"]
)
def test_stub_of_short_definitions(code):
    exec(stub_of(code, "05.1"), {})


def test_global_names_are_those_of_the_notebook():
    code = (
        "@no_grad()\ndef f(x: Tensor, n=SIZE):\n    import os\n    y = [g(i) for i in range(n)]\n    return f, os, y, x"
    )
    assert global_names(code) == {"no_grad", "Tensor", "SIZE", "g"}


def test_a_solution_is_followed_through_imports_and_nothing_is_imported(tmp_path):
    lesson = f"""
        raise RuntimeError("this module must never be imported")
        from course_utils import attention as att
        from course_utils.models import scaled
        EXERCISES = [
            Exercise("05.1", solution=scaled, hints=["h"], {COMMON}),
            Exercise("05.2", solution=att.masked, {COMMON}),
        ]
    """
    models = "from .blocks import scaled_attention as scaled\n"
    blocks = "def scaled_attention(q):\n    return helper(q)\n"
    found = package(
        tmp_path,
        lesson,
        **{"models.__init__": models, "models.blocks": blocks, "attention": "def masked(a):\n    return 1\n"},
    )
    assert found["05.1"].solution == "def scaled_attention(q):\n    return helper(q)"
    assert (found["05.1"].name, found["05.1"].needed_names, found["05.1"].hints) == (
        "scaled_attention",
        {"helper"},
        ("h",),
    )
    assert found["05.2"].name == "masked"
    assert "course_utils.models.blocks" not in sys.modules


def test_predictions_and_constants(tmp_path):
    lesson = f"""
        ANSWER = 784 * 128 + 128
        EXERCISES = [
            Exercise("05.1", name="count", solution=109_386, {COMMON}),
            Exercise("05.2", name="size", solution=ANSWER, {COMMON}),
        ]
    """
    found = package(tmp_path, lesson)
    assert found["05.1"].stub == "count = ...  # your answer"
    assert found["05.1"].solution == "count = 109_386"
    assert found["05.2"].solution == "size = 784 * 128 + 128"
    assert found["05.1"].heading == "Exercise 05.1 · t · 10 minutes · difficulty ●●○○○"


@pytest.mark.parametrize(
    ("lesson", "says"),
    [
        (f"def f(): pass\nE = [Exercise('06.1', solution=f, {COMMON})]", ["line 2", "begin with 05."]),
        (f"def f(): pass\nE = [Exercise('05.1', {COMMON})]", ["lacks `solution=`"]),
        (f"E = [Exercise('05.1', solution=f, {COMMON})]", ["`f` is neither defined nor imported"]),
        (f"from numpy import mean\nE = [Exercise('05.1', solution=mean, {COMMON})]", ["`numpy`"]),
        (f"E = [Exercise('05.1', solution=12, {COMMON})]", ["needs `name=`"]),
        (f"E = [Exercise('05.1', name='n', solution=lambda x: x, {COMMON})]", ["lambda"]),
        ("def f(): pass\nE = [Exercise('05.1', solution=f, title='t', minutes=1, difficulty=9)]", ["1 to 5"]),
        ("def f(): pass\nE = [Exercise('05.1', solution=f, title=T, minutes=1, difficulty=1)]", ["literal"]),
        (f"def f(): pass\n{TWICE}", ["line 3", "twice"]),
        ("def f(:\n", ["line 1", "parse"]),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, lesson, says):
    with pytest.raises(UserError) as caught:
        package(tmp_path, lesson)
    assert caught.value.status == "invalid-notebook"
    for words in ["lesson_05.py", *says]:
        assert words in str(caught.value)


def test_a_lesson_without_exercises(tmp_path):
    assert read_exercises("05", tmp_path) == {}
