"""The proof of every exercise of every lesson, present and future, and the proof that this proof catches bad ones."""

import importlib
import random

import bad_exercises as bad
import good_exercises as good
import numpy as np
import pytest
import torch

from course_utils.exercises import catalogue, proof
from course_utils.exercises.framework import run_check

IDS = list(catalogue.titles())


def test_there_are_exercises_to_prove():
    assert IDS, "no lesson_NN.py has an exercise: nothing would be proven"


@pytest.mark.parametrize("exercise_id", IDS)
def test_exercise_is_proven(exercise_id):
    problems = proof.prove(catalogue.find(exercise_id))
    assert not problems, "\n".join(f"{p.id} {p.status}: {p.message}" for p in problems)


@pytest.mark.parametrize("exercise_id", IDS)
def test_exercise_is_ready_for_a_lesson(exercise_id):
    item = catalogue.find(exercise_id)
    assert item.hints, "at least one hint"
    assert item.title == catalogue.titles()[exercise_id], "the title must be a literal: it is read from the source"
    assert 1 <= item.difficulty <= 5 and 1 <= item.minutes <= 90


@pytest.mark.parametrize("exercise_id", IDS)
def test_the_stub_that_the_notebook_shows_is_todo(exercise_id):
    exercise_source = importlib.import_module("course_utils.notebook.exercise_source")
    item = catalogue.find(exercise_id)
    source = exercise_source.read_exercises(exercise_id[:2])[exercise_id]
    module = importlib.import_module(f"course_utils.exercises.lesson_{exercise_id[:2]}")
    solution_module = importlib.import_module(getattr(item.solution, "__module__", module.__name__) or module.__name__)
    namespace = {**vars(solution_module), "__name__": "stub"}
    exec(source.stub, namespace)
    assert run_check(item, namespace[item.name]).status == "todo"


@pytest.mark.parametrize("item", good.EXERCISES, ids=lambda item: item.id)
def test_a_sound_exercise_is_proven(item):
    assert proof.prove(item) == []


@pytest.mark.parametrize("item", bad.EXERCISES, ids=lambda item: bad.CAUGHT_AS[item.id][0] + " " + item.check.__name__)
def test_a_broken_exercise_is_caught_by_name(item, monkeypatch):
    monkeypatch.setattr(proof, "SLOWEST_CHECK_S", 0.25 if item.check is bad.check_slow else proof.SLOWEST_CHECK_S)
    status, words = bad.CAUGHT_AS[item.id]
    problems = proof.prove(item)
    assert any(p.status == status and words in p.message for p in problems), problems


def test_a_check_restores_every_random_state():
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    assert run_check(good.EXERCISES[0], good.masked_mean).status == "pass"
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_a_check_restores_tensorflow_and_keras():
    import keras
    import tensorflow as tf

    def draw():
        numbers = tf.random.uniform([2]), tf.random.get_global_generator().normal([1]), keras.random.uniform((1,))
        return [value for tensor in numbers for value in tensor.numpy().tolist()]

    def seed():
        keras.utils.set_random_seed(5)
        tf.random.set_global_generator(tf.random.Generator.from_seed(5))
        draw()

    seed()
    expected = draw()
    seed()
    item = good.make_drawing_exercise(draw)
    assert run_check(item, good.masked_mean).status == "pass"
    assert draw() == expected
