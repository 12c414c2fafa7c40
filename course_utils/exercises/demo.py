"""Shows what the four answers look like, on an exercise that counts for nothing: lesson 00 uses it once.

Nothing is recorded, and the output that tells the engine about an exercise is left out.
"""

from collections.abc import Callable

from course_utils.exercises import display
from course_utils.exercises.expect import expect_equal
from course_utils.exercises.framework import Exercise, evaluate


def last_word(text: str) -> str:
    """The last word of a text."""
    return text.split()[-1]


def check_last_word(last_word: Callable[[str], str]) -> None:
    """The last word of three texts of one to six words."""
    for text, expected in [("hello", "hello"), ("two words", "words"), ("the cat sat on the mat", "mat")]:
        expect_equal(last_word(text), expected, question="From which end of the list do you count?")


def first_word(text: str) -> str:
    """takes the first word"""
    return text.split()[0]


def last_letter(text: str) -> str:
    """takes the last letter, not the last word"""
    return text[-1]


DEMO = Exercise(
    "00.0",
    title="the last word",
    solution=last_word,
    check=check_last_word,
    wrong=[first_word, last_letter],
    minutes=1,
    difficulty=1,
)


def try_out(answer: Callable[[str], str]) -> None:
    """Check an answer to the demonstration exercise and show the verdict; nothing is recorded."""
    display.show(evaluate(DEMO, answer), report=False)
