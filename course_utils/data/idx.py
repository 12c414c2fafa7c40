"""Reads IDX files, the format MNIST is published in, plain or gzipped.

It does not download or guess: a damaged file is an error that says which rule it breaks.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from course_utils.errors import EnvironmentProblem, UserError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08
HEADER_BYTES = 4


def read_idx(path: Path, num_dims: int) -> np.ndarray:
    """The array of unsigned bytes in an IDX file of `num_dims` dimensions: 3 for images, 1 for labels.

    Layout: two zero bytes, the element type (8 for unsigned bytes), the number of dimensions, each dimension as a
    big-endian 32-bit number, then the elements. Raises EnvironmentProblem if the file is missing or unreadable,
    UserError if it is damaged.
    """
    content = _read_bytes(Path(path))
    header = HEADER_BYTES + 4 * num_dims
    if content[:HEADER_BYTES] != bytes([0, 0, UNSIGNED_BYTE, num_dims]):
        raise UserError(
            f"{path} is not an IDX file of {num_dims}-dimensional unsigned bytes: it begins with "
            f"{content[:HEADER_BYTES].hex(' ') or 'nothing'}, not with 00 00 08 {num_dims:02x}. "
            "Are images and labels swapped, or is it another kind of file?"
        )
    if len(content) < header:
        raise UserError(f"{path} is truncated: {len(content)} bytes, its header alone has {header}. Fetch it again.")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", num_dims, offset=HEADER_BYTES))
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        problem = "truncated" if len(content) < expected else "too long"
        raise UserError(
            f"{path} is {problem}: its header promises {' x '.join(map(str, shape))} elements, {expected:,} bytes in "
            f"all, but it holds {len(content):,}. Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()  # own, writable memory


def _read_bytes(path: Path) -> bytes:
    """The file's content, unzipped if its first bytes say it is gzipped (names are not trusted)."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == GZIP_MAGIC else raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as damage:
        raise UserError(f"{path} is truncated or altered: it cannot be unzipped ({damage}). Fetch it again.") from None
    except OSError as problem:
        raise EnvironmentProblem(f"{path} cannot be read: {problem.strerror or problem}.") from None
