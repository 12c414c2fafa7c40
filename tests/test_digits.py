"""The digits of lessons 12 and 14: the bundled set, IDX files good and bad, and no silent change of data set."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from course_utils.data import digits
from course_utils.data.digits import IDX_FILES, enlarge, load_digits
from course_utils.data.idx import read_idx
from course_utils.errors import EnvironmentProblem, UserError


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of unsigned bytes as an IDX file."""
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


@pytest.fixture
def idx_folder(tmp_path):
    """A small MNIST: seven training and three test images, two files gzipped, two plain, one in the other spelling."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "Größe und Maß"
    folder.mkdir()
    for part, stem in IDX_FILES.items():
        num = 7 if part.startswith("train") else 3
        shape, high = ((num, 28, 28), 256) if part.endswith("images") else ((num,), 10)
        content = idx_bytes(generator.integers(0, high, shape))
        if part == "train_images":
            (folder / f"{stem}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / stem.replace("-idx", ".idx" if part == "test_labels" else "-idx")).write_bytes(content)
    return folder


def test_bundled_digits_are_the_same_on_every_machine():
    data = load_digits()
    assert data.train_images.shape == (1437, 28, 28) and data.test_images.shape == (360, 28, 28)
    assert data.train_images.dtype == np.uint8 and data.train_labels.dtype == np.int64
    assert set(data.train_labels) == set(data.test_labels) == set(range(10))
    assert hashlib.sha256(data.train_images.tobytes()).hexdigest()[:16] == "342d9098309b8795"


def test_the_split_keeps_every_bundled_image_once():
    from sklearn.datasets import load_digits as bundled

    data, original = load_digits(), bundled()
    images = np.concatenate([data.train_images, data.test_images]).reshape(1797, -1)
    labels = np.concatenate([data.train_labels, data.test_labels])
    ours = sorted(zip(map(bytes, images), labels.tolist(), strict=True))
    theirs = sorted(zip(map(bytes, enlarge(original.images).reshape(1797, -1)), original.target.tolist(), strict=True))
    assert ours == theirs


def test_enlarging_is_bilinear_interpolation_inside_a_frame():
    images = np.random.default_rng(1).integers(0, 17, (3, 8, 8))
    inside = torch.nn.functional.interpolate(torch.tensor(images[:, None] * 255 / 16), size=(20, 20), mode="bilinear")
    enlarged = enlarge(images)
    assert np.abs(enlarged[:, 4:24, 4:24] - inside[:, 0].numpy()).max() <= 0.5 + 1e-9
    enlarged[:, 4:24, 4:24] = 0
    assert not enlarged.any()


def test_idx_files_are_read_plain_gzipped_and_in_both_spellings(idx_folder):
    data = load_digits("mnist", idx_folder)
    assert data.train_images.shape == (7, 28, 28) and data.test_labels.shape == (3,)
    generator = np.random.default_rng(0)
    assert np.array_equal(data.train_images, generator.integers(0, 256, (7, 28, 28)))
    assert np.array_equal(data.train_labels, generator.integers(0, 10, 7))
    data.train_images[0] = 0  # writable, unlike a view of the file


def test_the_cache_comes_before_system_folders(idx_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setitem(digits.SYSTEM_FOLDERS, "fashion_mnist", (str(idx_folder),))
    assert load_digits("fashion_mnist").class_names[9] == "ankle boot"
    (tmp_path / "data").mkdir()
    idx_folder.rename(tmp_path / "data" / "fashion_mnist")
    assert len(load_digits("fashion_mnist").test_images) == 3


def test_a_missing_data_set_names_the_command_and_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setitem(digits.SYSTEM_FOLDERS, "mnist", ())
    with pytest.raises(EnvironmentProblem, match="course fetch mnist"):
        load_digits("mnist")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="no data set 'cifar'.*digits.*mnist, fashion_mnist"):
        load_digits("cifar")


def test_a_missing_part_is_named(idx_folder):
    (idx_folder / IDX_FILES["test_images"]).unlink()
    with pytest.raises(EnvironmentProblem, match="t10k-images-idx3-ubyte.*course fetch mnist"):
        load_digits("mnist", idx_folder)


def test_images_and_labels_must_belong_together(idx_folder):
    (idx_folder / IDX_FILES["train_labels"]).write_bytes(idx_bytes(np.zeros(6)))
    with pytest.raises(UserError, match="do not belong together.*6 labels"):
        load_digits("mnist", idx_folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "truncated: its header promises 2 x 3 x 4 elements, 40 bytes in all.*39"),
        (lambda content: content + b"!", "too long"),
        (lambda content: content[:9], "truncated: 9 bytes"),
        (lambda content: b"", "begins with nothing"),
        (lambda content: b"<html>" + content, "not an IDX file.*begins with 3c 68 74 6d"),
        (lambda content: b"\0\0\x0d\x03" + content[4:], "not an IDX file"),
        (lambda content: gzip.compress(content)[:-12], "cannot be unzipped"),
        (lambda content: gzip.compress(content)[:-6] + b"123456", "cannot be unzipped"),
    ],
)
def test_damaged_idx_files_are_explained(tmp_path, damage, message):
    path = tmp_path / "images"
    path.write_bytes(damage(idx_bytes(np.arange(24).reshape(2, 3, 4))))
    with pytest.raises(UserError, match=message):
        read_idx(path, 3)


def test_an_unreadable_idx_file_is_a_problem_of_the_machine(tmp_path):
    with pytest.raises(EnvironmentProblem, match=r"nowhere cannot be read: No such file"):
        read_idx(tmp_path / "nowhere", 1)
