"""Parameters and profiles: what is accepted, and that everything else is an error before anything runs."""

import nbformat
import pytest

from course_utils.errors import UserError
from course_utils.notebook.layout import Layout
from course_utils.notebook.profiles import load_profile, parameters_of, resolve_parameters

CELL = """\
num_epochs = 3  # passes
rate: float = 1e-3
use_cache = True
model_name = "minilm"
sizes = [1, 2]
limit = None
"""


def notebook(source=CELL):
    tags = {"tags": ["parameters"]}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, metadata=tags)])


def checkout(root, text, profile="smoke"):
    (root / "notebooks" / "profiles").mkdir(parents=True)
    (root / "notebooks" / "src").mkdir()
    (root / "notebooks" / "src" / "05_small.py").touch()
    (root / "notebooks" / "profiles" / f"{profile}.yaml").write_text(text, encoding="utf-8")
    return Layout(root)


def test_parameters_are_read_in_order():
    values = parameters_of(notebook())
    assert list(values) == ["num_epochs", "rate", "use_cache", "model_name", "sizes", "limit"]
    assert values["rate"] == 0.001 and parameters_of(nbformat.v4.new_notebook()) == {}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("a = 3\nb = a * 2", "computed from `a`"),
        ("a = 2 ** 10", "is an expression"),
        ("a = f'{3}'", "expression"),
        ("import os", "not an assignment"),
        ("a = b = 3", "not an assignment"),
        ("a, b = 1, 2", "not an assignment"),
        ("a = 1\na = 2", "second time"),
        ("a: int", "expression"),
        ("a += 1", "not an assignment"),
        ("a = = 1", "not Python"),
        ("print(1)", "not an assignment"),
    ],
)
def test_anything_but_a_literal_is_refused(source, says):
    with pytest.raises(UserError, match=says) as caught:
        parameters_of(notebook(source))
    assert caught.value.status == "parameters-not-literal"


def test_profile_and_overrides_merge_with_the_types_of_the_defaults():
    given = {"05_small": {"num_epochs": 1, "rate": 1, "limit": 5}}
    values = resolve_parameters(
        notebook(), "05_small", given, {"num_epochs": "7", "sizes": "[4]", "use_cache": "false"}
    )
    assert values == {"num_epochs": 7, "rate": 1.0, "limit": 5, "sizes": [4], "use_cache": False}
    assert type(values["rate"]) is float
    assert resolve_parameters(notebook(), "05_small", given, {"model_name": "7"})["model_name"] == "7"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_epoch": 1}, "did you mean 'num_epochs'"),
        ({"num_epochs": "1"}, "'1' in the profile is str"),
        ({"num_epochs": 1.0}, "float"),
        ({"num_epochs": True}, "bool"),
        ({"rate": True}, "bool"),
        ({"use_cache": 1}, "int"),
        ({"model_name": None}, "NoneType"),
    ],
)
def test_wrong_names_and_types_are_refused(values, says):
    with pytest.raises(UserError, match=says) as caught:
        resolve_parameters(notebook(), "05_small", {"05_small": values})
    assert caught.value.status == "bad-parameter" and "05_small" in str(caught.value)


@pytest.mark.parametrize("text", ["many", "1.5", "true"])
def test_an_override_that_does_not_fit_is_refused(text):
    with pytest.raises(UserError, match="num_epochs"):
        resolve_parameters(notebook(), None, "default", {"num_epochs": text})


def test_a_profile_file_is_read_with_exponents_as_numbers(tmp_path):
    layout = checkout(tmp_path, "# nothing yet\n05_small:\n  rate: 1e-3\n  name: '1e-3'\n")
    assert load_profile("smoke", layout) == {"05_small": {"rate": 0.001, "name": "1e-3"}}
    assert load_profile("default", layout) == {}


def test_empty_profiles_change_nothing(tmp_path):
    assert load_profile("gpu", checkout(tmp_path, "# comment only\n", "gpu")) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("05_smal:\n  a: 1\n", "did you mean '05_small'"),
        ("05_small:\n  a: [1\n", "line 3"),
        ("05_small:\n  a: 1\n  a: 2\n", "line 3.*twice"),
        ("- a\n", "one entry per lesson"),
        ("05_small: 3\n", "name: value"),
    ],
)
def test_a_broken_profile_is_refused_with_its_line(tmp_path, text, says):
    with pytest.raises(UserError, match=says) as caught:
        load_profile("smoke", checkout(tmp_path, text))
    assert caught.value.status == "bad-parameter"


def test_a_profile_in_another_encoding_is_refused(tmp_path):
    layout = checkout(tmp_path, "")
    (layout.notebooks / "profiles" / "smoke.yaml").write_text("05_small: Größe\n", encoding="latin-1")
    with pytest.raises(UserError, match="smoke.yaml is not UTF-8 text") as caught:
        load_profile("smoke", layout)
    assert caught.value.status == "bad-parameter"


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'smoke'"):
        load_profile("smok")
