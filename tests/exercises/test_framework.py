"""Verdicts on what learners really hand in, and what keeps a lesson safe from it."""

import contextlib
import math
import pickle
import signal
import threading
import time

import good_exercises as good
import numpy as np
import pytest
import torch

from course_utils.errors import UserError
from course_utils.exercises import catalogue, demo, exercise, proof
from course_utils.exercises.framework import Exercise, evaluate, run_check
from course_utils.exercises.guard import MOST_PRINTED, Guarded

MEAN, STEPS, COUNTER = good.EXERCISES


def test_pass_says_what_was_verified():
    verdict = evaluate(MEAN, good.masked_mean)
    assert (verdict.status, verdict.headline) == ("pass", "Means of two ragged rows, against a loop.")


def test_a_known_misconception_is_named_even_when_written_differently():
    verdict = evaluate(MEAN, lambda x, mask: torch.stack(list(x.unbind(1))).sum(0) / x.shape[1])
    assert (verdict.status, verdict.misconception) == ("wrong", "ignores the mask")
    assert verdict.question == "How many real rows does each mean have?"
    assert "tensor of shape (2, 3, 4)" in verdict.tried


def test_an_unknown_mistake_gets_no_misconception():
    verdict = evaluate(MEAN, lambda x, mask: x.max(1).values)
    assert (verdict.status, verdict.misconception) == ("wrong", "")


def test_predictions_and_classes_are_diagnosed_too():
    assert evaluate(STEPS, 2).misconception == "drops the last batch"
    assert evaluate(COUNTER, good.FirstWord).misconception == "returns the first word"


def no_return(x, mask):
    x.mean(1)


def raises(x, mask):
    return x.mean(1) + undefined_name  # noqa: F821


def forever(x, mask):
    while True:
        pass


def forever_swallowing(x, mask):
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def writes_into_its_input(x, mask):
    x[~mask] = 0
    return x.sum(1) / mask.sum(1, keepdim=True)


def chatty(x, mask):
    while True:
        print("x" * 1000)


def test_forgotten_return():
    verdict = evaluate(MEAN, no_return)
    assert verdict.status == "wrong" and verdict.question == "Did you forget `return`?"


def test_an_exception_is_shown_with_the_learners_line():
    verdict = evaluate(MEAN, raises)
    assert verdict.status == "error"
    assert verdict.headline == "Your code raised NameError: name 'undefined_name' is not defined"
    assert "return x.mean(1) + undefined_name" in verdict.detail and "^^^" in verdict.detail
    assert "Traceback" not in verdict.detail


@pytest.mark.parametrize("function", [forever, forever_swallowing, chatty])
def test_an_endless_loop_is_stopped(function):
    item = Exercise("90.9", title="", solution=good.masked_mean, check=good.check_masked_mean, wrong=MEAN.wrong,
                    limit_s=0.3)  # fmt: skip
    verdict = run_check(item, function)
    assert (verdict.status, verdict.question) == ("error", "Is there a loop that never ends?")
    assert verdict.headline.startswith("Stopped after 0.3 seconds")
    assert "line " in verdict.detail
    assert len(verdict.printed) < MOST_PRINTED + 100
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_checks_also_run_outside_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(run_check(MEAN, good.masked_mean).status))
    thread.start()
    thread.join()
    assert found == ["pass"]


def test_changing_an_input_is_noticed():
    verdict = evaluate(MEAN, writes_into_its_input)
    assert verdict.status == "wrong" and "changed its argument `x` in place" in verdict.headline


def test_prints_are_kept_with_the_verdict():
    def talks(x, mask):
        print("shape", tuple(x.shape))
        return x.mean(1)

    assert evaluate(MEAN, talks).printed == "shape (2, 3, 4)"


@pytest.mark.parametrize(
    "item, answer, words",
    [
        (MEAN, 3.0, "asks for the function itself"),
        (MEAN, torch.ones(2), "got a torch tensor of shape (2,), float32"),
        (STEPS, "3", "got the text '3'. Write it without quotes."),
        (STEPS, len, "Did you forget to call it?"),
        (STEPS, [3], "asks for a number, got a list of 1: [3]"),
        (STEPS, (109, 386), "A comma makes a pair: write 1000000 or 1_000_000."),
        (COUNTER, good.Counter(["a"]), "asks for the class `Counter` itself"),
    ],
)
def test_the_wrong_kind_of_answer(item, answer, words):
    verdict = evaluate(item, answer)
    assert verdict.status == "wrong" and words in verdict.headline


@pytest.mark.parametrize("answer", [3, 3.0, np.int64(3), torch.tensor(3)])
def test_numbers_of_every_library_are_numbers(answer):
    assert evaluate(STEPS, answer).status == "pass"


@pytest.mark.parametrize("item, answer", [(STEPS, ...), (STEPS, None), (MEAN, ...)])
def test_nothing_filled_in_is_todo(item, answer):
    assert evaluate(item, answer).status == "todo"


def test_a_stub_that_raised_in_another_process_is_todo():
    def through_a_rank(x, mask):
        raise RuntimeError("rank 1 failed:\nTraceback ...\nNotImplementedError: exercise 90.1")

    assert evaluate(MEAN, through_a_rank).status == "todo"


def test_the_learners_own_not_implemented_error_is_an_error():
    def half_done(x, mask):
        raise NotImplementedError("later")

    assert evaluate(MEAN, half_done).status == "error"


def test_exit_does_not_end_the_kernel():
    assert evaluate(MEAN, lambda x, mask: exit()).status == "error"


def test_a_check_that_cannot_use_the_result_says_what_was_returned():
    def check(f) -> None:
        """Uses the result."""
        f(1).sum()

    item = Exercise("90.9", title="", solution=torch.tensor, check=check, wrong=[(math.sin, "a"), (math.cos, "b")])

    def makes_a_list(x):
        return [x]

    verdict = run_check(item, makes_a_list)
    assert verdict.status == "wrong" and "returned a list of 1: [1]" in verdict.headline


def test_a_guarded_function_pickles_as_the_function():
    assert pickle.loads(pickle.dumps(Guarded(good.masked_mean))) is good.masked_mean


@pytest.mark.parametrize("given, near", [("0.1", "00.1"), ("00.01", "00.1"), ("00-1", "00.1"), (0.1, "00.1")])
def test_an_unknown_id_names_the_nearest(given, near):
    with pytest.raises(UserError, match=f'did you mean "{near}"'):
        exercise(given, 3)


def test_exercises_are_in_course_order(tmp_path):
    calls = ", ".join(f'Exercise("90.{k}", title="t{k}")' for k in (10, 2, 1))
    (tmp_path / "lesson_90.py").write_text(f"EXERCISES = [{calls}]")
    assert catalogue.titles(tmp_path) == {"90.1": "t1", "90.2": "t2", "90.10": "t10"}


def test_the_lesson_goes_on_with_the_right_object(capsys):
    item = catalogue.find("00.1")
    assert exercise("00.1", ...) == item.solution
    assert exercise("00.1", 5) == item.solution
    mine = np.int64(item.solution)
    assert exercise("00.1", mine) is mine
    out = capsys.readouterr().out
    assert "00.1 to do." in out and "00.1 not yet." in out and "00.1 passed." in out


@pytest.mark.parametrize(
    "change, words",
    [
        ({"id": "5.2"}, "two digits, a dot, a number"),
        ({"wrong": [(1, "a")]}, "two or more wrong answers"),
        ({"wrong": [(1, "a"), (2, "")]}, "names no misconception"),
        ({"name": ""}, "a prediction needs name="),
    ],
)
def test_a_badly_defined_exercise_is_refused(change, words):
    facts = {"id": "90.2", "title": "", "name": "n", "solution": 3, "check": good.check_steps, "wrong": STEPS.wrong}
    with pytest.raises(ValueError, match=words):
        Exercise(**{**facts, **change})


def test_the_demonstration_gives_all_four_answers_and_records_nothing(capsys, state_folder):
    def crashes(text):
        return text.split[-1]

    def untouched(text):
        raise NotImplementedError("exercise 00.0")

    for answer in (untouched, demo.first_word, crashes, demo.last_word):
        demo.try_out(answer)
    out = capsys.readouterr().out
    assert [out.count(f"00.0 {word}.") for word in ("to do", "not yet", "error", "passed")] == [1, 1, 1, 1]
    assert "Likely cause: takes the first word." in out
    assert not state_folder.exists()
    assert proof.prove(demo.DEMO) == []
