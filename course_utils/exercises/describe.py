"""How values are shown to a learner: one short line, or the whole array when it is small.

Knows torch tensors, NumPy arrays and TensorFlow tensors without importing their libraries. Does not compare anything.
"""

import inspect
import sys
from typing import Any

import numpy as np

SMALL_ARRAY = 36  # values shown whole in a failure
TINY_ARRAY = 6  # values shown inside a sentence
LONGEST_TEXT = 70


def array_kind(value: Any) -> str | None:
    """ "torch tensor", "TensorFlow tensor", "NumPy array", or None for anything else."""
    if isinstance(value, np.ndarray | np.generic):
        return "NumPy array" if isinstance(value, np.ndarray) else None
    torch, tf = sys.modules.get("torch"), sys.modules.get("tensorflow")
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        return "torch tensor"
    if tf is not None and hasattr(tf, "is_tensor") and tf.is_tensor(value):
        return "TensorFlow tensor"
    return None


def as_array(value: Any) -> np.ndarray:
    """The values as a NumPy array on the CPU; bfloat16 becomes float32, which NumPy knows."""
    if array_kind(value) == "torch tensor":
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
        return value.resolve_conj().resolve_neg().numpy()
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)


def dtype_name(value: Any) -> str:
    """`float32`, not `torch.float32` or `<dtype: 'float32'>`."""
    return getattr(value.dtype, "name", None) or str(value.dtype).removeprefix("torch.")


def show_number(value: Any) -> str:
    """A number in at most six significant digits; integers whole, with thousands separators from 10,000 on."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return repr(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.5g}"


def show_array(array: np.ndarray) -> str:
    """The whole array, rows aligned, five significant digits."""
    formatter = {"float_kind": lambda x: f"{x:.4g}"}
    return np.array2string(array, separator=", ", max_line_width=100, threshold=10_000, formatter=formatter)


def describe(value: Any) -> str:
    """One short phrase: `a torch tensor of shape (2, 3), float32`, `the text 'abc'`, `None`."""
    if kind := array_kind(value):
        return f"a {kind} of shape {tuple(value.shape)}, {dtype_name(value)}"
    if value is None:
        return "None"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    if isinstance(value, str):
        return f"the text {shorten(repr(value))}"
    if isinstance(value, bool | int | float | np.generic):
        return f"the number {show_number(value)}" if not isinstance(value, bool) else str(value)
    if isinstance(value, list | tuple | set | dict):
        return f"a {type(value).__name__} of {len(value)}: {shorten(repr(value))}"
    return f"a {type(value).__name__}"


def show_argument(value: Any) -> str:
    """An argument inside a call: values when tiny, else what it is."""
    if array_kind(value):
        array = as_array(value)
        size = f"tensor of shape {tuple(array.shape)}" if array.ndim else "tensor"
        return show_array(array).replace("\n", "") if 0 < array.size <= TINY_ARRAY else f"<{size}>"
    if isinstance(value, bool | int | float | np.generic):
        return repr(value.item() if hasattr(value, "item") else value)
    if isinstance(value, str | list | tuple | dict | set | None):
        return shorten(repr(value))
    return f"<{getattr(value, '__name__', type(value).__name__)}>"


def named_arguments(function: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Arguments by parameter name; by number ("1", "2", ...) where the call does not fit the function."""
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {str(i): value for i, value in enumerate(args, start=1)} | kwargs


def show_call(function: Any, args: tuple, kwargs: dict) -> str:
    """`masked_mean(x=<tensor of shape (2, 5, 4)>, mask=...)`: with parameter names where they are known."""
    name = getattr(function, "__name__", type(function).__name__)
    named = named_arguments(function, args, kwargs)
    shown = [f"{key}={show_argument(v)}".removeprefix(f"{key}=" * key.isdigit()) for key, v in named.items()]
    return f"{name}({', '.join(shown)})"


def shorten(text: str, length: int = LONGEST_TEXT) -> str:
    """The text, or its beginning and `...`."""
    return text if len(text) <= length else text[: length - 3] + "..."
