"""What a failure says: expected, got, where, and the whole array when it is small; for every kind of value."""

import numpy as np
import pytest
import tensorflow as tf
import torch

from course_utils.exercises.expect import Failure, expect, expect_close, expect_equal

X = torch.arange(6.0).reshape(2, 3)


def failure(got, expected, **options):
    with pytest.raises(Failure) as caught:
        expect_close(got, expected, **options)
    return caught.value


@pytest.mark.parametrize(
    "got, expected",
    [
        (X, X + 1e-7),
        (X, X.double()),  # an oracle may be more precise
        (X.to(torch.bfloat16), X),
        (X.requires_grad_(False).numpy(), X.numpy()),
        (tf.constant([1.0, 2.0]), tf.constant([1.0, 2.0])),
        (torch.tensor(3.0), 3.0),
        (np.float32(0.5), 0.5),
        (float("nan"), float("nan")),
        ((1, 2.0), [1, 2.0]),
        ({"b": [X], "a": None}, {"a": None, "b": [X]}),
        (np.bool_(True), True),
        ({"x"}, {"x"}),
        (torch.empty(0, 3), torch.empty(0, 3)),
        (torch.tensor([True, False]), torch.tensor([True, False])),
        (torch.tensor([float("inf")]), torch.tensor([float("inf")])),
    ],
)
def test_equal_values_pass(got, expected):
    expect_close(got, expected)


@pytest.mark.parametrize(
    "got, expected, words",
    [
        (None, X, "Expected a torch tensor of shape (2, 3), float32, got None."),
        (None, 3, "Expected 3, got None."),
        (X[0], X, "Expected shape (2, 3), got (3,)."),
        (X.long(), X, "Expected floating point values, got integer ones (int64)."),
        (X > 2, X.long(), "Expected integer values, got boolean ones (bool)."),
        (X.numpy(), X, "Expected a torch tensor of shape (2, 3), float32, got a NumPy array of shape (2, 3), float32."),
        ([1.0], X, "Expected a torch tensor of shape (2, 3), float32, got a list of 1: [1.0]."),
        (tf.constant([1.0, 2.5]), tf.constant([1.0, 2.0]), "Expected 2 at [1], got 2.5. 1 of 2 values differ"),
        (0.75, 1, "Expected 1, got 0.75."),
        ("3", 3, "Expected a number, got the text '3'."),
        (True, 1, "Expected a number, got True."),
        (1, True, "Expected True, got the number 1."),
        ("the cat", "the dog", "Expected 'the dog', got 'the cat'."),
        ("the cat " * 9, "the cat " * 8 + "the dog ", "They differ from character 68 on: expected 'dog ', got 'cat '."),
        ([1, 2], [1, 2, 3], "Expected 3 elements, got 2."),
        ([1, 5, 3], [1, 2, 3], "Expected 2 at [1], got 5."),
        ({"a": 1}, {"a": 1, "b": 2}, "The keys differ: missing ['b']."),
        ({"a": {"b": 1.0}}, {"a": {"b": 2.0}}, "Expected 2 at ['a']['b'], got 1."),
        (print, 3, "Expected a number, got the function print."),
    ],
)
def test_the_message_says_expected_and_got(got, expected, words):
    assert words in failure(got, expected).headline


def test_a_small_matrix_is_shown_whole_with_the_first_difference():
    got = X.clone()
    got[1, 2] = 7.5
    found = failure(got, X)
    assert found.headline == "Expected 5 at [1, 2], got 7.5. 1 of 6 values differ, by up to 2.5."
    assert "[3, 4, 5]" in found.detail and "[3, 4, 7.5]" in found.detail


def test_of_a_large_tensor_only_the_first_wrong_row_is_shown():
    expected = torch.zeros(4, 5, 3)
    got = expected.clone()
    got[2, 1, 0] = 1
    found = failure(got, expected)
    assert "at [2, 1, 0], got 1" in found.headline
    assert found.detail.startswith("row [2, 1] expected:\n[0, 0, 0]")


def test_a_large_vector_is_not_dumped():
    assert failure(torch.ones(5_000), torch.zeros(5_000)).detail == ""


def test_nan_is_pointed_out():
    assert "Some are nan" in failure(torch.tensor([float("nan"), 1.0]), torch.tensor([1.0, 1.0])).headline


def test_an_exact_dtype_can_be_asked_for():
    expect_close(X, X, dtype=torch.float32)
    assert "dtype is float32 instead of torch.float16" in failure(X, X, dtype=torch.float16).headline


def test_tried_and_question_travel_with_the_failure():
    found = failure(1, 2, tried="f(0)", question="Why?")
    assert (found.tried, found.question) == ("f(0)", "Why?")
    assert failure(None, 2, question="Why?").question == "Did you forget `return`?"


def test_equal_has_no_tolerance():
    expect_equal([1, "a"], [1, "a"])
    with pytest.raises(Failure):
        expect_equal(X + 1e-6, X)


def test_expect():
    expect(True, "never")
    with pytest.raises(Failure, match="got 3"):
        expect(False, "got 3", "Why?")
