"""Byte-level BPE as in GPT-2 and WordPiece as in BERT: written to be read, and equal to `tokenizers`.

Text in, token ids out, and back. They train, and they save files that `tokenizers` and `transformers` open. They know
no models and make no batches of training data.
"""

from course_utils.data.tokenizers.bpe import BytePairEncoding
from course_utils.data.tokenizers.wordpiece import WordPiece

__all__ = ["BytePairEncoding", "WordPiece"]
