"""Runs a learner's code so that it cannot hurt the lesson: a time limit, captured prints, restored random state.

`Guarded` wraps a function under test: it remembers what was tried and notices inputs changed in place, nothing else.
"""

import contextlib
import functools
import io
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from course_utils.exercises.describe import array_kind, named_arguments, show_call
from course_utils.exercises.expect import Failure

SEED = 0
MOST_PRINTED = 2_000  # characters kept of what a learner's function prints
LARGEST_SNAPSHOT = 1_000_000  # values: larger inputs are not copied to see whether they change


class TimeLimit(BaseException):
    """Raised inside code that ran too long. No `Exception`, so that a learner's `except Exception` does not eat it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimit` in the running code after `seconds`.

    Best effort: works in the main thread where the system has SIGALRM; one long call into C is stopped when it returns.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(signum, frame):
        raise TimeLimit(f"stopped after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 2.0)  # again every 2 s: a bare `except:` may swallow the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class LimitedText(io.StringIO):
    """Keeps the first `MOST_PRINTED` characters; the rest of a runaway print is dropped."""

    def write(self, text: str) -> int:
        room = MOST_PRINTED - self.tell()
        if room > 0:
            super().write(text[:room])
            if len(text) >= room:
                super().write("\n... (more was printed)")
        return len(text)


@contextlib.contextmanager
def captured_output() -> Iterator[io.StringIO]:
    """What is printed meanwhile, at most a page of it."""
    with contextlib.redirect_stdout(LimitedText()) as text:
        yield text


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Seed Python, NumPy and (where loaded) torch and TensorFlow; afterwards put every generator back as it was."""
    restore = [save() for save in (save_python, save_numpy, save_torch, save_tensorflow)]
    try:
        yield
    finally:
        for put_back in restore:
            put_back()


def save_python() -> Callable[[], None]:
    state = random.getstate()
    random.seed(SEED)
    return lambda: random.setstate(state)


def save_numpy() -> Callable[[], None]:
    state = np.random.get_state()
    np.random.seed(SEED)
    return lambda: np.random.set_state(state)


def save_torch() -> Callable[[], None]:
    torch = sys.modules.get("torch")
    if torch is None:
        return lambda: None
    cpu, grad = torch.get_rng_state(), torch.is_grad_enabled()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    torch.manual_seed(SEED)

    def put_back() -> None:
        torch.set_rng_state(cpu)
        torch.set_grad_enabled(grad)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)

    return put_back


def save_tensorflow() -> Callable[[], None]:
    """TensorFlow's seed and its generator of operation seeds live in its eager context, which has no public getter."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not hasattr(tf, "random"):
        return lambda: None
    from tensorflow.python.eager import context

    eager = context.context()
    seed, rng = eager._seed, getattr(eager, "_rng", None)  # without a seed there is no generator
    variables = [(variable, variable.numpy()) for variable in tensorflow_variables()]
    state = rng.getstate() if rng is not None else None
    eager._set_global_seed(SEED)  # not tf.random.set_seed, which would also replace the global generator

    def put_back() -> None:
        eager._set_global_seed(seed)  # also clears the kernels that hold a state of their own
        if rng is not None:
            eager._rng = rng
            rng.setstate(state)
        for variable, value in variables:
            variable.assign(value)

    return put_back


def tensorflow_variables() -> list[Any]:
    """The variables that hold TensorFlow's global generator and Keras' global seed, where they exist already."""
    from tensorflow.python.ops import stateful_random_ops

    found = [stateful_random_ops.global_generator]
    if "keras.src.backend.common.global_state" in sys.modules:
        from keras.src.backend.common import global_state

        found.append(global_state.get_global_attribute("global_seed_generator"))
    return [generator.state for generator in found if generator is not None]


class Guarded:
    """A learner's function, called as if it were itself; pickles as the function, so that ranks can import it."""

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)
        self.function = function
        self.tried, self.returned, self.num_calls = "", None, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.num_calls += 1
        self.tried = show_call(self.function, args, kwargs)
        inputs = named_arguments(self.function, args, kwargs)
        before = {key: snapshot(value) for key, value in inputs.items()}
        self.returned = None
        self.returned = self.function(*args, **kwargs)
        for key, value in inputs.items():
            if before[key] is not None and not same(before[key], snapshot(value)):
                changed = f"Your function changed its argument `{key}` in place."
                raise Failure(changed, "Which line writes into its input?")
        return self.returned

    def __reduce__(self):
        return _the_function, (self.function,)


def _the_function(function: Callable) -> Callable:
    return function


def snapshot(value: Any) -> Any:
    """A copy to compare with later; None for what we do not follow (models, functions, very large arrays)."""
    kind = array_kind(value)
    if kind == "torch tensor":
        return value.detach().clone() if value.numel() <= LARGEST_SNAPSHOT else None
    if kind == "NumPy array":
        return value.copy() if value.size <= LARGEST_SNAPSHOT else None
    if isinstance(value, list | tuple):
        return [snapshot(v) if array_kind(v) or isinstance(v, list | tuple | dict) else v for v in value]
    if isinstance(value, dict):
        return {k: snapshot(v) if array_kind(v) or isinstance(v, list | tuple | dict) else v for k, v in value.items()}
    return None


def same(a: Any, b: Any) -> bool:
    """Whether two snapshots are equal; nan equals nan; objects we do not follow count as equal."""
    if type(a) is not type(b):
        return False
    kind = array_kind(a)
    if kind == "torch tensor":
        return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
    if kind == "NumPy array":
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a is b or not isinstance(a, int | float | str | bool) or a == b
