"""A byte-level BPE in the files of GPT-2's tokenizer, which `transformers.GPT2Tokenizer` opens."""

from pathlib import Path

from course_utils.data.tokenizers import store
from course_utils.data.tokenizers.bpe import BytePairEncoding
from course_utils.data.tokenizers.byte_text import show_bytes


def save_gpt2_tokenizer(tokenizer: BytePairEncoding, folder: str | Path, end_of_text: str, context_length: int) -> None:
    """Write tokenizer.json, vocab.json, merges.txt and a configuration that names the class and the special token.

    Raises UserError if `end_of_text` is no special token of the tokenizer.
    """
    folder, end_id = Path(folder), tokenizer.token_id(end_of_text)
    tokenizer.save(folder)
    shown = [show_bytes(token) for token in tokenizer.tokens]
    vocab = {name: i for i, name in enumerate(tokenizer.special_tokens)} | {
        token: i for i, token in enumerate(shown) if token
    }
    store.write_json(folder / "vocab.json", vocab)
    merges = "".join(f"{shown[left]} {shown[right]}\n" for left, right in tokenizer.merges)
    store.write_text(folder / "merges.txt", "#version: 0.2\n" + merges)
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), tokenizer.special_tokens[end_id])
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        **special,
    }
    store.write_json(folder / "tokenizer_config.json", config)
