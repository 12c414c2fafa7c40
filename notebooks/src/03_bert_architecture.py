# ---
# jupyter:
#   course:
#     title: Inside BERT
#     question: What is inside BERT, and what does it know?
#     minutes: 105
#     needs: CPU
#     prerequisites: ["01", "02"]
#     cell_timeout: 60
#     mem_cap_mb: 6144
# ---

# %% [markdown] id="title"
# # 03 · Inside BERT
#
# **What is inside BERT, and what does it know?**
#
# You have written attention and the blocks made of it. What is missing for a BERT fits on a page: three tables in front, a stack of blocks, one layer behind. We build it, pour real pretrained weights in, and prove that it *is* Hugging Face's BERT: every hidden state, every gradient.
# Then we open it up: what do its heads look at, what does each layer know, and what is it good for?
#
# Afterwards you can
#
# * build BERT from its parts, with the heads it is trained with, and count its parameters without running it;
# * load a checkpoint into your own code, name by name;
# * prove two models equal, and recognise the bugs that do not crash;
# * measure what heads look at and what layers know;
# * search a collection of texts by meaning.

# %% [markdown] id="imports-intro"
# `EncoderBlock` is the post-norm block of lesson 02. `transformers.BertModel` is the judge.

# %% id="imports"
import re
import textwrap
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from torch import nn

from course_utils import viz
from course_utils.assets import model_path
from course_utils.data.dialogues import clean_conversations, load_conversations
from course_utils.exercises import exercise
from course_utils.models.attention import EncoderBlock
from course_utils.models.bert import BertModel
from course_utils.models.bert_config import BertConfig
from course_utils.models.bert_weights import fitting_tensors, read_config, their_names
from course_utils.runtime import expect_error, seed_everything, set_threads

# %% [markdown] id="parameters-intro"
# The BERT at hand is *MiniLM*: six layers that learned from a larger model to do as it does, and were then trained to place texts of like meaning close together. Parts, vocabulary and file are BERT's.
#
# With a network, `course fetch bert-base-uncased` in a terminal brings the original, and `"bert-base-uncased"` below runs this lesson on it. The proofs of sections 1 to 5 hold for any BERT; numbers, and what is said about single heads and layers, are those of MiniLM.

# %% id="parameters" tags=["parameters"]
model_name = "minilm"  # or "bert-base-uncased", after fetching it
num_maps = 40  # messages for the attention heads of section 6
num_probed = 1_000  # messages for the probes of section 7
num_searched = 1_500  # messages in the search of section 8
seed = 0

# %% [markdown] id="input-intro"
# ## 1. What goes in
#
# BERT reads one or two texts at a time, as `[CLS] first text [SEP] second text [SEP]`. For each position three vectors are looked up and added: the **token's**, the **position's**, and the **token type's**, which says to which of the two texts it belongs. A LayerNorm follows. That is the whole input.

# %% id="input"
set_threads(2)
seed_everything(seed)
folder = model_path(model_name)
config = read_config(folder)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
batch = tokenizer([("Do you like tea?", "I prefer coffee."), ("Hello!", "Hi.")], padding=True, return_tensors="pt")
for name, value in vars(config).items():
    print(f"{name:>15} {value}")
for name in ["input_ids", "token_type_ids", "attention_mask"]:
    print(f"{name:>15}", batch[name][1].tolist())
print(" ".join(tokenizer.convert_ids_to_tokens(batch.input_ids[1])))

# %% [markdown] id="input-notice"
# First the sizes of this model, in the words of lesson 02. `dropout` acts only in training and has its turn in lesson 05; `norm_eps` is the small number that keeps LayerNorm from dividing by 0.
#
# Then the second pair. It is the shorter one, so it is filled up with `[PAD]`; the mask is 0 there. Types are 1 in the second text. Note that padding has type 0 and a position too: it goes through the model like any token, and only the mask keeps others from reading it.
#
# ### Exercise 03.1
# Write the input layer: look up, add, normalise.

# %% id="ex1" exercise="03.1"

# %% [markdown] id="model-intro"
# ## 2. The model on one page
#
# Behind the embeddings stand `num_layers` blocks. The output is one vector per position, and one for the whole input: the **pooler** takes the vector of `[CLS]`, multiplies it with a matrix and bends it through tanh. What a task needs stands on one of these two, and comes in section 5.


# %% id="model"
class Bert(nn.Module):
    """Token ids, mask and token types (B, T) to the states of all layers, L + 1 of (B, T, D), and pooled (B, D)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "token": nn.Embedding(config.vocab_size, config.d_model),
                "position": nn.Embedding(config.context_length, config.d_model),
                "token_type": nn.Embedding(config.num_token_types, config.d_model),
                "norm": nn.LayerNorm(config.d_model, eps=config.norm_eps),
            }
        )
        sizes = config.d_model, config.num_heads, config.d_ff
        self.layers = nn.ModuleList(EncoderBlock(*sizes, norm_eps=config.norm_eps) for _ in range(config.num_layers))
        self.pooler = nn.Linear(config.d_model, config.d_model)

    def forward(self, input_ids, attention_mask, token_type_ids):
        tables = [self.embeddings[name].weight for name in ("token", "position", "token_type")]
        states = [embed(input_ids, token_type_ids, *tables, self.embeddings["norm"])]
        mask = (attention_mask == 1)[:, None, None, :]  # (B, 1, 1, T): who may be seen as a key
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        return states, torch.tanh(self.pooler(states[-1][:, 0]))


model = Bert(config).eval()
total = sum(parameter.numel() for parameter in model.parameters())
print(f"{total:,} parameters")

# %% [markdown] id="count-intro"
# Where do 22,713,216 <!-- claim: total == 22713216; gpu: > 1e8 --> parameters come from? You can know without counting tensors, and it pays: memory, download and training time all follow from this number.
#
# ### Exercise 03.2
# Write the count as a formula of the sizes. The number of heads is one of the sizes; does it matter?

# %% id="ex2" exercise="03.2"

# %% [markdown] id="count-plot-intro"
# The formula gives the right sum for our model and for bert-base. And where do the parameters sit?

# %% id="count-plot"
bert_base = num_parameters(BertConfig())  # the default sizes are those of bert-base
print(f"by the formula: {num_parameters(config):,}; bert-base-uncased: {bert_base:,}")
parts = {
    "token table": model.embeddings["token"].weight.numel(),
    "attention": sum(p.numel() for layer in model.layers for p in layer.attention.parameters()),
    "feed-forward": sum(p.numel() for layer in model.layers for p in layer.feed_forward.parameters()),
}
parts["all the rest"] = total - sum(parts.values())
token_share = parts["token table"] / total
viz.bars(
    {name: 100 * number / total for name, number in parts.items()},
    ylabel="share of all parameters (%)",
    value_format="{:.0f}%",
    title=f"{token_share:.0%} of this BERT is its dictionary",
)

# %% [markdown] id="count-notice"
# 52% <!-- claim: token_share ~= 0.52 ± 0.005; gpu: ~= 0.21 ± 0.01 --> of our model is the token table, and feed-forward layers hold twice as much as attention. The original bert-base has 109,482,240 <!-- claim: bert_base == 109482240 --> parameters: twice the width and twice the layers make all blocks together eight times larger, the table only twice.

# %% [markdown] id="weights-intro"
# ## 3. Pouring real weights in
#
# A checkpoint is a dictionary from names to tensors. Ours has other names than Hugging Face's, and one matrix where they have three, so we need a translation. These are all weights in front of the layers, of layer 0, and behind; biases go the same way.

# %% id="weights-names"
file = load_file(folder / "model.safetensors")
# Some files say `bert.` in front, or gamma and beta for weight and bias of a LayerNorm.
file = {name.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias"): t for name, t in file.items()}
for name, parameter in model.state_dict().items():
    if name.endswith("weight") and not name.startswith(tuple(f"layers.{i}." for i in range(1, config.num_layers))):
        print(f"{name:35} {str(tuple(parameter.shape)):13}", "\n".ljust(51).join(their_names(name)))

# %% [markdown] id="weights-notice"
# On the left our names and shapes, on the right the names in the file. These eleven rows are the whole translation; `their_names` in `course_utils/models/bert_weights.py` is this table, written out. The one thing that is not a renaming is `qkv`, where three matrices become one.
#
# ### Exercise 03.3
# Join query, key and value of one layer into our `qkv`. A wrong order here does not crash: the shapes are all the same.

# %% id="ex3" exercise="03.3"

# %% [markdown] id="load-intro"
# Now load. `load_state_dict` is strict: it raises if a name is missing or left over, and that is what we want. A loader that skips what it does not know leaves random numbers in your model.

# %% id="load"
state = {}
for name in model.state_dict():
    if ".qkv." in name:
        weight, bias = join_qkv(file, layer=int(name.split(".")[1]))
        state[name] = weight if name.endswith("weight") else bias
    else:
        (their_name,) = their_names(name)
        state[name] = file[their_name]
print(model.load_state_dict(state))

# %% [markdown] id="load-strict-intro"
# The course's own loader, `BertModel.from_pretrained`, works the same way. What does it say about a file in which one tensor is missing, one has the wrong shape, and one belongs to no part of the model?

# %% id="load-strict"
damaged = {name: tensor for name, tensor in file.items() if name != "pooler.dense.bias"}
damaged["embeddings.position_embeddings.weight"] = file["embeddings.position_embeddings.weight"][:100]
damaged["encoder.layer.99.output.dense.bias"] = torch.zeros(config.d_model)
with expect_error(ValueError):
    fitting_tensors(BertModel(config), damaged, Path("my_bert"))

# %% [markdown] id="load-strict-notice"
# All three by name, before anything is computed.

# %% [markdown] id="equal-intro"
# ## 4. Is it BERT?
#
# The judge is `transformers.BertModel` on the same file: all hidden states, the pooled output, and the gradient of every weight, with padding and token types. **Guess first:** how large will the largest difference be?

# %% id="equal"
reference = transformers.BertModel.from_pretrained(folder, dtype=torch.float32).eval()
states, pooled = model(**batch)
expected = reference(**batch, output_hidden_states=True)
difference = [(a - b).detach().abs().max().item() for a, b in zip(states, expected.hidden_states, strict=True)]
pooled_difference = (pooled - expected.pooler_output).detach().abs().max().item()
print(f"{len(states)} hidden states equal:", max(difference) < 1e-5, "| pooled equal:", pooled_difference < 1e-5)

# %% [markdown] id="gradients-intro"
# Equal outputs do not yet prove equal training. So we send a gradient through both, from the real tokens, since nobody uses what stands at padding.

# %% id="gradients"
is_token = batch.attention_mask.bool()
(states[-1][is_token].sin().mean() + pooled.mean()).backward()
(expected.last_hidden_state[is_token].sin().mean() + expected.pooler_output.mean()).backward()
their_grads = {name: parameter.grad for name, parameter in reference.named_parameters()}
gradient_difference = max(
    (parameter.grad - torch.cat([their_grads[theirs] for theirs in their_names(name)])).abs().max().item()
    for name, parameter in model.named_parameters()
)
worst = max(*difference, pooled_difference, gradient_difference)
print("gradients of all parameters equal:", gradient_difference < 1e-5)

# %% [markdown] id="equal-notice"
# The largest difference anywhere is below 0.00001 <!-- claim: worst < 1e-5; gpu: < 1e-4 -->: rounding. The same function, and the same training.
#
# Why so strict? Because the usual bugs do not crash. Here are four that people really make, each in an otherwise perfect BERT. **Guess first:** which one does the most damage?


# %% id="bugs"
def states_with(bug: str) -> list[torch.Tensor]:
    """Hidden states of our model with one mistake in it."""
    broken = Bert(config).eval()
    broken.load_state_dict(state)
    inputs = dict(batch)
    if bug == "padding not masked":
        inputs["attention_mask"] = torch.ones_like(batch.attention_mask)
    elif bug == "token types all 0":
        inputs["token_type_ids"] = torch.zeros_like(batch.token_type_ids)
    elif bug == "positions from 1":
        broken.embeddings["position"].weight.data = broken.embeddings["position"].weight.data.roll(-1, dims=0)
    elif bug == "query and key swapped":
        for layer in broken.layers:
            for part in layer.attention.qkv.parameters():
                q, k, v = part.data.chunk(3)
                part.data = torch.cat([k, q, v])
    with torch.inference_mode():
        return broken(**inputs)[0]


bugs = ["no bug", "padding not masked", "token types all 0", "positions from 1", "query and key swapped"]

# %% [markdown] id="bugs-plot-intro"
# The mean difference from the true states, at real tokens, layer by layer. The scale is logarithmic; exact equality, which it cannot show, is drawn at its lower end.

# %% id="bugs-plot"
damage = {}
for bug in bugs:
    pairs = zip(states_with(bug), expected.hidden_states, strict=True)
    damage[bug] = [max((a - b)[is_token].abs().mean().item(), 1e-8) for a, b in pairs]
ax = viz.lines(
    damage,
    xlabel="layer (0: embeddings)",
    ylabel="mean difference of a number",
    title="Four bugs that do not crash",
)
ax.set_yscale("log")
ax.legend(frameon=False, loc="center right")
last_damage = {name: values[-1] for name, values in damage.items() if name != "no bug"}
typical_size = expected.last_hidden_state[is_token].abs().mean().item()
print(f"a number of the last layer is {typical_size:.2f} in size; after a bug it is off by")
print({name: round(value, 2) for name, value in last_damage.items()})
worst_bug, smallest_bug = max(last_damage.values()) / typical_size, min(last_damage.values())

# %% [markdown] id="bugs-notice"
# Swapping queries and keys does the most damage: the vectors after the last layer are then off by more than their own size (by 1.0 <!-- claim: worst_bug > 1.0; gpu: skip --> times or more). But even the mildest bug changes numbers by 0.01 or more <!-- claim: smallest_bug > 0.01; gpu: > 0.001 -->, over a thousand times rounding. None raises an error, and all give vectors
# that look healthy. A parity test with padding and two texts finds every one in a second; without padding and types two of them would pass it.
#
# From here on we use the course's `BertModel`. It is the class above with dropout, `from_pretrained` and checks of what it is given. A token id that the vocabulary lacks:

# %% id="checks"
bert = BertModel.from_pretrained(model_name)
with expect_error(ValueError):
    bert(torch.tensor([[101, 99_999, 102]]))

# %% [markdown] id="task-heads-intro"
# ## 5. What stands on top
#
# States and pooled vector answer no question yet. What does is called a **head** (not one of attention: the word is used twice). BERT is pretrained with two. The first looks at the state of each position and gives every token of the vocabulary a score: *which word is hidden here?* The second looks at the pooled vector: *does the second text follow
# the first?*
#
# To score 30,522 tokens takes a large matrix, and BERT has one already: the token table. A state is compared with the vector of each token, and the more alike, the higher the score. Nothing new has to be learned but a small layer in front and a bias per token.


# %% id="task-heads"
class PretrainingHeads(nn.Module):
    """States (B, T, D) to scores of all tokens (B, T, V); pooled (B, D) to the scores of *follows* and *does not* (B, 2)."""

    def __init__(self, model: Bert, config: BertConfig):
        super().__init__()
        self.transform = nn.Linear(config.d_model, config.d_model)
        self.transform_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.token_table = model.embeddings["token"].weight  # (V, D): the same tensor, not a copy
        self.token_bias = nn.Parameter(torch.randn(config.vocab_size))
        self.next_text = nn.Linear(config.d_model, 2)

    def forward(self, states, pooled):
        hidden = self.transform_norm(F.gelu(self.transform(states)))  # (B, T, D)
        return hidden @ self.token_table.T + self.token_bias, self.next_text(pooled)


heads = PretrainingHeads(model, config)
num_in_heads = sum(parameter.numel() for name, parameter in heads.named_parameters() if name != "token_table")
print(f"{num_in_heads:,} parameters in the heads; a table of their own would be {heads.token_table.numel():,} more")

# %% [markdown] id="task-heads-equal-intro"
# MiniLM's file holds no such heads, because its training ended with another task. So both sides get the same random ones, and the question is whether they compute the same, also backwards. The token table is used at both ends now, so gradients must reach it from both.

# %% id="task-heads-equal"
judge = transformers.BertForPreTraining(reference.config).eval()
judge.bert.load_state_dict(reference.state_dict())
predictions = judge.cls.predictions
predictions.transform.dense.load_state_dict(heads.transform.state_dict())
predictions.transform.LayerNorm.load_state_dict(heads.transform_norm.state_dict())
judge.cls.seq_relationship.load_state_dict(heads.next_text.state_dict())
predictions.bias.data.copy_(heads.token_bias.data)
model.zero_grad()
states, pooled = model(**batch)
ours = heads(states[-1], pooled)
judged = judge(**batch)
theirs = judged.prediction_logits, judged.seq_relationship_logits
for token_scores, next_scores in (ours, theirs):
    (token_scores[is_token].sin().mean() + next_scores.sin().mean()).backward()
table_gradients = model.embeddings["token"].weight.grad, judge.bert.embeddings.word_embeddings.weight.grad
compared = [(ours[0][is_token], theirs[0][is_token]), (ours[1], theirs[1]), table_gradients]
head_difference = max((a - b).detach().abs().max().item() for a, b in compared)
print("both heads and the token table's gradient equal:", head_difference < 1e-4)

# %% [markdown] id="task-heads-notice"
# Equal to 0.0001 <!-- claim: head_difference < 1e-4 -->. Lesson 04 trains both heads. Other tasks bring heads of their own, and most are smaller still: a classifier is one linear layer on the pooled vector, `D + 1` numbers for each class. Lesson 05 trains one.

# %% [markdown] id="heads-intro"
# ## 6. What attention heads look at, over real text
#
# One map of one sentence proves little, so we count. For some dozens of real messages and each attention head we measure how much weight a token gives to the token before it, the one after it, `[CLS]` and `[SEP]`.

# %% id="messages"
conversations, _ = clean_conversations(load_conversations())
all_messages = [turn for conversation in conversations for turn in conversation.turns]
messages = [text for text in dict.fromkeys(all_messages) if 6 <= len(text.split()) <= 20]
generator = torch.Generator().manual_seed(seed)
messages = [messages[i] for i in torch.randperm(len(messages), generator=generator)]
print(f"{len(messages):,} messages of 6 to 20 words, such as: {messages[0]!r}")

# %% [markdown] id="heads-measure-intro"
# Each message goes through alone, so there is no padding. `hidden_states[i]` is what layer `i` reads.


# %% id="heads-measure"
def weight_on(text: str) -> torch.Tensor:
    """The mean weight that a head gives to (token before, token after, [CLS], [SEP]): (L, H, 4)."""
    input_ids = tokenizer(text, return_tensors="pt").input_ids  # (1, T)
    with torch.inference_mode():
        states = bert(input_ids).hidden_states
        maps = torch.stack([layer.attention.weights(h)[0] for layer, h in zip(bert.layers, states, strict=False)])
    before, after = maps.diagonal(-1, 2, 3).mean(-1), maps.diagonal(1, 2, 3).mean(-1)  # (L, H)
    return torch.stack([before, after, maps[..., 0].mean(-1), maps[..., -1].mean(-1)], dim=-1)


mean_weight = torch.stack([weight_on(text) for text in messages[:num_maps]]).mean(0)  # (L, H, 4)

# %% [markdown] id="heads-plot-intro"
# Two of the four as pictures: one square per head.

# %% id="heads-plot"
for ax, (kind, name) in zip(
    viz.new_axes((11, 3.6), num_columns=2), [(0, "the token before"), (2, "[CLS]")], strict=True
):
    viz.heatmap(mean_weight[..., kind], xlabel="head", ylabel="layer", title=f"Mean weight on {name}", ax=ax)
strongest = {name: mean_weight[..., kind].max().item() for kind, name in enumerate(["before", "after", "CLS", "SEP"])}
cls_by_layer = mean_weight[..., 2].mean(-1)
print({name: f"{weight:.2f}" for name, weight in strongest.items()})
cls_growth = (cls_by_layer[1:].mean() / cls_by_layer[0]).item()

# %% [markdown] id="heads-notice"
# One head of the first layer does nothing but look one token back, with 100% <!-- claim: strongest["before"] ~= 1.0 ± 0.01; gpu: skip --> of its weight in all these messages, and another gives 65% <!-- claim: strongest["after"] ~= 0.65 ± 0.04; smoke: > 0.5; gpu: skip --> to the token after. From the second layer on, many heads give most of their weight to `[CLS]`: on average over 2 <!-- claim: cls_growth > 2; gpu: skip --> times as much as in the first. Weights must add up to 1, so a head that finds nothing needs a
# place to put them. Much attention to a special token is therefore read as a head that has nothing to do (Clark et al., in the references).

# %% [markdown] id="probe-intro"
# ## 7. What does each layer know?
#
# A **probe** asks: can a linear classifier read a fact off the states of a layer? If so, the fact stands there in the open. We take the mean vector of a message at each layer, and three facts, from the surface to the meaning:
#
# * *length*: has it more than 11 words?
# * *order*: were two neighbouring words swapped?
# * *question*: did it end with a question mark (which we took away)?
#
# The control is the same network with random weights. What a probe reads there was learned by nobody: it is what any mixing of word vectors leaves standing.
#
# ### Exercise 03.4
# First the mean vector. Texts of one batch differ in length, and padding must not count.

# %% id="ex4" exercise="03.4"

# %% [markdown] id="probe-data-intro"
# The data: real messages. For the order probe half of them get two neighbouring words swapped. All three have their last punctuation taken away.


# %% id="probe-data"
def swap_neighbours(text: str, place: int) -> str:
    """The text with word `place` and the one after it exchanged."""
    words = text.split()
    words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


questions = [text for text in messages if text.endswith("?")][: num_probed // 2]
statements = [text for text in messages if not text.endswith("?")][: num_probed // 2]
probed = [text.rstrip(" ?!.,") for pair in zip(questions, statements, strict=True) for text in pair]
swapped = [swap_neighbours(text, 1 + i % 3) if i // 2 % 2 else text for i, text in enumerate(probed)]
labels = {
    "length": [len(text.split()) > 11 for text in probed],
    "order": [i // 2 % 2 == 1 for i in range(len(probed))],
    "question": [i % 2 == 0 for i in range(len(probed))],
}
print(f"as it was: {probed[2]}\nswapped:   {swapped[2]}")

# %% [markdown] id="probe-encode-intro"
# One pass gives the states of all layers. Texts of similar length go together, so that little is computed on padding. Of the swapped texts only the changed half needs a pass of its own.


# %% id="probe-encode"
def layer_means(model: BertModel, texts: list[str], batch_size: int = 64) -> torch.Tensor:
    """Mean vectors of all layers: (L + 1, N, D)."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    means = torch.empty(model.config.num_layers + 1, len(texts), model.config.d_model)
    for start in range(0, len(texts), batch_size):
        rows = order[start : start + batch_size]
        batch = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=64, return_tensors="pt")
        with torch.inference_mode():
            states = model(batch.input_ids, batch.attention_mask).hidden_states
        means[:, rows] = torch.stack([mean_pool(h, batch.attention_mask) for h in states])
    return means


models = {"pretrained": bert, "random weights": BertModel(config).eval()}
plain = {name: layer_means(network, probed) for name, network in models.items()}
changed = [i for i, is_swapped in enumerate(labels["order"]) if is_swapped]
shuffled = {name: means.clone() for name, means in plain.items()}
for name, network in models.items():
    shuffled[name][:, changed] = layer_means(network, [swapped[i] for i in changed])

# %% [markdown] id="probe-fit-intro"
# The probe is *ridge regression*: the weights that bring `x @ weights` closest to +1 for yes and -1 for no, kept small by a penalty on their squares. They have a closed form. We fit on three quarters of the messages, test on the fourth, and take turns, so that each message is tested once.
#
# **Guess first:** in which layer is the question best visible?


# %% id="probe-fit"
def probe_accuracy(vectors: torch.Tensor, labels: list[bool], num_folds: int = 4, penalty: float = 300.0) -> float:
    """The share of messages that a linear probe gets right, fitted on the other folds; vectors (N, D)."""
    x = (vectors - vectors.mean(0)) / vectors.std(0)  # (N, D), each column with mean 0 and variance 1
    y = 2 * torch.tensor(labels, dtype=x.dtype) - 1  # (N,)
    fold, num_right = torch.arange(len(y)) * num_folds // len(y), 0
    for tested in range(num_folds):
        x_fit, y_fit = x[fold != tested], y[fold != tested]
        weights = torch.linalg.solve(x_fit.T @ x_fit + penalty * torch.eye(x.shape[1]), x_fit.T @ y_fit)  # (D,)
        says_yes = x[fold == tested] @ weights + y_fit.mean() > 0
        num_right += (says_yes == (y[fold == tested] > 0)).sum().item()
    return num_right / len(y)


accuracy = {
    fact: {
        name: [probe_accuracy(layer, labels[fact]) for layer in (shuffled if fact == "order" else plain)[name]]
        for name in models
    }
    for fact in labels
}
for fact, found in accuracy.items():
    print(fact, {name: [round(value, 2) for value in values] for name, values in found.items()})

# %% [markdown] id="probe-plot-intro"
# Chance is dotted: the share of the more frequent answer. How far can the luck of the draw move a point? The bands hold the true share nineteen times out of twenty.

# %% id="probe-plot"
titles = {"length": "Length: more than 11 words?", "order": "Order: words swapped?", "question": "Question?"}
for ax, fact in zip(viz.new_axes((13, 3.8), num_columns=3), labels, strict=True):
    share, bands = sum(labels[fact]) / len(labels[fact]), {}
    for name, values in accuracy[fact].items():
        half = [1.96 * (value * (1 - value) / len(probed)) ** 0.5 for value in values]
        bands[name] = (
            [v - h for v, h in zip(values, half, strict=True)],
            [v + h for v, h in zip(values, half, strict=True)],
        )
    chance = {"chance": max(share, 1 - share)}
    curves = {"xlabel": "layer (0: embeddings)", "ylabel": "accuracy", "title": titles[fact], "baseline": chance}
    viz.lines(accuracy[fact], intervals=bands, ax=ax, **curves)
    ax.set_ylim(0.45, 1.0)
trained, control = ({fact: accuracy[fact][name] for fact in labels} for name in models)
length_loss = max(trained["length"]) - trained["length"][-1]
question_gain = max(trained["question"]) - max(control["question"])
question_loss = min(control["question"]) - trained["question"][-1]
order_best, order_control = max(trained["order"]), max(control["order"])

# %% [markdown] id="probe-notice"
# Three facts, three stories.
#
# *Length* is there from the start, with random weights too: whatever mixes the vectors of many words leaves traces of how many there were. In the pretrained model the last layer *loses* some of it, at least 0.08 <!-- claim: length_loss > 0.08; smoke: skip; gpu: skip -->.
#
# *Question* is seen best in the middle. Look at the control before you admire it: words such as `what` and `do you` give a question away, and random weights come a long way with them. The middle layers add at least 0.03 <!-- claim: question_gain > 0.03; smoke: skip; gpu: skip --> to that, and the last one shows at least 0.05 <!-- claim: question_loss > 0.05; smoke: skip; gpu: skip --> less than random weights do.
#
# *Order* takes a trained network. The mean of the embeddings hardly changes when two words trade places, and random weights stay near a coin (0.56 at most <!-- claim: order_control < 0.56; smoke: skip; gpu: skip -->). The layers in the middle make it visible, though faintly: 0.60 or better <!-- claim: order_best > 0.6; smoke: skip; gpu: skip -->.
#
# Why would a model forget? The likely reason is that it was asked to. The last step of this model's training was to place texts of the same *meaning* close together, whatever their length or form. What a layer shows follows from what the training rewards, and the best layer for your task need not be the last.
#
# A word of caution: differences smaller than the bands mean nothing here, and a probe shows what *can* be read off, not what the model uses.

# %% [markdown] id="similarity-intro"
# ## 8. Search by meaning
#
# What was lost in form was won in meaning: the last layer places texts of like meaning close together, and the cosine says how close. Six sentences, in two groups of three. **Guess first:** is *How old are you?* closer to *What is your age?*, with which it shares no word, or to *How are you?*

# %% id="similarity"
sentences = [
    "How old are you?",
    "What is your age?",
    "How are you?",
    "I lost my dog.",
    "My dog has run away.",
    "I walked my dog.",
]
unit = F.normalize(layer_means(bert, sentences)[-1], dim=-1)  # (6, D)
similarity = unit @ unit.T
ax = viz.new_axes((9, 4.2))
viz.heatmap(
    similarity,
    xlabel="",
    ylabel="",
    title="Meaning decides, words still count",
    yticks=sentences,
    texts=[[f"{cosine:z.2f}" for cosine in row] for row in similarity.tolist()],
    value_label="cosine",
    ax=ax,
)
ax.set_xticks(range(len(sentences)), [textwrap.fill(sentence, 11) for sentence in sentences])
same_meaning, same_words = similarity[0, 1].item(), similarity[0, 2].item()
run_away, walked = similarity[3, 4].item(), similarity[3, 5].item()

# %% [markdown] id="similarity-notice"
# The question for the age wins by far, 0.76 <!-- claim: same_meaning ~= 0.76 ± 0.02; gpu: skip --> against 0.47 <!-- claim: same_words ~= 0.47 ± 0.02; gpu: skip -->, without a word in common. The two groups hardly know each other. But the dogs show the limit: the walk is as close to the loss as the dog that ran away (0.68 <!-- claim: walked ~= 0.68 ± 0.02; gpu: skip --> and 0.65 <!-- claim: run_away ~= 0.65 ± 0.02; gpu: skip -->). *About the same thing* is not *saying the same thing*.
#
# Searching is the same with a larger table: encode a collection of messages once, encode the wish, take the largest cosines. Beside each hit stands which words it shares with the wish.

# %% id="search"
collection = messages[:num_searched]
index = F.normalize(layer_means(bert, collection)[-1], dim=-1)  # (N, D)
wishes = [
    "Which films do you enjoy?",
    "I am preparing for an exam",
    "Are there animals in your home?",
    "I cannot sleep at night",
]
cosines = F.normalize(layer_means(bert, wishes)[-1], dim=-1) @ index.T  # (4, N)
hits = {}
for wish, row in zip(wishes, cosines, strict=True):
    best = row.topk(2)
    hits[wish] = [(cosine, collection[i]) for cosine, i in zip(best.values.tolist(), best.indices, strict=True)]
    print(wish)
    for cosine, text in hits[wish]:
        shared = set(re.findall(r"[a-z']+", wish.lower())) & set(re.findall(r"[a-z']+", text.lower()))
        print(f"    {cosine:.2f}  {text}  [shared: {', '.join(sorted(shared)) or 'no word'}]")
film_cosine, exam_cosine, animal_cosine, sleep_cosine = (hits[wish][0][0] for wish in wishes)

# %% [markdown] id="search-notice"
# Asked about *films*, it finds a *movie*; an *exam* finds *studying*, *animals* find *pets*, and hardly a word is shared. The cosines of the best hits are above 0.45 <!-- claim: min(film_cosine, exam_cosine, animal_cosine) > 0.45; smoke: skip; gpu: skip -->.
#
# The last wish shows the other side. Nobody in this small collection lies awake, so the best hit is about the night mode of a telephone, at less than 0.45 <!-- claim: sleep_cosine < 0.45; smoke: skip; gpu: skip -->. A search by meaning always returns *something*; only the cosine tells you how little it may be worth. Lesson 09 builds a chat system on this.
#
# The original BERT, although larger, is worse at this: nobody trained it to place texts. The Sentence-BERT paper (references) measured by how much.

# %% [markdown] id="summary"
# ## Summary
#
# * You built BERT: three tables and a norm, a stack of post-norm blocks, a pooler on `[CLS]`.
# * A formula gave its parameter count exactly; the number of heads did not matter.
# * You loaded real weights name by name and joined three matrices into one. The result equalled Hugging Face's BERT in every hidden state and every gradient.
# * Four common bugs crashed nothing and were found by comparing. A damaged file was refused with the names of its tensors.
# * The heads of pretraining stand on top; the larger one is the token table, used a second time.
# * Over real messages, one attention head looked one token back and many rested on `[CLS]`. Probes, beside a control, showed what each layer has in the open.
# * Mean vectors compared sentences and found messages by meaning.
#
# The formula to keep: a block has $4(D^2 + D) + 2 D d_\text{ff} + d_\text{ff} + D + 4D$ parameters, about $12 D^2$ with $d_\text{ff} = 4D$.

# %% [markdown] id="references"
# ## References
#
# * J. Devlin et al., *BERT*, 2019, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805), section 3 and appendix A.
# * W. Wang et al., *MiniLM*, 2020, [arXiv:2002.10957](https://arxiv.org/abs/2002.10957), section 3: how the small model learned from a large one.
# * N. Reimers and I. Gurevych, *Sentence-BERT*, 2019, [arXiv:1908.10084](https://arxiv.org/abs/1908.10084), section 3.
# * A. Conneau et al., *What you can cram into a single vector*, 2018, [arXiv:1805.01070](https://arxiv.org/abs/1805.01070), section 2: probing tasks, length and swapped words among them.
# * K. Clark et al., *What Does BERT Look At?*, 2019, [arXiv:1906.04341](https://arxiv.org/abs/1906.04341), section 3: attention to special tokens.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
