"""Pictures of 28 x 28 pixels in ten classes: scikit-learn's bundled digits, on request MNIST or Fashion-MNIST.

The bundled digits are 8 x 8, so they are enlarged here into MNIST's frame. It does not download (`course fetch mnist`
does) and never falls back from one data set to another: a lesson shows the same on every machine.
"""

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_utils.data.idx import read_idx
from course_utils.errors import EnvironmentProblem, UserError
from course_utils.paths import cache_dir

IMAGE_SIZE = 28  # pixels, both ways
NUM_CLASSES = 10
FRAME = 4  # MNIST's digits fill 20 x 20 pixels inside a black frame of 4
BUNDLED_SIZE = 8
BUNDLED_MAX = 16  # brightest pixel of the bundled digits
NUM_BUNDLED_TEST = 360  # of 1,797; the 1,437 others divide neither by 2 nor by 64, so lessons meet uneven batches
SPLIT_SEED = 0

DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
IDX_SETS = {"mnist": DIGIT_NAMES, "fashion_mnist": FASHION_NAMES}
# Where packages of operating systems put the same files; the cache is looked at first.
SYSTEM_FOLDERS = {"mnist": ("/usr/share/datasets/mnist",), "fashion_mnist": ("/usr/share/datasets/fashion-mnist",)}
IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class Digits:
    """Images as uint8 (N, 28, 28), 0 black to 255 white, as MNIST publishes them, and labels as int64 (N,), 0 to 9."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


def load_digits(name: str = "digits", folder: Path | str | None = None) -> Digits:
    """One of the data sets `digits` (1,437 + 360 images), `mnist` or `fashion_mnist` (60,000 + 10,000).

    The bundled digits are split into training and test images once and for all (a fixed seed); the others come split.
    `folder` overrides where IDX files are looked for. Divide by 255 for values from 0 to 1.
    Raises UserError for an unknown name or a damaged file, EnvironmentProblem if the files are not on this machine.
    """
    if name == "digits":
        return _bundled_digits()
    if name in IDX_SETS:
        return _idx_digits(name, Path(folder) if folder is not None else find_idx_folder(name))
    raise UserError(f"There is no data set {name!r}. Known: digits (the default), {', '.join(IDX_SETS)}.")


def data_folder(name: str) -> Path:
    """Where `course fetch` puts the IDX files of a data set."""
    return cache_dir() / "data" / name


def find_idx_folder(name: str) -> Path:
    """The first known folder that holds a data set's training images. Raises EnvironmentProblem if there is none."""
    folders = [data_folder(name), *map(Path, SYSTEM_FOLDERS[name])]
    for folder in folders:
        if _find_idx_file(folder, IDX_FILES["train_images"]):
            return folder
    raise EnvironmentProblem(
        f"The data set {name} is not on this machine (looked in {', '.join(map(str, folders))}). "
        f"`course fetch {name}` downloads it; the parameter value 'digits' needs no download."
    )


def enlarge(images: np.ndarray) -> np.ndarray:
    """Bundled digits (N, 8, 8), 0 to 16, as uint8 (N, 28, 28), 0 to 255: bilinear to 20 x 20, then a black frame of 4.

    Whole numbers throughout, so that every machine gets the same bytes.
    """
    size = IMAGE_SIZE - 2 * FRAME
    weights, denominator = _bilinear_weights(BUNDLED_SIZE, size)  # (20, 8), each row adds up to `denominator`
    sums = weights @ images.astype(np.int64) @ weights.T  # (N, 20, 20)
    brightest = BUNDLED_MAX * denominator**2
    pixels = (2 * 255 * sums + brightest) // (2 * brightest)  # rounded to the nearest whole number
    return np.pad(pixels.astype(np.uint8), ((0, 0), (FRAME, FRAME), (FRAME, FRAME)))


def _bilinear_weights(old: int, new: int) -> tuple[np.ndarray, int]:
    """Integer weights (new, old) of linear interpolation between pixel centres, and what each row adds up to."""
    weights = np.zeros((new, old), np.int64)
    for row in range(new):
        # The centre of new pixel `row`, counted from the centre of old pixel 0 in units of 1 / (2 * new) old pixels.
        centre = min(max((2 * row + 1) * old - new, 0), 2 * new * (old - 1))
        left, right_share = divmod(centre, 2 * new)
        weights[row, left] = 2 * new - right_share
        if right_share:
            weights[row, left + 1] = right_share
    return weights, 2 * new


def _bundled_digits() -> Digits:
    table = _bundled_table()  # (1797, 65): 64 pixels and the label
    images, labels = enlarge(table[:, :-1].reshape(-1, BUNDLED_SIZE, BUNDLED_SIZE)), table[:, -1]
    # RandomState is numpy's frozen generator: the same split with every version.
    order = np.random.RandomState(SPLIT_SEED).permutation(len(table))
    test, train = order[:NUM_BUNDLED_TEST], order[NUM_BUNDLED_TEST:]
    return Digits("digits", images[train], labels[train], images[test], labels[test], DIGIT_NAMES)


def _bundled_table() -> np.ndarray:
    """The table inside scikit-learn, read directly: importing the package to get it would take seconds."""
    spec = importlib.util.find_spec("sklearn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EnvironmentProblem("scikit-learn's bundled digits are missing. `pip install scikit-learn` brings them.")
    with gzip.open(path, "rt", encoding="ascii") as lines:
        return np.loadtxt(lines, delimiter=",", dtype=np.int64)


def _idx_digits(name: str, folder: Path) -> Digits:
    arrays = {part: _read_part(name, folder, part) for part in IDX_FILES}
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if images.shape != (len(labels), IMAGE_SIZE, IMAGE_SIZE) or labels.max(initial=0) >= NUM_CLASSES:
            raise UserError(
                f"The {split} files in {folder} do not belong together: the images' shape is {images.shape}, there are "
                f"{len(labels)} labels up to {labels.max(initial=0)}. `course fetch {name}` brings the published ones."
            )
    return Digits(name=name, class_names=IDX_SETS[name], **arrays)


def _read_part(name: str, folder: Path, part: str) -> np.ndarray:
    path = _find_idx_file(folder, IDX_FILES[part])
    if path is None:
        raise EnvironmentProblem(
            f"{folder} has no {IDX_FILES[part]} (plain or .gz). `course fetch {name}` brings all four files of {name}."
        )
    return read_idx(path, 3) if part.endswith("images") else read_idx(path, 1).astype(np.int64)


def _find_idx_file(folder: Path, stem: str) -> Path | None:
    """The file plain or gzipped, in either of the two spellings that are in circulation."""
    names = [stem, stem.replace("-idx", ".idx")]
    candidates = [folder / (name + ending) for name in names for ending in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)
