"""Helpers of the workbook on large pretrained models and distributed training.

Importing the package is instant: it loads neither torch nor TensorFlow. Import the module you need by its full name.
"""

__version__ = "0.1.0"


def load_ipython_extension(ipython) -> None:
    """`%load_ext course_utils` registers the cell magic `%%module` (see `course_utils.magics`)."""
    from course_utils import magics

    magics.register(ipython)
