# ---
# jupyter:
#   course:
#     title: Pretraining GPT
#     question: How is a GPT trained, and how good can it get on this machine?
#     minutes: 120
#     needs: CPU; a GPU helps
#     prerequisites: ["01", "05", "06"]
#     cell_timeout: 300
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 07 · Pretraining GPT
#
# **How is a GPT trained, and how good can it get on this machine?**
#
# Lesson 06 built the model. Now it gets something to read. You turn real conversations into blocks of tokens without letting the test leak into the training, derive the loss instead of believing it, and write the loop that GPT-3 was trained with, in small. You train a model for about a minute, stop a run and take it up
# again so exactly that no digit differs, and compare your model with one that trained for longer.
#
# Afterwards you can
#
# * cut text into training blocks, and say what would leak and how;
# * derive the language-model loss, and give it in nats per token, as perplexity, and in bits per byte;
# * name the numbers that a model must beat before it deserves attention;
# * explain decay groups, warm-up, cosine, clipping and accumulation, and spot the usual mistake in each;
# * stop and resume a run exactly, and say what share of the machine's speed it used.

# %% [markdown] id="imports-intro"
# `GPT` and its loss are those of lesson 06. What you write in the exercises is not imported: the lesson goes on with your versions.

# %% id="imports"
import lzma
import math
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
import torch
from torch import nn

from course_utils import viz
from course_utils.checkpoints import course_gpt, read_training_log
from course_utils.config import TrainConfig
from course_utils.data.dialogues import clean_conversations, load_conversations, split_conversations
from course_utils.data.language_model import (
    END_OF_TEXT,
    BlockBatches,
    bits_per_byte,
    conversation_text,
    evaluation_blocks,
    token_row,
)
from course_utils.data.ngrams import bigram_loss, unigram_loss
from course_utils.data.tokenizers import BytePairEncoding
from course_utils.errors import UserError
from course_utils.exercises import exercise
from course_utils.generation import generate
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss
from course_utils.runtime import Timer, device, expect_error, scratch, seed_everything, set_threads
from course_utils.training.language_model import GPT_RUN, IGNORED_LABEL, evaluate_language_model
from course_utils.training.loop import Batch, to_device
from course_utils.training.optim import clip_grad_norm
from course_utils.training.resume import load_state, save_state
from course_utils.training.schedule import warmup_linear

# %% [markdown] id="parameters-intro"
# Your model has 2 layers of width 128. `max_lr` and `warmup_fraction` are there for the experiment of section 11: change one, run everything again, and compare.

# %% id="parameters" tags=["parameters"]
num_steps = 600  # optimizer steps of your own training
batch_size = 8  # blocks in a step
context_length = 128  # tokens in a block
d_model = 128
num_layers = 2
num_heads = 4
max_lr = 3e-3
warmup_fraction = 0.05  # share of the steps
num_train_conversations = 4000  # at most; there are 3,262
num_held_out = 40_000  # tokens of validation text that everything is measured on
num_compared = 400  # conversations, for the tokenizers of section 4
num_probe_steps = 50  # of each learning rate in section 11
seed = 0

# %% [markdown] id="text-intro"
# ## 1. From conversations to one row of numbers
#
# A language model needs no labels, only text in its order. Ours are the conversations of lesson 01. A conversation becomes a document: one turn to a line, so that the end of a line hands over to the other person. After each document stands one special token, `<|endoftext|>`, so that the model can learn where a text ends.

# %% id="text"
set_threads(2)
seed_everything(seed)
conversations, _ = clean_conversations(load_conversations())
tokenizer = BytePairEncoding.load(course_gpt.FOLDER)
end_id = tokenizer.token_id(END_OF_TEXT)
document = conversation_text(conversations[2].turns)
ids = [*tokenizer.encode(document), end_id]
print(document, end="")
print(f"{len(document.encode()):,} bytes, {len(ids)} tokens: {ids[:9]} ... {ids[-3:]}")

# %% [markdown] id="row-intro"
# All documents, one behind the other, are **one row** of ids. Training reads it in blocks of a fixed length, wherever they fall. No padding is needed, and almost no token is lost. A block may hold the end of one conversation and the beginning of the next. GPT-3 was trained in the same way: attention is not stopped at the border, and the end token is what tells the model that something new begins.
#
# ## 2. Split before you join
#
# To know whether the model learned language or learned the text by heart, some text must be kept away from it. *When* you set it aside decides whether that works.
#
# ### Exercise 07.1
# Split documents (lists of ids) into two rows. Whole documents go to one side or the other, drawn at random.

# %% id="ex1" exercise="07.1"

# %% [markdown] id="split-use-intro"
# Five tiny documents, two of them for validation:

# %% id="split-use"
tiny_documents = [[10, 11, 12], [20, 21], [30, 31, 32, 33], [40], [50, 51]]
tiny_train, tiny_validation = split_rows(tiny_documents, 0, 2, torch.Generator().manual_seed(seed))
print("training:  ", tiny_train.tolist())
print("validation:", tiny_validation.tolist())

# %% [markdown] id="leak-intro"
# What goes wrong otherwise? We split the same row of text in three ways, one tenth for validation each time: windows that begin at random places; blocks cut side by side, dealt out at random; and whole conversations. Two things are counted: how many tokens of the validation blocks were trained on at the same place of the row, and how many validation blocks belong to a
# conversation of which some part was trained on. **Guess first**, for each of the three.


# %% id="leak"
def leaks(row: torch.Tensor, T: int) -> dict[str, tuple[float, float]]:
    """For three ways to split: share of validation tokens that are trained on, and of blocks whose conversation is."""
    g = torch.Generator().manual_seed(seed)
    N, num_blocks = len(row), len(row) // T
    talk = (row == end_id).long().cumsum(0) - (row == end_id).long()  # (N,): number of the conversation
    windows = torch.randint(N - T, (num_blocks, 1), generator=g) + torch.arange(T)  # (num_blocks, T) places in the row
    blocks = torch.arange(num_blocks * T).view(num_blocks, T)
    is_held_talk = torch.rand(int(talk[-1]) + 1, generator=g) < 0.1
    held, kept = is_held_talk[talk].nonzero().flatten(), (~is_held_talk[talk]).nonzero().flatten()
    order = torch.randperm(num_blocks, generator=g)
    cut = num_blocks // 10
    found = {}
    for name, validation, train in [
        ("windows at random", windows[:cut], windows[cut:]),
        ("blocks at random", blocks[order[:cut]], blocks[order[cut:]]),
        ("whole conversations", held[: len(held) // T * T].view(-1, T), kept),
    ]:
        is_trained, is_trained_talk = torch.zeros(N, dtype=torch.bool), torch.zeros_like(is_held_talk)
        is_trained[train], is_trained_talk[talk[train]] = True, True
        found[name] = tuple(
            part.float().mean().item() for part in (is_trained[validation], is_trained_talk[talk[validation]].any(1))
        )
    return found


# %% [markdown] id="splits-intro"
# The course's own split draws conversations by a hash of their id. So one that is in validation is there on every machine and in every lesson.

# %% id="splits"
splits = split_conversations(conversations)
documents = {name: [conversation_text(c.turns) for c in part] for name, part in splits.items()}
documents["train"] = documents["train"][:num_train_conversations]
rows = {name: token_row(documents[name], tokenizer, end_id) for name in ("train", "validation")}
for name, row in rows.items():
    print(f"{name:10} {len(documents[name]):5,} conversations, {len(row):9,} tokens")
leak = leaks(rows["train"], context_length)
for name, (tokens, talks) in leak.items():
    print(f"{name:20} tokens trained on: {tokens:4.0%}   blocks of a conversation trained on: {talks:4.0%}")

# %% [markdown] id="leak-notice"
# Windows at random places overlap: 60% <!-- claim: leak["windows at random"][0] ~= 0.60 ± 0.03 --> of what you would call validation was trained on. Blocks that do not overlap look clean, 0% <!-- claim: leak["blocks at random"][0] == 0 -->. But nearly all of them, over 97% <!-- claim: leak["blocks at random"][1] > 0.97 -->, come from a conversation whose other parts were trained on: the same two people, the same names and
# subjects. What this does to the loss depends on how much a model can remember; we do not measure it here. By whole conversations, both are 0% <!-- claim: max(leak["whole conversations"]) == 0 -->.

# %% [markdown] id="vocabulary-intro"
# One more thing learns from text: the **vocabulary**. It, too, may see training text only, or a name that occurs in validation alone could get a token of its own. The leak would be small; avoiding it costs nothing. You need not take our word: we learn the first merges again, from the training conversations.

# %% id="vocabulary"
again = BytePairEncoding.train(documents["train"], 500, special_tokens=[END_OF_TEXT])
is_same_vocabulary = again.merges == tokenizer.truncated(500).merges
print(f"{tokenizer.vocab_size:,} tokens; the first {len(again.merges)} merges come out the same: {is_same_vocabulary}")

# %% [markdown] id="vocabulary-notice"
# The same <!-- claim: is_same_vocabulary == True; smoke: skip -->. (With fewer conversations, as in a smoke run, the merges differ.)
#
# ## 3. Blocks, and what follows each token
#
# The model reads `T` tokens and answers `T` questions: what comes after the first, after the first two, and so on. So the targets are the inputs, one place further along the row.
#
# ### Exercise 07.2
# Cut blocks out of the row, one at each start. The last position has a target too.

# %% id="ex2" exercise="07.2"

# %% [markdown] id="blocks-use-intro"
# Read a block of nine tokens from the training row. **Guess first:** what is the target of the last input?

# %% id="blocks-use"
inputs, targets = blocks_at(rows["train"], [0], 9)
for seen, wanted in zip(inputs[0].tolist(), targets[0].tolist(), strict=True):
    print(f"{tokenizer.decode([seen])!r:12} -> {tokenizer.decode([wanted])!r}")

# %% [markdown] id="batches-intro"
# `BlockBatches` does this for a whole run. `batch(step)` is a function of seed and step alone, which will make resuming simple. Within an epoch (one pass over the row) each block comes once, in random order, and each epoch cuts the row at other places. It refuses a row that has not enough text for one batch:

# %% id="batches"
batches = BlockBatches(
    rows["train"], batch_size=batch_size, context_length=context_length, num_steps=num_steps, seed=seed
)
first_batch = batches.batch(0)
print({name: tuple(tensor.shape) for name, tensor in first_batch.items()})
with expect_error(ValueError):
    BlockBatches(rows["train"][:1_000], batch_size=batch_size, context_length=context_length, num_steps=1)

# %% [markdown] id="objective-intro"
# ## 4. The objective, derived
#
# A language model gives every text $x_1, \ldots, x_N$ a probability. How could it, when nearly every text is new? By the **chain rule of probability**, which holds for any distribution:
#
# $$p(x_1, \ldots, x_N) = p(x_1)\,p(x_2 \mid x_1)\,p(x_3 \mid x_1, x_2) \cdots = \prod_{t=1}^{N} p(x_t \mid x_{<t}).$$
#
# So it is enough to say, after each beginning, how likely each next token is. That is what a GPT's softmax says. The first token of a document has the end token before it as its beginning.
#
# Which parameters $\theta$ are best? Those under which the text that people really wrote is most probable: **maximum likelihood**. The logarithm does not move the maximum, and turns the product into a sum:
#
# $$\hat\theta = \arg\max_\theta \prod_t p_\theta(x_t \mid x_{<t}) = \arg\min_\theta \; \underbrace{-\frac{1}{N}\sum_{t} \log p_\theta(x_t \mid x_{<t})}_{\text{loss, nats per token}}.$$
#
# At one position that is a **cross-entropy**, $-\sum_v q(v) \log p_\theta(v)$, where $q$ is 1 for the token that came and 0 for all others. Averaged over the ways a text could go on, it is the entropy of the language plus the distance (Kullback-Leibler) of the model from it. So there is a floor, which no model can get below, and we do not know it.
#
# Blocks bring one simplification: a block does not know what stood before its first token. The sum still runs over the same tokens, but those early in a block are predicted with less to go by.
#
# Check it by hand. The course's trained GPT (section 10) reads a short text **once**; then it reads each beginning on its own. **Guess first:** for how many of its tokens does one pass say how probable they were?

# %% id="by-hand"
shipped = GPT.from_pretrained(course_gpt.FOLDER).to(device())
short_ids = torch.tensor([[end_id, *tokenizer.encode("How are you doing?\n")]], device=device())  # (1, T + 1)
inputs, targets = short_ids[:, :-1], short_ids[:, 1:]
with torch.inference_mode():
    log_p = shipped(inputs).log_softmax(-1)[0]  # (T, V): one pass
    one_by_one = torch.cat([shipped(inputs[:, : t + 1])[:, -1] for t in range(inputs.shape[1])]).log_softmax(-1)
    library_loss = LanguageModelLoss(shipped)(inputs, targets).loss.item()
gap = (log_p - one_by_one).abs().max().item()
log_probs = log_p[torch.arange(len(log_p)), targets[0]].cpu()  # (T,): of the tokens that came
for token, value in zip(targets[0].tolist(), log_probs.tolist(), strict=True):
    print(f"{tokenizer.decode([token])!r:9} p = {math.exp(value):.3f}   -log p = {-value:.2f}")
print(f"one pass equals {len(one_by_one)} passes: {gap < 1e-3}; p(text) = {log_probs.sum().exp():.1e}")

# %% [markdown] id="by-hand-notice"
# For all `T` that have something before them: one pass answered all questions, as `T` separate passes would have. The mean of the right column is the loss. `LanguageModelLoss`, which trains the model, agrees to 0.0001 <!-- claim: abs(library_loss + log_probs.mean().item()) < 1e-4; gpu: < 1e-2 -->.
#
# Three ways to say the same number. **Nats per token** is the loss itself. **Perplexity** is $e^{\text{loss}}$: the model is as uncertain as between that many equally likely tokens. And **bits per byte** spreads the cost of the whole text, in bits, over its bytes.
#
# ### Exercise 07.3
# Compute all three. For example, tokens with probabilities 1/2, 1/4 and 1/2 cost 1, 2 and 1 bits; if the text has 8 bytes, that is half a bit per byte.

# %% id="ex3" exercise="07.3"

# %% [markdown] id="measures-use-intro"
# The example, and the short text from above:

# %% id="measures-use"
for name, values, num_bytes in [
    ("example", torch.tensor([0.5, 0.25, 0.5]).log(), 8),
    ("How are you doing?", log_probs, len("How are you doing?\n")),
]:
    loss, perplexity, bits = measures(values, num_bytes)
    print(f"{name:20} {loss:.2f} nats per token, perplexity {perplexity:.1f}, {bits:.2f} bits per byte")

# %% [markdown] id="tokenizers-intro"
# Why a third measure? Nats per token depend on what a token is. Take three vocabularies: 8,000 tokens; its first 1,000; and the 256 bytes alone. To each, give the same simple model, the **bigram**: it counts in training text what follows what (and where it saw little, it relies on how frequent a token is). **Guess first:** which vocabulary has the lowest loss per token? And which bigram predicts the text best?

# %% id="tokenizers"
nats, bits = {}, {}
for vocab_size in (257, 1_000, tokenizer.vocab_size):
    cut = tokenizer.truncated(vocab_size)
    train_ids, test_ids = (token_row(documents[name][:num_compared], cut, end_id) for name in ("train", "validation"))
    num_bytes = sum(len(text.encode()) for text in documents["validation"][:num_compared])
    loss = bigram_loss(train_ids, test_ids, cut.vocab_size)
    name = "256 bytes" if vocab_size == 257 else f"{vocab_size:,} tokens"
    nats[name], bits[name] = loss, bits_per_byte(loss, len(test_ids) - 1, num_bytes)
left, right = viz.new_axes((9.5, 3.6), num_columns=2)
viz.bars(nats, ylabel="nats per token", title="Per token: bytes win", value_format="{:.2f}", ax=left)
viz.bars(bits, ylabel="bits per byte", title="The same text, per byte: they lose", value_format="{:.2f}", ax=right)
small, large = "256 bytes", f"{tokenizer.vocab_size:,} tokens"

# %% [markdown] id="tokenizers-notice"
# The bigram over bytes pays the least per token, 2.5 <!-- claim: nats[small] ~= 2.5 ± 0.2 --> nats, because its tokens are small. But it needs four times as many of them, and for the whole text it pays the most: 3.5 <!-- claim: bits[small] ~= 3.5 ± 0.2 --> bits for each byte, against 2.0 <!-- claim: bits[large] ~= 2.0 ± 0.2; smoke: < 3 --> with 8,000 tokens. So compare models over
# different vocabularies in bits per byte, never in nats per token or perplexity.

# %% [markdown] id="baselines-intro"
# ## 5. What must be beaten
#
# Numbers first, training later. Everything is measured on the same held-out tokens:
#
# * **uniform**: all tokens equally likely, $\ln V$;
# * **unigram**: each token by its share of the training text; knows no order at all;
# * **bigram**: as above, from one token before;
# * **xz**, a good compression program. A model that predicts well compresses well: a token of probability $p$ can be written in $-\log_2 p$ bits. So the size of a compressed file is a loss, too. (xz has not seen the training text, so it starts with a handicap.)

# %% id="baselines"
held_out = rows["validation"][:num_held_out]
held_out_text = b"".join(tokenizer.token_bytes(i, skip_special_tokens=True) for i in held_out[1:].tolist())
V = tokenizer.vocab_size
baselines = {
    "uniform": math.log(V),
    "unigram": unigram_loss(rows["train"], held_out, V),
    "bigram": bigram_loss(rows["train"], held_out, V),
}


def in_bits(loss: float) -> float:
    """Nats per held-out token as bits per byte."""
    return bits_per_byte(loss, len(held_out) - 1, len(held_out_text))


xz_bits = 8 * len(lzma.compress(held_out_text, preset=9)) / len(held_out_text)
for name, loss in baselines.items():
    print(f"{name:8} {loss:.2f} nats per token, {in_bits(loss):.2f} bits per byte")
print(f"xz {'':25} {xz_bits:.2f} bits per byte")

# %% [markdown] id="baselines-notice"
# One token of context is worth 1.6 <!-- claim: baselines["unigram"] - baselines["bigram"] ~= 1.6 ± 0.1; smoke: > 0.5 --> nats. To get far below the bigram, a model needs more context than that, or must learn more from the same pairs than their counts.
#
# And a fresh model? It should know nothing, and know that it knows nothing: a loss of $\ln V$.


# %% id="fresh"
def fresh_gpt(**changes) -> GPT:
    """A model of the lesson's sizes, the same noise each time."""
    sizes = {"d_model": d_model, "num_layers": num_layers, "num_heads": num_heads, "context_length": context_length}
    torch.manual_seed(seed)
    return GPT(GPTConfig.gpt2(**{"vocab_size": V, "eos_id": end_id, **sizes, **changes})).to(device())


def held_out_loss(model: GPT) -> float:
    """Nats per held-out token, in blocks of the model's context length."""
    blocks = evaluation_blocks(held_out, model.config.context_length)
    return evaluate_language_model(LanguageModelLoss(model), blocks).loss


start_loss = held_out_loss(fresh_gpt())
print(f"fresh: {start_loss:.2f} nats per token; ln V = {math.log(V):.2f}")

# %% [markdown] id="fresh-notice"
# 9.0 <!-- claim: start_loss ~= 9.0 ± 0.1 -->, as it should be.
#
# ## 6. The optimizer's parts
#
# Lesson 05 used AdamW, warm-up and clipping to fine-tune. Pretraining uses the same parts with other numbers. **AdamW** divides each step by the recent size of the gradient, and then, apart from the gradient, shrinks the weight: $w \leftarrow w - \eta\, (\hat m / (\sqrt{\hat v} + \epsilon) + \lambda w)$. GPT-3 used $\lambda = 0.1$.
#
# What should shrink? A matrix that is smaller makes a smoother function. The weight of a norm starts at 1, and 1 is its neutral value: pulling it to 0 switches a path off. A bias shifts, and needs no taming. So there are two groups.
#
# ### Exercise 07.4
# Build them. Matrices and tables have two dimensions, biases and the weights of norms one.

# %% id="ex4" exercise="07.4"

# %% [markdown] id="groups-use-intro"
# How much of the model is exempt? And what does the decay do on its own? We give AdamW a gradient of zero and take one step with a learning rate of 0.1.

# %% id="groups-use"
groups = decay_groups(fresh_gpt(), 0.1)
counts = [sum(p.numel() for p in group["params"]) for group in groups]
print(f"decays: {counts[0]:,} numbers; does not: {counts[1]:,} ({counts[1] / sum(counts):.1%})")
matrix, norm = torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)
matrix.grad, norm.grad = torch.zeros(2, 2), torch.zeros(2)
torch.optim.AdamW([{"params": [matrix], "weight_decay": 0.1}, {"params": [norm], "weight_decay": 0.0}], lr=0.1).step()
print(f"after one step: matrix {matrix[0, 0].item():.2f}, norm {norm[0].item():.2f}")

# %% [markdown] id="groups-notice"
# Few numbers are exempt, but all signals pass through them. The matrix shrank by learning rate times decay, to 0.99 <!-- claim: matrix[0, 0].item() ~= 0.99 -->, the norm by nothing.
#
# **The learning rate** rises first, as in lesson 05: Adam's averages of the first steps are made of almost nothing. Then it falls along half a cosine, to a tenth of the peak: fast steps while there is much to learn, small ones at the end, where the noise of single batches is what keeps the loss up.
#
# ### Exercise 07.5
# Return the share of the peak for a step: up in equal parts, then half a cosine from 1 to `min_share`.

# %% id="ex5" exercise="07.5"

# %% [markdown] id="schedule-intro"
# As a picture, beside the straight line of lesson 05. A schedule is a function of the step, so a resumed run needs to remember no schedule. (`GPT_RUN` holds the betas and the weight decay that GPT-3 used.)

# %% id="schedule"
config = TrainConfig(max_lr=max_lr, batch_size=batch_size, warmup_fraction=warmup_fraction, **GPT_RUN)
warmup_steps = config.warmup_steps(num_steps)
shares = {
    "warm-up and cosine": [warmup_cosine(step, warmup_steps, num_steps) for step in range(num_steps)],
    "warm-up and line": [warmup_linear(step, warmup_steps, num_steps) for step in range(num_steps)],
}
viz.lines(
    shares,
    xlabel="optimizer step",
    ylabel="share of the peak learning rate",
    title="The cosine stays high for longer, and ends above zero",
    baseline={"floor": 0.1},
)
print(f"{warmup_steps} of {num_steps} steps are warm-up; the peak is {max_lr}")

# %% [markdown] id="clip-intro"
# **Clipping.** Now and then a batch gives a gradient many times as long as usual. If the norm of *all* gradients together exceeds a limit, here 1, all are scaled down by one factor. So the whole gradient gets shorter and keeps its direction; clipping each tensor on its own would turn it. You wrote this in exercise 05.3. We log the norm at every step and will look at it.
#
# ## 7. A large batch in small parts
#
# A step of the largest GPT-3 holds over three million tokens. No device holds that many at once, and none has to: `backward` *adds* to the gradients. Several small batches, one after the other, then one step: **gradient accumulation**. The result must be the gradient of the large batch. That needs care when the parts hold different numbers of
# targets, as in lesson 09, where only answers count (a target of -100 is left out, as in lesson 04).
#
# ### Exercise 07.6
# Add up the gradients of a batch in parts, so that they equal those of the whole. `model(**part)` returns an output with `loss`, the mean over its targets, and `num_targets`. Refuse more parts than there are sequences.

# %% id="ex6" exercise="07.6"

# %% [markdown] id="accumulate-intro"
# Two batches of eight blocks. In the first, all targets count. In the second, the first four blocks have lost nine tenths of theirs. For each batch we compute the gradient three times: of all blocks at once; in four parts, by your function; and in four parts by the mistake that is made most often, the mean of the parts' means.


# %% id="accumulate"
def gradient_of(batch: dict, accumulate) -> torch.Tensor:
    """All gradients of a fresh small model, as one vector."""
    objective = LanguageModelLoss(fresh_gpt(d_model=32, num_layers=1, num_heads=2))
    accumulate(objective, to_device(batch, device()))
    return torch.cat([p.grad.flatten() for p in objective.parameters()])


def mean_of_means(objective, batch: dict) -> None:
    """Four parts; each counts one quarter, whatever it holds."""
    for rows_of_part in torch.arange(8).chunk(4):
        (objective(**{name: tensor[rows_of_part] for name, tensor in batch.items()}).loss / 4).backward()


full = BlockBatches(rows["train"], batch_size=8, context_length=context_length, num_steps=1).batch(0)
sparse = {**full, "targets": full["targets"].clone()}
sparse["targets"][:4, context_length // 10 :] = IGNORED_LABEL
differences = {}
for name, batch in [("all targets", full), ("few targets in half", sparse)]:
    whole = gradient_of(batch, lambda model, batch: accumulate_gradients(model, batch, 1))
    in_parts = gradient_of(batch, lambda model, batch: accumulate_gradients(model, batch, 4))
    mistaken = gradient_of(batch, mean_of_means)
    differences[name] = [((other - whole).norm() / whole.norm()).item() for other in (in_parts, mistaken)]
    part_gap, mistake_gap = differences[name]
    print(f"{name:20} in parts: the same: {part_gap < 1e-5}   mean of means: off by {mistake_gap:.0%}")

# %% [markdown] id="accumulate-notice"
# Relative to the length of the whole gradient, your parts differ by rounding: less than 0.00001 <!-- claim: max(differences[name][0] for name in differences) < 1e-5; gpu: < 1e-3 -->. The mean of means does too, as long as all parts are equal. That is why the mistake lives long: with equal parts nothing shows. With unequal ones its gradient is off by about 90% <!-- claim: differences["few targets in half"][1] ~= 0.9 ± 0.2 -->: a target in a
# short part counts about ten times as much as one in a full part.

# %% [markdown] id="loop-intro"
# ## 8. The loop, and your own GPT
#
# The whole loop, in the order that lesson 05 introduced: learning rate, gradients, clip, step, forget the gradients, log. `first_step` is there for resuming. The course's version is `training.language_model.train_language_model`.


# %% id="loop"
def train_gpt(objective, batches, optimizer, config, first_step=0, num_micro_batches=1, on_step=None) -> dict:
    """Steps `first_step` to the end; returns what was logged at each: loss, lr, grad_norm, seconds."""
    history = {"loss": [], "lr": [], "grad_norm": [], "seconds": []}
    max_steps, warmup_steps = len(batches), config.warmup_steps(len(batches))
    objective.train()
    for step in range(first_step, max_steps):
        start = time.perf_counter()
        lr = config.max_lr * warmup_cosine(step, warmup_steps, max_steps)
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = accumulate_gradients(objective, to_device(batches.batch(step), device()), num_micro_batches)
        grad_norm = clip_grad_norm(objective.parameters(), config.grad_clip_norm).item()
        optimizer.step()
        optimizer.zero_grad()
        for name, value in zip(history, (loss, lr, grad_norm, time.perf_counter() - start), strict=True):
            history[name].append(value)
        if on_step:
            on_step(step + 1)
    objective.eval()
    return history


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over your two groups; `fused` goes through memory once."""
    groups = decay_groups(model, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.max_lr, betas=config.betas, eps=config.eps, fused=True)


# %% [markdown] id="watch-intro"
# Two things are watched on the way: the held-out loss, and what the model writes. The prompt and the random numbers are the same each time, so what changes is the model. (Lesson 08 is about the writing itself.)

# %% id="watch"
PROMPT = "Hi! How are you doing?\n"


def write(model: GPT, num_tokens: int = 40) -> str:
    """What a model writes after the prompt, always with the same random numbers."""
    was_training = model.training
    model.eval()
    prompt = torch.tensor([tokenizer.encode(PROMPT)], device=device())
    g = torch.Generator(device()).manual_seed(seed)
    ids = generate(model, prompt, num_tokens, top_p=0.9, generator=g)
    model.train(was_training)
    return tokenizer.decode(ids[0, prompt.shape[1] :].tolist(), skip_special_tokens=True)


model = fresh_gpt()
watched = {0: (start_loss, write(model))}


def watch(done: int) -> None:
    """Note the held-out loss and a sample, once early and then five times in a run."""
    if done == num_steps // 20 or done % max(1, num_steps // 5) == 0:
        watched[done] = held_out_loss(model), write(model)


# %% [markdown] id="run-intro"
# Start. The arithmetic first, then some patience. **Guess first:** will the loss end above the unigram, between unigram and bigram, or below the bigram?

# %% id="run"
tokens_per_step = batch_size * context_length
num_parameters = sum(parameter.numel() for parameter in model.parameters())
print(f"{num_parameters / 1e6:.1f} million parameters; {tokens_per_step:,} tokens per step")
print(f"{num_steps} steps read {num_steps * tokens_per_step / len(rows['train']):.2f} epochs of the training row")
objective = LanguageModelLoss(model)
history = train_gpt(objective, batches, make_optimizer(objective, config), config, on_step=watch)
your_loss = held_out_loss(model)

# %% [markdown] id="curve-intro"
# The training loss is an average over ten steps; the held-out loss is measured now and then, on the same tokens as the baselines.

# %% id="curve"
tens = np.arange(10, num_steps + 1, 10)
smooth = [np.mean(history["loss"][step - 10 : step]) for step in tens]
viz.lines(
    {"train": (tens, smooth), "validation": (list(watched), [loss for loss, _ in watched.values()])},
    xlabel="optimizer step",
    ylabel="loss (nats per token)",
    title="Below the unigram soon, on the way to the bigram",
    baseline=baselines,
)
print("held-out, nats per token:", f"{your_loss:.2f}")

# %% [markdown] id="curve-notice"
# You end at 5.6 <!-- claim: your_loss ~= 5.6 ± 0.2; smoke: < 9; gpu: < 6 --> nats: below the unigram by 1.0 <!-- claim: baselines["unigram"] - your_loss ~= 1.0 ± 0.2; smoke: > -2; gpu: > 0.5 -->, and still above the bigram by 0.6 <!-- claim: your_loss - baselines["bigram"] ~= 0.6 ± 0.2; smoke: > 0; gpu: < 1 -->. That is the honest state after about a minute. The bigram has counted every pair of the training
# row; your Transformer has read 25% <!-- claim: num_steps * tokens_per_step / len(rows["train"]) ~= 0.25 ± 0.01; smoke: skip --> of it, once. The stretch just above the unigram line near the beginning is the plateau of lesson 04, and it is short here. Train and held-out loss stay together: nothing is read twice, so there is nothing to know by heart.

# %% [markdown] id="samples-intro"
# And in words:

# %% id="samples" tags=["nbval-ignore-output"]
for done in list(watched)[::2]:
    print(f"--- step {done}, {watched[done][0]:.2f} nats per token\n{watched[done][1]}")

# %% [markdown] id="samples-notice"
# Noise first; then frequent words in no order; then pieces of two or three words that fit together, with a tone of chat. Sense is not among the things learned yet. One sample proves nothing, which is why the loss is above it.
#
# Now the log of the gradient norms, taken before clipping.

# %% id="norms" tags=["nbval-ignore-output"]
viz.lines(
    {"global norm": history["grad_norm"]},
    xlabel="optimizer step",
    ylabel="gradient norm before clipping (log scale)",
    title="Long gradients come first; the limit catches them",
    baseline={"limit": config.grad_clip_norm},
).set_yscale("log")
clipped = np.array(history["grad_norm"]) > config.grad_clip_norm
longest = max(history["grad_norm"]) / np.median(history["grad_norm"])
print(f"clipped: {clipped.mean():.1%} of all steps, the last of them step {clipped.nonzero()[0].max(initial=0)}")
print(f"the longest gradient: {longest:.0f} times the median")

# %% [markdown] id="norms-notice"
# Less than 10% <!-- claim: clipped.mean() < 0.1; smoke: <= 1 --> of the steps were clipped, nearly all of them near the beginning. The longest gradient was over 3 <!-- claim: longest > 3; smoke: > 1 --> times the usual length, and in the picture it is far longer; how far differs between machines. For the rest of this run clipping did nothing. It is an insurance, and a log of norms that jumps is often the first sign of a bad batch or of a learning rate that is too large.

# %% [markdown] id="speed-intro"
# ### How fast was that?
#
# Tokens per second say little about another machine or another model. So compare with what the machine could do: a share that Chowdhery et al. named **model FLOPs utilisation** (MFU). A matrix of `N` numbers costs `2N` operations per token forward (multiply, add), and twice that backward: `6N` for training. Attention's two products of `T` by `T` add $12 \cdot \texttt{num\_layers} \cdot T \cdot D$. (Counted in
# full, although the mask makes half of it useless: that is the custom.) The machine's peak is what one large matrix product reaches.


# %% id="speed"
def training_flops_per_token(model: GPT, T: int) -> int:
    """Operations per token of a training step: 6 for each number in a matrix product, and attention's own."""
    in_products = sum(p.numel() for p in model.parameters() if p.ndim == 2) - model.position_embedding.weight.numel()
    return 6 * in_products + 12 * model.config.num_layers * T * model.config.d_model


def matmul_peak(n: int = 1536, num_tries: int = 5) -> float:
    """The most operations per second that a product of two n by n matrices reached."""
    a, b, best = torch.randn(n, n, device=device()), torch.randn(n, n, device=device()), 0.0
    for _ in range(num_tries):
        with Timer() as timer:
            a @ b
        best = max(best, 2 * n**3 / timer.seconds)
    return best


flops = training_flops_per_token(model, context_length)
tokens_per_second = tokens_per_step / np.median(history["seconds"])
share_of_peak = tokens_per_second * flops / matmul_peak()

# %% [markdown] id="speed-print-intro"
# The token table counts once here: reading it costs nothing, but it is also the output layer.

# %% id="speed-print" tags=["nbval-ignore-output"]
print(f"{flops / 1e6:.1f} million operations per token")
print(f"{tokens_per_second:,.0f} tokens per second, {share_of_peak:.0%} of the machine's matmul peak")

# %% [markdown] id="speed-notice"
# The share is above 15% <!-- claim: share_of_peak > 0.15; smoke: > 0.01; gpu: > 0.001 -->; a good deal of the rest goes into softmax over 8,000 tokens, norms, and the optimizer, which multiply no matrices. (Whatever else the machine does meanwhile disturbs both numbers of the ratio.) Large models on GPUs are usually trained at a third to a half of the peak.

# %% [markdown] id="resume-intro"
# ## 9. Stop, and go on as if nothing had happened
#
# Runs that take days are interrupted. Going on *exactly* needs everything that the next step depends on: the weights; AdamW's two averages and its count of steps; the random state, if there is dropout; and the place in the data and in the schedule, which for us is only the step. First a run without interruption, on a small model with
# dropout; it is the truth we compare with.

# %% id="straight"
set_threads(1)  # these matrices are too small to be worth sharing between cores
num_resume_steps, half = 24, 12
settings = {"d_model": 32, "num_layers": 1, "num_heads": 2, "dropout": 0.1}
resume_config = TrainConfig(max_lr=1e-2, batch_size=4, **GPT_RUN)
resume_batches = BlockBatches(rows["train"], batch_size=4, context_length=32, num_steps=num_resume_steps)


def start_run():
    """A fresh small model and its optimizer."""
    objective = LanguageModelLoss(fresh_gpt(**settings))
    return objective, make_optimizer(objective, resume_config)


objective, optimizer = start_run()
straight = train_gpt(objective, resume_batches, optimizer, resume_config)["loss"]
print("straight:", [round(loss, 4) for loss in straight[half : half + 4]], "...")

# %% [markdown] id="stop-intro"
# The second run saves its state after step 12 and is killed. A third begins in a fresh model, with random numbers of its own, and loads the state. `save_state` writes one file, beside its place first and then under its name, so that a crash while saving leaves the old state whole.


# %% id="stop"
def save_and_die(done: int) -> None:
    """Save after half the steps; then the run ends."""
    if done == half:
        save_state(scratch("07", "run"), objective, optimizer, done, settings)
        raise KeyboardInterrupt(f"killed after step {done}")


objective, optimizer = start_run()
with expect_error(KeyboardInterrupt):
    train_gpt(objective, resume_batches, optimizer, resume_config, on_step=save_and_die)

objective, optimizer = start_run()
torch.manual_seed(123)  # another state of the random numbers
first_step = load_state(scratch("07", "run"), objective, optimizer, settings)
resumed = train_gpt(objective, resume_batches, optimizer, resume_config, first_step)["loss"]
is_exact = resumed == straight[half:]
print("resumed: ", [round(loss, 4) for loss in resumed[:4]], "...; equal to the last digit:", is_exact)

# %% [markdown] id="resume-notice"
# Equal, all twelve losses, with `==` <!-- claim: is_exact == True; gpu: skip -->. (That is promised for the same machine and number of threads: another order of additions rounds otherwise.) **Guess first:** what happens if one part is forgotten? Three resumes, each without one: AdamW's averages, the random state, or the step.

# %% id="forgotten"
forgotten = {}
for name in ("AdamW's averages", "random state", "step"):
    objective, optimizer = start_run()
    first_step = load_state(scratch("07", "run"), objective, optimizer, settings)
    if name == "AdamW's averages":
        optimizer.state.clear()
    elif name == "random state":
        torch.manual_seed(123)
    else:
        first_step = 0
    losses = train_gpt(objective, resume_batches, optimizer, resume_config, first_step)["loss"][:half]
    forgotten[f"without {name}"] = np.array(losses) - np.array(straight[half:])
viz.lines(
    forgotten,
    x=range(half + 1, num_resume_steps + 1),
    xlabel="optimizer step",
    ylabel="loss minus that of the straight run (nats)",
    title="Whatever is forgotten, the run is another one",
    baseline={"exact": 0.0},
).set_ylim(-2.0, 1.2)
for name, difference in forgotten.items():
    print(f"{name:26} first loss the same: {difference[0] == 0!s:5}   most: {np.abs(difference).max():.2f} nats")

# %% [markdown] id="forgotten-notice"
# Without AdamW's averages the first loss is still right, with a difference of 0 <!-- claim: forgotten["without AdamW's averages"][0] == 0; gpu: skip -->: the weights are the same. Then the run goes elsewhere, because fresh averages make Adam's first steps as long as the learning rate allows. Here, early in a run, it is not even worse, so a look at the curve would
# not find the mistake. Without the random state the dropout differs, and the run is another one by chance; the difference is too small to see in the picture. Without the step the loss looks *better*: the first batches are read again, and a model knows what it has read. None of the three is the run you started.
#
# A state can be wrong in more ways. It may belong to another model, or be cut off because the disk was full. Both are refused, and nothing in your model changes.

# %% id="refuse"
before = [parameter.clone() for parameter in objective.parameters()]
with chdir(scratch("07")):
    with expect_error(UserError):
        load_state(Path("run"), objective, optimizer, {**settings, "num_layers": 2})
    file = Path("run/training_state.safetensors")
    file.write_bytes(file.read_bytes()[:-1_000])
    with expect_error(UserError):
        load_state(Path("run"), objective, optimizer, settings)
untouched = all(torch.equal(a, b) for a, b in zip(before, objective.parameters(), strict=True))
print("model unchanged:", untouched)
set_threads(2)

# %% [markdown] id="shipped-intro"
# ## 10. Train longer
#
# How good can it get on this machine? The course ships a model that trained for longer: 4 layers of width 192, 256 tokens of context, the same vocabulary and conversations. `python -m course_utils.runs.gpt_pretraining` repeats it, which took 51 <!-- claim: read_training_log(course_gpt.FOLDER)["rows"][-1]["seconds"] / 60 ~= 51 ± 1 --> minutes here; its log lies beside the weights. **Guess first:** it reads each text about five times. Will train and held-out loss stay together?

# %% id="log"
log = read_training_log(course_gpt.FOLDER)
log_rows = log["rows"]
epoch_tokens = log["num_train_tokens"]
ax = viz.lines(
    {
        "train": ([row["tokens"] / 1e6 for row in log_rows[1:]], [row["train_loss"] for row in log_rows[1:]]),
        "validation": ([row["tokens"] / 1e6 for row in log_rows[1:]], [row["loss"] for row in log_rows[1:]]),
    },
    xlabel="tokens read (millions); grey lines end an epoch",
    ylabel="loss (nats per token)",
    title="The second reading parts the curves",
    baseline={name: baselines[name] for name in ("unigram", "bigram")},
)
ax.set_ylim(4.0, 7.0)
for epoch in range(1, int(log_rows[-1]["tokens"] / epoch_tokens) + 1):
    ax.axvline(epoch * epoch_tokens / 1e6, color="0.8", linewidth=1, zorder=0)
parted_at = next(row["tokens"] for row in log_rows[1:] if row["loss"] > row["train_loss"]) / epoch_tokens
beats_bigram_at = next(row["tokens"] for row in log_rows if row["loss"] < baselines["bigram"]) / 1e6
print(f"below the bigram after {beats_bigram_at:.1f} million tokens; the curves cross after {parted_at:.1f} epochs")
final_gap = log_rows[-1]["loss"] - log_rows[-1]["train_loss"]
print(f"gap at the end: {final_gap:.2f} nats per token")

# %% [markdown] id="log-notice"
# It passed the bigram after 3.1 <!-- claim: beats_bigram_at ~= 3.1 ± 0.1; smoke: < 4 --> million tokens. While the text is new, both curves lie together. (The training loss is an average over the 250 steps before, so where it falls quickly it lies too high.) During the second reading they cross, after 1.3 <!-- claim: parted_at ~= 1.3 ± 0.3 --> epochs, and the gap grows, to 0.26 <!-- claim: final_gap ~= 0.26 ± 0.01 --> nats at the end: the model begins to know its text by heart.
#
# Reading again is still worth it: the held-out loss falls to the last step. Muennighoff et al. found that up to four readings are nearly as good as new text, and that after that each further one is worth less and less. (The weights of the step with the lowest held-out loss are shipped, here the last one. Had it been an earlier one, the choice would flatter the number. The test conversations have not been touched.)

# %% [markdown] id="log-samples-intro"
# What it wrote on the way, after the same prompt and with the same random numbers each time:

# %% id="log-samples"
for row in log_rows:
    if "sample" in row:
        print(f"--- step {row['step']:,}, {row['loss']:.2f} nats per token\n{row['sample'][:220]}")

# %% [markdown] id="log-samples-notice"
# Words come first, then phrases, then turns that take up something of the turn before. What is said stays shallow, and does not hold together for long: a few million parameters, and as many tokens, do not hold much of the world. These are the first samples, not the best ones.
#
# Now both models and all baselines, on the same held-out bytes.

# %% id="compare"
shipped_loss = held_out_loss(shipped)
all_bits = {
    "xz": xz_bits,
    "unigram": in_bits(baselines["unigram"]),
    "bigram": in_bits(baselines["bigram"]),
    "yours": in_bits(your_loss),
    "shipped": in_bits(shipped_loss),
}
viz.bars(
    all_bits,
    ylabel="bits per byte, held-out conversations",
    title="The longer run passes everything that counts pairs",
    value_format="{:.2f}",
)
shannon = 0.6, 1.3  # bits per letter of English prose, between which Shannon put people's guesses in 1951
print(f"shipped: {shipped_loss:.2f} nats per token, perplexity {math.exp(shipped_loss):.1f}")
print(f"yours:   {your_loss:.2f} nats per token")
print(f"people guessing letters of English prose: {shannon[0]} to {shannon[1]} bits per letter")

# %% [markdown] id="compare-notice"
# The shipped model needs 1.6 <!-- claim: all_bits["shipped"] ~= 1.6 ± 0.06; smoke: < 1.9 --> bits for each byte, less than the bigram by 12% <!-- claim: 1 - all_bits["shipped"] / all_bits["bigram"] ~= 0.12 ± 0.02; smoke: > 0 -->. Both models have one vocabulary, so their nats per token may be compared too: the shipped one typically gives the true token over 2 <!-- claim: math.exp(your_loss - shipped_loss) > 2 --> times the probability. Yours and the shipped one differ in several things at once: parameters, tokens read, context, and the numbers of the optimizer. This picture does not say which of them counted; lesson 10 takes the first two apart.
#
# How far is it to the floor? Nobody knows. Shannon had people guess letters of printed English and put it between 0.6 and 1.3 bits per letter. Chats are another kind of text, and a byte is not quite a letter, but there is room below.

# %% [markdown] id="experiment-intro"
# ## 11. An experiment: the peak learning rate
#
# Of the numbers you choose for the optimizer, the peak of the learning rate usually matters most. Three short runs of your model, from the same noise, over the same batches: a tenth of `max_lr`, `max_lr`, and ten times that. **Guess first:** which one is ahead after fifty steps?

# %% id="experiment"
probes = {}
for factor in (0.1, 1.0, 10.0):
    objective = LanguageModelLoss(fresh_gpt())
    probe_config = TrainConfig(max_lr=factor * max_lr, batch_size=batch_size, warmup_fraction=0.1, **GPT_RUN)
    probe_batches = BlockBatches(
        rows["train"], batch_size=batch_size, context_length=context_length, num_steps=num_probe_steps, seed=seed
    )
    losses = train_gpt(objective, probe_batches, make_optimizer(objective, probe_config), probe_config)["loss"]
    probes[f"peak {factor * max_lr:g}"] = losses
viz.lines(
    probes,
    xlabel="optimizer step",
    ylabel="training loss (nats per token)",
    title="A tenth is slow; ten times leaps up, then joins the plateau",
    baseline={"unigram": baselines["unigram"]},
)
ends = [np.mean(losses[-5:]) for losses in probes.values()]
print({name: round(float(end), 1) for name, end in zip(probes, ends, strict=True)})

# %% [markdown] id="experiment-notice"
# A tenth of the rate is slow: 1.2 <!-- claim: ends[0] - ends[1] ~= 1.2 ± 0.4; smoke: > -1 --> nats behind. Ten times the rate leaps up, above the uniform guess (its worst step costs over 9.5 <!-- claim: max(probes[list(probes)[2]]) > 9.5; smoke: > 0 --> nats), and comes back. Clipping, and Adam, which divides by the long gradients it has just seen, keep the steps within bounds, and the schedule shortens them. Then it lands beside the middle one, with a difference below
# 0.5 <!-- claim: abs(ends[2] - ends[1]) < 0.5; smoke: < 3 --> nats.
#
# Is it as good, then? Look where the two have met: on the unigram line. Both know frequencies and nothing else, and that is learned at nearly any rate. A run that ends on a plateau cannot choose between learning rates; it takes one long enough to leave it. Fifty steps are not that run. So here is the experiment for you: set `max_lr` to a third and to three times its value in the parameters cell (or `warmup_fraction` to 0 or to a third), run everything,
# and compare `your_loss`. Write your guess down first.

# %% [markdown] id="summary"
# ## Summary
#
# * You split by conversation before joining, because nearly every block dealt out at random belonged to a conversation that was trained on.
# * You derived the loss from the chain rule and maximum likelihood. You gave it as nats per token, perplexity and bits per byte, and saw why only the last one compares vocabularies.
# * A fresh model cost ln V. Unigram, bigram and xz said what can be had without a network; a minute of training passed the first and not the second.
# * You wrote the parts of the loop: decay groups, warm-up and cosine, clipping, accumulation equal to the large batch; and you measured your run as a share of the machine's peak.
# * You resumed a run exactly, and saw what happens when a part of its state is missing.
# * A longer run on the same machine passed the bigram. It read its text several times, and the gap between train and held-out loss showed it.
#
# The formula to keep: $\text{loss} = -\frac{1}{N}\sum_t \log p_\theta(x_t \mid x_{<t})$; perplexity is $e^{\text{loss}}$; bits per byte are $\text{loss} \cdot N / (\ln 2 \cdot \text{bytes})$.

# %% [markdown] id="references"
# ## References
#
# * A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019, [PDF](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf), section 2: GPT-2, its text and its byte-level vocabulary.
# * T. Brown et al., *Language Models are Few-Shot Learners*, 2020, [arXiv:2005.14165](https://arxiv.org/abs/2005.14165), appendix B: GPT-3's optimizer, warm-up, cosine, clipping and batch sizes, and several documents in one block.
# * I. Loshchilov and F. Hutter, *SGDR*, 2017, [arXiv:1608.03983](https://arxiv.org/abs/1608.03983), section 3: the cosine; *Decoupled Weight Decay Regularization*, 2019, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101), section 2: AdamW.
# * R. Pascanu, T. Mikolov and Y. Bengio, *On the Difficulty of Training Recurrent Neural Networks*, 2013, [arXiv:1211.5063](https://arxiv.org/abs/1211.5063), section 3.2: clipping by the norm.
# * A. Chowdhery et al., *PaLM*, 2022, [arXiv:2204.02311](https://arxiv.org/abs/2204.02311), appendix B: operations per token, and the share of the peak.
# * C. Shannon, *Prediction and Entropy of Printed English*, Bell System Technical Journal 30, 1951, [doi](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x): people guess the next letter; the first bounds in bits per letter.
# * N. Muennighoff et al., *Scaling Data-Constrained Language Models*, 2023, [arXiv:2305.16264](https://arxiv.org/abs/2305.16264), section 6: what reading the same text several times is worth.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
