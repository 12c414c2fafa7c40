"""The chat model as the course prepares it, against transformers' own reading of the same GGUF file.

Proves that every weight is equal bit for bit, and every token id of real messages, given the digit rule that the file
names ("smollm"): transformers leaves that rule out, so it is added to its tokenizer here, and the messages it changes
are counted. Prints how long each takes to open.
"""

import json
import time

from course_utils import assets

NUM_MESSAGES = 40_000


def main() -> None:
    """Print times and differences; AssertionError if a weight or a token id differs."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.models.llama import LlamaForCausalLM  # noqa: F401 (imported now, so that it is not timed)

    folder = assets.asset_path("smollm2")
    (source,) = assets.source_files("smollm2").values()
    ours, our_seconds = timed(lambda: AutoModelForCausalLM.from_pretrained(folder))
    theirs, their_seconds = timed(
        lambda: AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    )
    report("weights", our_seconds, their_seconds)
    reference = theirs.state_dict()
    differing = [name for name, weight in ours.state_dict().items() if not torch.equal(weight, reference[name])]
    assert ours.state_dict().keys() == reference.keys() and not differing, differing
    ours, our_seconds = timed(lambda: AutoTokenizer.from_pretrained(folder))
    theirs, their_seconds = timed(lambda: AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name))
    report("tokenizer", our_seconds, their_seconds)
    compare_tokens(ours, theirs)


def compare_tokens(ours, theirs) -> None:
    """Token ids of real messages, with transformers' splitting and with the digit rule added to it."""
    from tokenizers import pre_tokenizers

    sample = messages(NUM_MESSAGES)
    found, plain = ours(sample).input_ids, theirs(sample).input_ids
    without_rule = sum(a != b for a, b in zip(found, plain, strict=True))
    backend = theirs.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), backend.pre_tokenizer])
    differing = sum(a != b for a, b in zip(found, theirs(sample).input_ids, strict=True))
    print(f"{len(sample):,} messages: {differing} differ; {without_rule} without the file's digit rule")
    assert differing == 0


def messages(count: int) -> list[str]:
    """The first messages of the embedded conversations."""
    conversations = json.loads(assets.asset_path("chitchat").read_text(encoding="utf-8"))
    groups = (group for talk in conversations.values() for group in talk["messages"])
    return [message["text"] for group in groups for message in group][:count]


def timed(action) -> tuple:
    """What the action returns, and the seconds it took."""
    start = time.perf_counter()
    return action(), time.perf_counter() - start


def report(what: str, ours: float, theirs: float) -> None:
    """One line of the table."""
    print(f"{what:<10} prepared {ours:6.2f} s   transformers from GGUF {theirs:6.2f} s   {theirs / ours:5.0f} times")
