"""Tune the course's GPT on recorded exchanges, fully and by LoRA, for longer than lesson 09 can: the log it shows.

    python -m course_utils.runs.gpt_dialogue

The lesson does the same for a short time. The log goes beside the course's GPT: losses on held-out replies as tuning
goes on, and, for every test conversation, each model's bits for the true reply and its answer to the multiple-choice
task. Hyperparameters were chosen on validation replies.
"""

import copy
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_utils import runtime
from course_utils.assets import model_path
from course_utils.chat.compare import score_replies
from course_utils.chat.one_turn import score_answers, write_answers
from course_utils.chat.template import encode_chat, plain_ids
from course_utils.checkpoints import course_gpt
from course_utils.checkpoints.export import write_json
from course_utils.config import TrainConfig
from course_utils.data.dialogues import (
    Exchange,
    clean_conversations,
    exchanges,
    load_conversations,
    split_conversations,
)
from course_utils.data.instruction import AnswerBatches, Example, encode_prompt, make_example, one_line
from course_utils.data.language_model import END_OF_TEXT
from course_utils.data.tokenizers import BytePairEncoding
from course_utils.models.gpt import GPT
from course_utils.models.language_model import LanguageModelLoss
from course_utils.models.lora import add_lora, trained_parameters
from course_utils.training.language_model import train_language_model
from course_utils.training.loop import History
from course_utils.training.optim import make_adamw

COMMAND = "python -m course_utils.runs.gpt_dialogue"
LOG = course_gpt.FOLDER / "dialogue.json"
WATCHED_STEPS = (0, 25, 50, 100, 200, 400, 800)  # and the last
SAMPLING = {"temperature": 0.8, "top_p": 0.9}


@dataclass(frozen=True)
class Settings:
    """Everything that the log depends on, besides the machine's rounding."""

    batch_size: int = 16
    num_steps: int = 1_200
    max_lr: float = 2e-4
    lora_lr: float = 4e-3
    rank: int = 8
    alpha: float = 16.0
    num_watched: int = 320  # validation replies
    num_written: int = 64  # answers, of which some end by themselves
    max_new_tokens: int = 40
    num_questions: int = 320
    num_choices: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Material:
    """The untuned model, its tokenizer, and the exchanges of each split."""

    base: GPT
    tokenizer: BytePairEncoding
    end_id: int
    pairs: dict[str, list[Exchange]]

    def examples(self, exchanges: Sequence[Exchange]) -> list[Example]:
        """Exchanges as token ids."""
        return [make_example(self.tokenizer, self.end_id, e.message, e.reply) for e in exchanges]


def main() -> int:
    """Tune twice, measure, write the log."""
    runtime.set_threads(min(2, runtime.num_cores()))
    settings = Settings()
    material = open_material(settings.seed)
    items, choices = questions(material.pairs["test"], settings)
    bits, hits = {"untuned, own format": own_format_bits(material, items)}, {}
    rows = []
    for method in ("full", "LoRA"):
        model, method_rows = tune(method, material, settings)
        rows += method_rows
        bits[method], hits[method] = judge(model, material, items, choices)
    bits["SmolLM2"] = smollm_bits(items)
    log = {
        "command": COMMAND,
        "machine": runtime.environment_report(),
        "settings": asdict(settings),
        "own_format": validation_bits(material, settings),
        "test_bytes": [num_bytes(e.reply) for e in items],
        "test_bits": {name: [round(value, 2) for value in values] for name, values in bits.items()},
        "hits": hits,
        "rows": rows,
    }
    write_json(LOG, log)
    print(f"written to {LOG}")
    return 0


def open_material(seed: int) -> Material:
    """The shipped model, and lesson 09's exchanges in its order: 25 to 100 characters, shuffled by the seed."""
    splits = split_conversations(clean_conversations(load_conversations())[0])
    pairs = {
        name: [e for e in exchanges(part, max_chars=100) if min(len(e.message), len(e.reply)) >= 25]
        for name, part in splits.items()
    }
    for part in pairs.values():
        random.Random(seed).shuffle(part)
    tokenizer = BytePairEncoding.load(course_gpt.FOLDER)
    return Material(GPT.from_pretrained(course_gpt.FOLDER), tokenizer, tokenizer.token_id(END_OF_TEXT), pairs)


def questions(pairs: list[Exchange], settings: Settings) -> tuple[list[Exchange], list[list[int]]]:
    """Lesson 09's choice task: one exchange per conversation; for each the true reply's number, then others."""
    items = list({e.conversation_id: e for e in pairs}.values())[: settings.num_questions]
    rng = random.Random(settings.seed)
    others = [[j for j in range(len(items)) if j != i] for i in range(len(items))]
    return items, [[i, *rng.sample(others[i], settings.num_choices - 1)] for i in range(len(items))]


def tune(method: str, material: Material, settings: Settings) -> tuple[GPT, list[dict]]:
    """A tuned copy of the model, and the log's rows."""
    torch.manual_seed(settings.seed)
    model, max_lr = copy.deepcopy(material.base), settings.max_lr
    if method == "LoRA":
        model, max_lr = add_lora(model, ("qkv",), settings.rank, settings.alpha), settings.lora_lr
    config = TrainConfig(max_lr=max_lr, batch_size=settings.batch_size)
    objective = LanguageModelLoss(model)
    optimizer = make_adamw(objective, config, head_names=())
    examples = material.examples(material.pairs["train"])
    batches = AnswerBatches(
        examples,
        material.end_id,
        batch_size=settings.batch_size,
        num_steps=settings.num_steps,
        seed=settings.seed,
    )
    start, rows = time.perf_counter(), []

    def on_step(done: int, history: History | None) -> None:
        if done in WATCHED_STEPS or done == len(batches):
            row = {"method": method, "step": done, "seconds": round(time.perf_counter() - start)}
            rows.append(row | {"trained": trained_parameters(model)} | measure(model, material, settings))
            print(rows[-1], flush=True)
            model.train()

    on_step(0, None)
    train_language_model(objective, batches, optimizer, config, on_step=on_step)
    return model, rows


def measure(model: GPT, material: Material, settings: Settings) -> dict[str, float]:
    """Bits per byte and perplexity of validation replies, and the share of sampled answers that end by themselves."""
    watched = material.pairs["validation"][: settings.num_watched]
    examples = material.examples(watched)
    prompts = [example.prompt for example in examples]
    scores = score_answers(model.eval(), prompts, [example.answer for example in examples], material.end_id)
    generator = torch.Generator().manual_seed(settings.seed)
    asked = prompts[: settings.num_written]
    written = write_answers(model, asked, material.end_id, settings.max_new_tokens, generator=generator, **SAMPLING)
    return summary(scores, watched) | {"ended": sum(answer.finished for answer in written) / len(written)}


def validation_bits(material: Material, settings: Settings) -> dict[str, float]:
    """`measure` for the untuned model in the format that it was trained on, without the answers."""
    watched = material.pairs["validation"][: settings.num_watched]
    return summary(own_format_scores(material, watched), watched)


def summary(scores: list[torch.Tensor], items: Sequence[Exchange]) -> dict[str, float]:
    """Log-probabilities of replies as bits per byte and perplexity per token."""
    nats = -torch.cat(scores)
    size = sum(num_bytes(e.reply) for e in items)
    return {
        "bits_per_byte": round(nats.sum().item() / math.log(2) / size, 4),
        "perplexity": round(nats.mean().exp().item(), 2),
    }


def num_bytes(reply: str) -> int:
    """The bytes of a reply; that it is over counts as one more."""
    return len(one_line(reply).encode()) + 1


def own_format_scores(material: Material, items: Sequence[Exchange]) -> list[torch.Tensor]:
    """Scores of the untuned model where message and reply are lines, as in its training, and a new line ends both."""
    (new_line,) = material.tokenizer.encode("\n")
    prompts = [[material.end_id, *material.tokenizer.encode(one_line(e.message) + "\n")] for e in items]
    return score_answers(
        material.base, prompts, [material.tokenizer.encode(one_line(e.reply)) for e in items], new_line
    )


def own_format_bits(material: Material, items: Sequence[Exchange]) -> list[float]:
    """The bits of each reply, for the untuned model."""
    return [-score.sum().item() / math.log(2) for score in own_format_scores(material, items)]


def judge(
    model: GPT, material: Material, items: Sequence[Exchange], choices: list[list[int]]
) -> tuple[list[float], dict[str, str]]:
    """For every test item the bits of its true reply, and whether each way of scoring puts that reply first."""
    end_id, replies = material.end_id, [material.tokenizer.encode(one_line(e.reply)) for e in items]
    prompts = [encode_prompt(material.tokenizer, end_id, e.message) for e in items]
    nobody = encode_prompt(material.tokenizer, end_id, None)
    alone = score_answers(model, [nobody] * len(items), replies, end_id)
    asked = [(i, j) for i, row in enumerate(choices) for j in row]
    flat = score_answers(model, [prompts[i] for i, _ in asked], [replies[j] for _, j in asked], end_id)
    found = dict(zip(asked, flat, strict=True))
    ways = {
        "sum": lambda i, j: found[i, j].sum().item(),
        "per token": lambda i, j: found[i, j].mean().item(),
        "gain": lambda i, j: (found[i, j] - alone[j]).mean().item(),
    }
    hits = {}
    for way, score in ways.items():
        values = [[score(i, j) for j in row] for i, row in enumerate(choices)]
        hits[way] = "".join("x" if max(row) == row[0] else "." for row in values)
    return [-found[i, i].sum().item() / math.log(2) for i in range(len(items))], hits


def smollm_bits(items: Sequence[Exchange]) -> list[float]:
    """The bits of each true reply, its end included, for the chat model of 135 million parameters."""
    folder = model_path("smollm2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    prompts = [encode_chat(tokenizer, [{"role": "user", "content": e.message}]) for e in items]
    replies = [[[*plain_ids(tokenizer, e.reply), end]] for e in items]
    return [-score[0].sum().item() / math.log(2) for score in score_replies(model, prompts, replies)]


if __name__ == "__main__":
    sys.exit(main())
