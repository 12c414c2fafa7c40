# ---
# jupyter:
#   course:
#     title: Inside GPT
#     question: What changes from BERT to GPT, and from GPT-2 to a model of today?
#     minutes: 120
#     needs: CPU
#     prerequisites: ["01", "02", "03"]
#     cell_timeout: 120
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 06 · Inside GPT
#
# **What changes from BERT to GPT, and from GPT-2 to a model of today?**
#
# Less than you may expect. GPT is BERT with parts taken away and one rule added: no position may look ahead. We build it, prove it equal to GPT-2's reference, count its published sizes by formula, and then make the four changes that lead from GPT-2 to the models of today. At the end, 135 million trained numbers
# run in code that you have read line by line.
#
# Afterwards you can
#
# * build a GPT, and say what the mask protects;
# * initialise it so that depth does no harm;
# * count the parameters of GPT-1, GPT-2 and GPT-3, and judge published numbers;
# * read GPT-2's files, whose matrices stand transposed, and prove your model equal to the reference;
# * explain RMSNorm, rotary positions, SwiGLU and grouped-query attention, and load a model that has them all.

# %% [markdown] id="imports-intro"
# `GPT` is the course's own model, which later lessons use. Here we write it ourselves and compare. The judges are `GPT2LMHeadModel` and `LlamaForCausalLM` of `transformers`.

# %% id="imports"
import math
from unittest.mock import patch

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from torch import nn

from course_utils import viz
from course_utils.assets import model_path
from course_utils.exercises import exercise
from course_utils.models import attention
from course_utils.models.attention import merge_heads, split_heads
from course_utils.models.gpt import GPT
from course_utils.models.gpt_cache import KeyValueCache
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.gpt_weights import read_config, their_names
from course_utils.runtime import expect_error, scratch, seed_everything, set_threads

# %% [markdown] id="parameters-intro"
# The chat model of lesson 09 comes with the course. GPT-2's weights do not, so its part of the lesson runs on a small GPT-2 with random numbers, which is as good a test of equality. With a network, `course fetch gpt2` in a terminal brings the real one, and `"gpt2"` below uses it.

# %% id="parameters" tags=["parameters"]
reference_model = "random"  # or "gpt2", after fetching it
chat_model = "smollm2"  # the model of today, 135 million parameters
depths = [12, 48]  # layers, the second four times the first: the widths of section 3
num_steps = 250  # optimizer steps, for the experiment of section 4
seed = 0

# %% [markdown] id="task-intro"
# ## 1. From BERT to GPT
#
# | | BERT (lesson 03) | GPT-2 |
# |---|---|---|
# | each position reads | the whole text | itself and what stands before it |
# | tables in front | token, position, token type | token, position |
# | norms | behind each sum, and behind the tables | in front of each part, and one at the end |
# | curve | GELU | GELU, approximated by a tanh |
# | stands on top | a pooler, and a head for each task | one product with the token table |
# | learns from | hidden words, next texts | the next token, at every position |
#
# The last row is the reason for the first. GPT has one task: given the beginning of a text, say which token comes next. A text of `T` tokens holds `T - 1` such questions, and nobody has to write labels: the text is its own answer, shifted by one.

# %% id="task"
set_threads(2)
seed_everything(seed)
chat_folder = model_path(chat_model)
tokenizer = transformers.AutoTokenizer.from_pretrained(chat_folder)
cat_ids = tokenizer("The cat sat on the mat.", return_tensors="pt").input_ids  # (1, T)
for t in range(cat_ids.shape[1] - 1):
    print(f"{tokenizer.decode(cat_ids[0, : t + 1]):20} -> {tokenizer.decode(cat_ids[0, t + 1])!r}")

# %% [markdown] id="loss-intro"
# The loss of one question is minus the logarithm of the probability that the model gave to the right token. The model answers all of them in one pass: `logits[:, t]` is what it says after having read tokens 0 to `t`.
#
# ### Exercise 06.1
# Write the mean loss. The inputs are not shifted yet; that is your work.

# %% id="ex1" exercise="06.1"

# %% [markdown] id="loss-look-intro"
# A model that knows nothing gives all tokens the same logit. **Guess first:** what does it cost per token?

# %% id="loss-look"
V = len(tokenizer)
no_idea = next_token_loss(torch.zeros(1, cat_ids.shape[1], V), cat_ids).item()
print(f"{V:,} tokens: {no_idea:.2f} nats per token, and ln V is {math.log(V):.2f}")

# %% [markdown] id="loss-notice"
# 10.80 <!-- claim: no_idea ~= 10.80 ± 0.01 --> nats, the logarithm of the vocabulary's size. Remember this number: training starts there, or something is wrong.

# %% [markdown] id="build-intro"
# ## 2. The model on one page
#
# Attention is that of lesson 02 with a causal mask, which PyTorch's kernel applies itself when told `is_causal=True`: query `t` sees keys 0 to `t`. We keep the switch in a variable, to turn it off later.


# %% id="attention"
class CausalSelfAttention(nn.Module):
    """Each position reads itself and what stands before it: (B, T, D) to (B, T, D)."""

    is_causal = True

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.output = nn.Linear(config.d_model, config.d_model)

    def forward(self, x):
        q, k, v = (split_heads(part, self.num_heads) for part in self.qkv(x).chunk(3, dim=-1))  # (B, H, T, K)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
        return self.output(merge_heads(heads))


# %% [markdown] id="block-intro"
# The block is the pre-norm block of exercise 02.6. GPT-2 computes GELU by an approximation; the difference is below 0.001 <!-- claim: (F.gelu(torch.linspace(-5, 5, 999)) - F.gelu(torch.linspace(-5, 5, 999), approximate="tanh")).abs().max().item() < 1e-3 -->, but a parity test sees it.


# %% id="block"
class GeluFeedForward(nn.Module):
    """Each position alone: (B, T, D) to (B, T, D), with d_ff numbers in between."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.up, self.down = nn.Linear(config.d_model, config.d_ff), nn.Linear(config.d_ff, config.d_model)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class GPTBlock(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy and adds to the sum: (B, T, D) to (B, T, D)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.attention = CausalSelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.feed_forward = GeluFeedForward(config)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))


# %% [markdown] id="model-intro"
# Now the whole model. The last line is the head: each state is compared with the vector of every token, by the table that was used in front. This is **weight tying**. BERT's pretraining head did the same, with a small layer and a bias more.


# %% id="model"
class GPT2(nn.Module):
    """Token ids (B, T) to logits (B, T, V): at each position, scores of what may come next."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        self.layers = nn.ModuleList(GPTBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)

    def forward(self, input_ids):
        x = self.token_embedding(input_ids) + self.position_embedding.weight[: input_ids.shape[1]]  # (B, T, D)
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), self.token_embedding.weight)  # (B, T, D) @ (D, V)


# %% [markdown] id="reach-intro"
# What does the mask do? We change one token at a time and look at which positions the logits change. **Guess first:** what does the picture look like with the mask, and what without?


# %% id="reach"
def reach(model: GPT2, T: int = 8) -> torch.Tensor:
    """Do the logits at a position (row) change with a token (column)? Booleans (T, T)."""
    token_ids = torch.arange(T)[None]  # (1, T)
    changed = token_ids.repeat(T, 1).fill_diagonal_(T)  # row t: token t is another one
    with torch.inference_mode():
        difference = (model(changed) - model(token_ids)).abs().amax(-1)  # (T changed, T positions)
    return (difference > 1e-6).T


def set_causal(model: GPT2, is_causal: bool) -> None:
    """Turn the mask of every layer on or off."""
    for layer in model.layers:
        layer.attention.is_causal = is_causal


# %% id="reach-plot"
tiny = GPTConfig.gpt2(vocab_size=16, d_model=32, num_layers=2, num_heads=4, context_length=16)
model = GPT2(tiny)
reached = {}
for ax, is_causal in zip(viz.new_axes((10, 3.8), num_columns=2), [False, True], strict=True):
    set_causal(model, is_causal)
    reached[is_causal] = reach(model)
    viz.heatmap(
        reached[is_causal].int(),
        xlabel="token that changes",
        ylabel="position whose logits are read",
        title="GPT: the past alone" if is_causal else "No mask: everything",
        texts=[["✓" if seen else "" for seen in row] for row in reached[is_causal].tolist()],
        ax=ax,
    )
    ax.images[0].set_clim(0, 1)
    ax.images[0].colorbar.remove()  # yes or no needs no scale
    for tick in ax.texts:
        tick.set_color("white")
lower_triangle = torch.ones(8, 8, dtype=torch.bool).tril()
print("with the mask, exactly the lower triangle:", torch.equal(reached[True], lower_triangle))

# %% [markdown] id="reach-notice"
# With the mask it is exactly the lower triangle: position 3 depends on tokens 0 to 3, through however many layers. So one pass over a text answers all its questions, as if each beginning had been read alone. That makes training cheap.

# %% [markdown] id="init-intro"
# ## 3. What to begin with
#
# PyTorch's own starting values do not suit this model. Its embeddings have width (standard deviation) 1, so a logit, a sum of `D` products, would start with a width of about $\sqrt{D}$. GPT-2 draws its matrices from a normal distribution of width 0.02 and sets biases to 0. (Its first code gave positions 0.01, which `transformers` and we leave out.)
#
# One thing more. In a pre-norm model each part *adds* to the sum that runs through, the **residual path**. If `n` independent terms have width $s$, their sum has width $s\sqrt{n}$. A model of `num_layers` blocks adds $2 \cdot$ `num_layers` terms. So GPT-2 makes the matrices that write to the path, the last ones of
# attention and of feed-forward, smaller by $1 / \sqrt{2 \cdot \texttt{num\_layers}}$.
#
# ### Exercise 06.2
# Initialise a model so, in place. `config.init_std` is the 0.02. Norms keep what they have: weights 1 and biases 0.

# %% id="ex2" exercise="06.2"

# %% [markdown] id="growth-intro"
# Does it do what the rule says? We measure the width of the residual path after each block of a fresh model, with the smaller matrices and without. **Guess first:** how many times wider is it after 48 blocks than after 12?


# %% id="growth"
def path_widths(num_layers: int, is_scaled: bool) -> list[float]:
    """The standard deviation of the residual path in front of the blocks of a fresh model, and after each."""
    config = GPTConfig.gpt2(vocab_size=64, d_model=192, num_layers=num_layers, num_heads=6, context_length=64)
    torch.manual_seed(seed)
    model = GPT2(config)
    init_weights(model, config)
    x = model.token_embedding.weight + model.position_embedding.weight  # (T, D): 64 tokens, one after the other
    widths, x = [x.std().item()], x[None]
    for layer in model.layers:
        if not is_scaled:
            for matrix in (layer.attention.output.weight, layer.feed_forward.down.weight):
                matrix.mul_(math.sqrt(2 * num_layers))
        x = layer(x)
        widths.append(x.std().item())
    return widths


with torch.no_grad():
    widths = {
        f"{depth} layers, {'scaled' if is_scaled else 'all alike'}": path_widths(depth, is_scaled)
        for is_scaled in (False, True)
        for depth in depths
    }

# %% id="growth-plot"
viz.lines(
    widths,
    xlabel="blocks passed",
    ylabel="width of the residual path (std)",
    title="Scaled starts end at one width, whatever the depth",
)
ends = [width[-1] for width in widths.values()]
growth_alike, growth_scaled = ends[1] / ends[0], ends[3] / ends[2]
print(f"four times as many layers: {growth_alike:.1f} times as wide, scaled {growth_scaled:.1f} times")

# %% [markdown] id="growth-notice"
# Without the rule the path grows with the root of the depth: four times the layers make it about 1.9 <!-- claim: growth_alike ~= 1.9 ± 0.2 --> times as wide, where the rule says 2. With it, both depths end at the same width (ratio 1.0 <!-- claim: growth_scaled ~= 1.0 ± 0.1 -->). The norm at the end hides the width from the logits. But on a wide path the embeddings are drowned, and what a later part adds is small beside what is there already.
#
# Now a whole fresh model. It has learned nothing. **Guess first:** which token does it think comes next?

# %% id="fresh"
fresh_config = GPTConfig.gpt2(vocab_size=5_000, d_model=192, num_layers=12, num_heads=6, context_length=128)
fresh = GPT2(fresh_config)
init_weights(fresh, fresh_config)
random_ids = torch.randint(0, 5_000, (8, 128))
with torch.inference_mode():
    logits = fresh(random_ids)
fresh_loss = next_token_loss(logits, random_ids).item()
repeats = (logits.argmax(-1) == random_ids).float().mean().item()
print(f"loss {fresh_loss:.2f}, and ln V is {math.log(5_000):.2f}; the favourite is the token just read: {repeats:.0%}")

# %% [markdown] id="fresh-notice"
# In 65% <!-- claim: repeats ~= 0.65 ± 0.1 --> of cases, out of 5,000 tokens, its favourite is the one it has just read. That follows from tying: the token's vector travels along the residual path, and at the end it is compared with all vectors of the same table. It is most like itself. The preference is faint: the loss, 8.6 <!-- claim: fresh_loss ~= 8.6 ± 0.1 -->, is close to knowing nothing.
#
# Why tie at all? One table less to learn and to store: in GPT-2's smallest model the table is 31% <!-- claim: 50_257 * 768 / 124_439_808 ~= 0.31 ± 0.005 --> of all parameters (section 6), and a head of its own would add as many again.

# %% [markdown] id="cheat-intro"
# ## 4. Why hide the answer?
#
# An experiment that cannot go well: we train on *random* tokens, 16 kinds, where nothing can be predicted. The best possible loss is $\ln 16 = 2.77$. Two models, the same but for the mask. **Guess first:** what will each of them reach?


# %% id="cheat"
def train_on_noise(is_causal: bool) -> tuple[GPT2, list[float]]:
    """A small GPT and its loss at each step, in nats per token."""
    torch.manual_seed(seed)
    model = GPT2(tiny)
    init_weights(model, tiny)
    set_causal(model, is_causal)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(num_steps):
        token_ids = torch.randint(0, 16, (32, 12))  # (B, T), new ones at each step
        loss = next_token_loss(model(token_ids), token_ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


set_threads(1)  # these matrices are too small to be worth sharing between cores
noise_losses = {}
_, noise_losses["causal mask"] = train_on_noise(is_causal=True)
cheater, noise_losses["no mask"] = train_on_noise(is_causal=False)
set_threads(2)

# %% id="cheat-plot"
viz.lines(
    noise_losses,
    xlabel="optimizer steps",
    ylabel="loss (nats per token)",
    title="Without a mask, the unpredictable is predicted",
    baseline={"guessing": math.log(16)},
)
test_ids = torch.randint(0, 16, (64, 12))
set_causal(cheater, True)
with torch.inference_mode():
    unmasked_later = next_token_loss(cheater(test_ids), test_ids).item()
honest, cheated = noise_losses["causal mask"][-1], noise_losses["no mask"][-1]
print(f"the model without a mask, when the future is hidden after all: {unmasked_later:.1f} nats per token")

# %% [markdown] id="cheat-notice"
# The causal model stays at guessing, 2.8 <!-- claim: honest ~= 2.8 ± 0.1 -->, as it must. The other falls to 0.0 <!-- claim: cheated ~= 0.0 ± 0.1; smoke: < 3 -->: it learned to copy its neighbour on the right, which is the answer. In use there is no neighbour on the right. Hide it, and the same model pays over 4 <!-- claim: unmasked_later > 4; smoke: skip --> nats per token, far more than guessing: it is sure, and wrong.
#
# So a loss that is too good to be true points at the mask or the shift. The same happens to a mask that is transposed, and to targets that are not shifted.

# %% [markdown] id="parity-intro"
# ## 5. Is it GPT-2?
#
# The judge is a `GPT2LMHeadModel` of `transformers`, saved as a file like any other. Its biases and norms get random numbers too, so that nothing is right only because it is 0 or 1.


# %% id="reference"
def random_gpt2(folder):
    """A small GPT-2 of transformers with random numbers everywhere, saved in `folder`."""
    sizes = {"vocab_size": 301, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 40}
    torch.manual_seed(seed)
    reference = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    for parameter in reference.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    reference.save_pretrained(folder)
    return folder


is_random = reference_model == "random"
gpt2_folder = random_gpt2(scratch("06", "gpt2")) if is_random else model_path(reference_model)
reference = transformers.GPT2LMHeadModel.from_pretrained(gpt2_folder, dtype=torch.float32).eval()
gpt2_config, _ = read_config(gpt2_folder)
ours = GPT2(gpt2_config)
ids = torch.randint(0, gpt2_config.vocab_size, (2, 30))  # (B, T)

# %% [markdown] id="names-intro"
# The file has other names. Nine replacements, and one for the last norm, are the whole translation. The table shows the weights in front of the layers, of layer 0, and behind:

# %% id="names"
file = load_file(gpt2_folder / "model.safetensors")
file = {name.removeprefix("transformer."): tensor for name, tensor in file.items()}
REPLACEMENTS = {
    "token_embedding": "wte",
    "position_embedding": "wpe",
    "layers.": "h.",
    "attention_norm": "ln_1",
    "feed_forward_norm": "ln_2",
    "attention.qkv": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def gpt2_name(name: str) -> str:
    """The name in GPT-2's file of one of our parameters; the last norm is `ln_f`."""
    for mine, theirs in REPLACEMENTS.items():
        name = name.replace(mine, theirs)
    return name.replace("norm", "ln_f")


for name, parameter in ours.named_parameters():
    if name.endswith("weight") and not name.startswith(tuple(f"layers.{i}." for i in range(1, gpt2_config.num_layers))):
        their_shape = tuple(file[gpt2_name(name)].shape)
        note = "" if their_shape == tuple(parameter.shape) else "  <- transposed"
        print(f"{name:34} {str(tuple(parameter.shape)):11} {gpt2_name(name):22} {str(their_shape)}{note}")

# %% [markdown] id="names-notice"
# The shapes tell of one more difference. GPT-2 was written in TensorFlow, where a layer computes `x @ W`; `nn.Linear` computes `x @ W.T`. So the matrices of the blocks lie in the file as inputs by outputs (transformers calls such a layer `Conv1D`), and we must transpose them. The tables are no such layers and stay as they are.
#
# Look at `attention.output`: it is transposed too, but it is square, so its shape does not show it. We load once by shape, and once by the rule.


# %% id="load"
def load_gpt2(model: GPT2, file: dict, is_turned) -> None:
    """Pour the file in; `is_turned(name, theirs, ours)` says which of its tensors to transpose."""
    state = {}
    for name, parameter in model.named_parameters():
        theirs = file[gpt2_name(name)]
        state[name] = theirs.T if is_turned(name, theirs, parameter) else theirs
    model.load_state_dict(state)


def logit_difference(model) -> float:
    """The largest, from the reference's logits for `ids`."""
    with torch.inference_mode():
        return (model(ids) - reference(ids).logits).abs().max().item()


load_gpt2(ours, file, lambda name, theirs, parameter: theirs.shape != parameter.shape)
by_shape = logit_difference(ours)
load_gpt2(ours, file, lambda name, theirs, parameter: theirs.dim() == 2 and name.startswith("layers."))
by_rule = logit_difference(ours)
print(f"transposed where the shape demands it: equal: {by_shape < 1e-3}, off by up to {by_shape:.1f}")
print(f"transposed by the rule:                equal: {by_rule < 1e-3}")

# %% [markdown] id="load-notice"
# No error either way, and logits off by more than 1 <!-- claim: by_shape > 1 --> in the first. By the rule they agree to 0.0001 <!-- claim: by_rule < 1e-4; gpu: < 1e-2 -->.
#
# Equal outputs do not yet prove equal training. `transformers` computes the loss itself when given `labels`, and does the shift too, so this compares your loss with theirs, and the gradient of every parameter.

# %% id="gradients"
our_loss, their_loss = next_token_loss(ours(ids), ids), reference(ids, labels=ids).loss
our_loss.backward()
their_loss.backward()
their_grads = {name.removeprefix("transformer."): p.grad for name, p in reference.named_parameters()}
gradient_difference = 0.0
for name, parameter in ours.named_parameters():
    theirs = their_grads[gpt2_name(name)]
    theirs = theirs.T if theirs.dim() == 2 and name.startswith("layers.") else theirs
    gradient_difference = max(gradient_difference, (parameter.grad - theirs).abs().max().item())
loss_difference = abs(our_loss.item() - their_loss.item())
print("losses equal:", loss_difference < 1e-3, "| gradients of all parameters equal:", gradient_difference < 1e-3)

# %% [markdown] id="gradients-notice"
# Losses agree to 0.0001 <!-- claim: loss_difference < 1e-4; gpu: < 1e-3 -->, and so do all gradients (largest difference below 0.0001 <!-- claim: gradient_difference < 1e-4; gpu: < 1e-2 -->). The token table's is among them; it collects from both ends. The course's own class reads such a file by itself. It also checks what it is given:

# %% id="library"
library = GPT.from_pretrained(gpt2_folder)
library_difference = logit_difference(library)
print("GPT.from_pretrained equal:", library_difference < 1e-3)
with expect_error(ValueError):
    library(torch.full((1, 5), gpt2_config.vocab_size))

# %% [markdown] id="count-intro"
# ## 6. From 117 million to 175 billion
#
# The same page of code makes GPT-1, GPT-2 and GPT-3; only sizes change. (GPT-1 still has BERT's post-norm blocks. GPT-3 lets every second layer look at a band of the past only, which costs no parameters.) So one formula must give all published numbers.
#
# ### Exercise 06.3
# Write it for a GPT-2 of any size.

# %% id="ex3" exercise="06.3"

# %% [markdown] id="count-intro-2"
# The sizes as published: layers, width, heads, and millions of parameters. GPT-1's last block ends with a norm, so the norm behind it is missing, and we take it off.

# %% id="count"
GPT1 = {"vocab_size": 40_478, "context_length": 512}
GPT3 = {"context_length": 2048}
PUBLISHED = [  # name, layers, width, heads, what else differs from GPT-2, published (millions)
    ("GPT-1", 12, 768, 12, GPT1, 117),
    ("GPT-2 small", 12, 768, 12, {}, 117),
    ("GPT-2 medium", 24, 1024, 16, {}, 345),
    ("GPT-2 large", 36, 1280, 20, {}, 762),
    ("GPT-2 XL", 48, 1600, 25, {}, 1_542),
    ("GPT-3 small", 12, 768, 12, GPT3, 125),
    ("GPT-3 medium", 24, 1024, 16, GPT3, 350),
    ("GPT-3 large", 24, 1536, 16, GPT3, 760),
    ("GPT-3 XL", 24, 2048, 16, GPT3, 1_300),
    ("GPT-3 2.7B", 32, 2560, 32, GPT3, 2_700),
    ("GPT-3 6.7B", 32, 4096, 32, GPT3, 6_700),
    ("GPT-3 13B", 40, 5120, 40, GPT3, 13_000),
    ("GPT-3", 96, 12_288, 96, GPT3, 175_000),
]
counted = {}
for name, num_layers, d_model, num_heads, others, published in PUBLISHED:
    config = GPTConfig.gpt2(num_layers=num_layers, d_model=d_model, num_heads=num_heads, **others)
    counted[name] = num_parameters(config) - (2 * d_model if name == "GPT-1" else 0)
    difference = counted[name] / 1e6 / published - 1
    print(f"{name:13} {counted[name]:>15,}   published {published:>7,} million   {difference:+.1%}")
worst = max(abs(counted[name] / 1e6 / published - 1) for name, *_, published in PUBLISHED if "GPT-2" not in name)

# %% [markdown] id="count-notice"
# GPT-1 and GPT-3 agree with their papers to 2% <!-- claim: 100 * worst < 2 -->, and papers round: 116,534,784 <!-- claim: counted["GPT-1"] == 116534784 --> for GPT-1, 174.6 <!-- claim: counted["GPT-3"] / 1e9 ~= 174.6 ± 0.05 --> billion for the largest. (Two rows of GPT-3's table cannot be built as printed: 24 heads of width 128 for a width of 2,048, and a width of 5,140 for 40 heads. We take 16 heads, and 5,120.)
#
# GPT-2 does not. Its paper says 117, 345, 762 and 1,542 million, and the released weights hold 124, 355, 774 and 1,558, which is what we count: 124,439,808 <!-- claim: counted["GPT-2 small"] == 124439808 --> for the smallest. The files are right. OpenAI's own release says that the paper's counts were wrong, without saying how. Here is a guess of ours that you can test. Divide what is missing by the width: how many rows of a table is that?

# %% id="mystery"
gpt2_rows = [row for row in PUBLISHED if row[0].startswith("GPT-2")]
num_matches = 0
for name, num_layers, d_model, num_heads, _, published in gpt2_rows:
    missing_rows = (counted[name] - 1e6 * published) / d_model
    sizes = {"num_layers": num_layers, "d_model": d_model, "num_heads": num_heads, "vocab_size": 40_478}
    guess = num_parameters(GPTConfig.gpt2(**sizes)) / 1e6
    num_matches += round(guess) == published
    old = f"with GPT-1's vocabulary {guess:7,.1f} million, published {published:5,}"
    print(f"{name:13} {missing_rows:,.0f} rows short; {old}")

# %% [markdown] id="mystery-notice"
# Between 9,000 and 10,000 rows each time. GPT-2's vocabulary has 50,257 tokens and GPT-1's had 40,478, which is 9,779 fewer. Counted with the *old* vocabulary, 4 <!-- claim: num_matches == 4 --> of 4 come out as printed, to the million. We know of nobody who confirmed it, but four matches are hard to get by luck. A parameter count in a paper is a number that somebody typed. Count it yourself.
#
# And where do the parameters sit as models grow? **Guess first:** which share do the embeddings have in the largest GPT-3? In the smallest it is a third.

# %% id="shares"
shares = {"embeddings": [], "attention": [], "feed-forward": []}
gpt3_rows = [row for row in PUBLISHED if row[0].startswith("GPT-3")]
for name, num_layers, d_model, *_ in gpt3_rows:
    tables = (50_257 + 2048) * d_model
    matrices = num_layers * 4 * d_model**2
    for part, number in zip(shares, (tables, matrices, 2 * matrices), strict=True):
        shares[part].append(100 * number / counted[name])
ax = viz.lines(
    shares,
    x=[counted[row[0]] / 1e9 for row in gpt3_rows],
    xlabel="parameters (billions, logarithmic)",
    ylabel="share of all parameters (%)",
    title="Large models are all blocks, two thirds feed-forward",
)
ax.set_xscale("log")
ax.legend(frameon=False, loc=(0.68, 0.58))
smallest_share, largest_share = shares["embeddings"][0], shares["embeddings"][-1]
print(f"embeddings: {smallest_share:.0f}% of the smallest, {largest_share:.1f}% of the largest")

# %% [markdown] id="shares-notice"
# Tables grow with the width, blocks with its square times the depth. So the embeddings fall from 32% <!-- claim: smallest_share ~= 32 ± 0.5 --> to 0.4% <!-- claim: largest_share ~= 0.4 ± 0.05 -->, and tying, which matters for a small model, saves a large one next to nothing; many large models untie. What is left is the rule of thumb $12 \cdot \texttt{num\_layers} \cdot D^2$, one third attention and two thirds feed-forward.

# %% [markdown] id="changes-intro"
# ## 7. Four changes, one at a time
#
# Open a model of today and you find GPT-2 with four parts exchanged (and without biases). We take them one by one. Each is small.
#
# ### RMSNorm
#
# LayerNorm subtracts the mean and divides by the standard deviation. RMSNorm leaves the mean alone: it divides by the root of the mean square, and keeps a learned weight per entry. One step less, one parameter less per entry.
#
# ### Exercise 06.4
# Write it. `eps` belongs under the root.

# %% id="ex4" exercise="06.4"

# %% [markdown] id="rms-look-intro"
# Two judges: PyTorch's own, and LayerNorm on a vector whose mean is 0 already.

# %% id="rms-look"
x, weight = torch.randn(5, 64) + 1, torch.randn(64)
rms_difference = (rms_norm(x, weight, 1e-5) - F.rms_norm(x, (64,), weight, 1e-5)).abs().max().item()
centred = x - x.mean(-1, keepdim=True)
layer_norm = F.layer_norm(x, (64,), weight, None, 1e-5)
on_centred = (rms_norm(centred, weight, 1e-5) - layer_norm).abs().max().item()
on_raw = (rms_norm(x, weight, 1e-5) - layer_norm).abs().max().item()
print(f"equals F.rms_norm: {rms_difference < 1e-5}; LayerNorm is RMSNorm of the centred vector: {on_centred < 1e-5}")
print(f"on a vector with mean 1 the two differ by up to {on_raw:.1f}")

# %% [markdown] id="rms-notice"
# Both equalities hold to 0.00001 <!-- claim: max(rms_difference, on_centred) < 1e-5 -->, so the mean is all that is between the two. Is it needed? Section 8 asks a trained model.
#
# ### Rotary positions
#
# GPT-2 learns one vector for each of 1,024 positions, and none for position 1,025. Lesson 02 showed another way: turn queries and keys by an angle that grows with the position, so that a score depends on the *distance*. Values are not turned: they are what is handed over, and should not depend on the place.
#
# In lesson 02 neighbours formed a pair. Llama's released weights pair entry $i$ with entry $i + K/2$. It is the same rotation with entries in another order, but a file was trained with one of them. Pair $i$ turns by $\text{position} / \theta^{2i/K}$; the base $\theta$ is one of the sizes.
#
# ### Exercise 06.5
# Write the rotation in halves.

# %% id="ex5" exercise="06.5"

# %% [markdown] id="rotary-look-intro"
# Is it lesson 02's rotation in another order? We put the entries of each pair side by side, turn them as in lesson 02, and compare.

# %% id="rotary-look"
positions = torch.arange(6)
x = torch.randn(2, 6, 64)  # (B, T, K)


def side_by_side(x):
    """Entries i and i + K/2 become neighbours: (..., K) to (..., K)."""
    return x.unflatten(-1, (2, -1)).mT.flatten(-2)  # (..., 2, K / 2) -> (..., K / 2, 2) -> (..., K)


turned = rotate_halves(x, positions, 10_000)
same_rotation = (side_by_side(turned) - attention.rotate(side_by_side(x), positions)).abs().max().item()
length_change = (turned.norm(dim=-1) / x.norm(dim=-1) - 1).abs().max().item()
print("the rotation of lesson 02, reordered:", same_rotation < 1e-5, "| lengths kept:", length_change < 1e-5)

# %% [markdown] id="rotary-plot-intro"
# And the promise: a query and a key of only ones, at two places far apart, over growing distances. The two curves for $\theta = 10{,}000$ should lie on top of each other. **Guess first:** what does a larger $\theta$ do?


# %% id="rotary-plot"
def score_by_distance(place: int, theta: float, distances: torch.Tensor) -> torch.Tensor:
    """The score of a query at `place` with keys that stand `distances` before it, divided by its largest value."""
    ones = torch.ones(len(distances), 64)
    query = rotate_halves(ones[:1], torch.tensor([place]), theta)  # (1, K)
    keys = rotate_halves(ones, place - distances, theta)  # (S, K)
    return (query @ keys.T)[0] / 64


distances = torch.arange(0, 301)
scores = {
    "θ = 10,000, query at 400": score_by_distance(400, 10_000, distances),
    "θ = 10,000, query at 4,000": score_by_distance(4_000, 10_000, distances),
    "θ = 100,000, query at 400": score_by_distance(400, 100_000, distances),
}
viz.lines(
    scores,
    x=distances,
    xlabel="distance between query and key (tokens)",
    ylabel="score (1 at distance 0)",
    title="Rotary scores know the distance, not the place",
)
first, second, slower = scores.values()
place_difference = (first - second).abs().max().item()
mean_gain = (slower.mean() / first.mean()).item()

# %% [markdown] id="rotary-notice"
# The curves for the two places agree to 0.001 <!-- claim: place_difference < 1e-3 -->. They fall with the distance, with waves on the way, because fast and slow pairs get out of step. With a larger base the pairs turn more slowly and the score falls later: over these distances it is 1.3 <!-- claim: mean_gain ~= 1.3 ± 0.05 --> times as high on average. Models with a long context take a larger base for that reason. No parameters, and no last position (although a model gets worse at distances that it never saw in training).
#
# ### SwiGLU
#
# GPT-2's feed-forward layer bends each of its `d_ff` numbers by a fixed curve. SwiGLU lets a second matrix decide: `gate` opens and closes what `up` computes, through the curve SiLU, which is $x$ times the sigmoid of $x$.


# %% id="swiglu"
class SwiGluFeedForward(nn.Module):
    """A gate opens and closes the entries of another layer: (B, T, D) to (B, T, D)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


# %% [markdown] id="swiglu-look-intro"
# One entry by hand: `up` says 2, and the gate takes five values. And the price: three matrices where GPT-2 has two, so `d_ff` becomes two thirds of $4D$.

# %% id="swiglu-look"
gates = torch.tensor([-6.0, -1.0, 0.0, 1.0, 6.0])
print({gate: round(y, 2) for gate, y in zip(gates.tolist(), (F.silu(gates) * 2.0).tolist(), strict=True)})
D = 768
two_matrices, three_matrices = 2 * D * (4 * D), 3 * D * (4 * D * 2 // 3)
print(f"GELU, d_ff = {4 * D:,}: {two_matrices:,} weights; SwiGLU, d_ff = {4 * D * 2 // 3:,}: {three_matrices:,}")

# %% [markdown] id="swiglu-notice"
# At -6 the gate is shut, at 6 it multiplies. Both layers hold 4,718,592 <!-- claim: two_matrices == 4718592 --> weights. Why is the gated one better? The paper that compared such layers measured that it is, and offers no explanation; neither do we.
#
# ### Grouped-query attention
#
# A model that writes reads its text again for each new token, unless it keeps the keys and values of earlier positions. That store, the **key/value cache**, is the subject of lesson 08. It is large. So several query heads share one head of keys and values: `num_kv_heads` of them, which letter `G` stands for. Query heads 0 to `H/G - 1` share the first.
#
# ### Exercise 06.6
# Write causal attention for it, mask and all.

# %% id="ex6" exercise="06.6"

# %% [markdown] id="cache-intro"
# What does sharing save? For each position, layer and shared head the cache holds one key and one value of `K` numbers. The chat model has 9 query heads over 3 of keys and values, and a context of 8,192.

# %% id="cache"
chat_config, chat_layout = read_config(chat_folder)


def cache_megabytes(config: GPTConfig, num_kv_heads: int, num_positions: int) -> float:
    """Keys and values of all layers in float32, 4 bytes a number."""
    return 2 * config.num_layers * num_kv_heads * config.d_head * num_positions * 4 / 1e6


megabytes = {f"{G} of 9" if G > 1 else "1 for all 9": cache_megabytes(chat_config, G, 8192) for G in (9, 3, 1)}
weights_mb = 4 * 134_515_008 / 1e6
viz.bars(
    megabytes,
    ylabel="cache of one full context (MB)",
    value_format="{:,.0f}",
    title="Shared heads: a smaller cache",
    baseline={"weights": weights_mb},
)
in_library = KeyValueCache(chat_config, 1, 8192).num_bytes / 1e6
cache_full, cache_grouped = megabytes["9 of 9"], megabytes["3 of 9"]

# %% [markdown] id="cache-notice"
# With a head for each query head, one full context would take 1,132 <!-- claim: cache_full ~= 1132 ± 1 --> MB, twice as much as all weights. Three shared heads make it 377 <!-- claim: cache_grouped ~= 377 ± 1 -->, and the course's own cache takes just that: 377 <!-- claim: in_library ~= 377 ± 1 -->. For a server with many conversations at once, the factor of three decides how many fit.
#
# All four changes, each alone in GPT-2's smallest, and together. The course's `GPT` takes them one by one.

# %% id="changes"
changes = {
    "GPT-2": {},
    "RMSNorm": {"norm": "rms"},
    "rotary": {"positions": "rotary"},
    "SwiGLU": {"feed_forward": "swiglu"},
    "4 of 12 kv heads": {"num_kv_heads": 4},
}
together = {name: value for change in changes.values() for name, value in change.items()}
changes["all, no biases"] = together | {"has_bias": False}
sizes = {}
for name, change in changes.items():
    config = GPTConfig.gpt2(**change)
    with torch.device("meta"):  # shapes without numbers
        sizes[name] = sum(parameter.numel() for parameter in GPT(config).parameters())
    kilobytes = 1000 * cache_megabytes(config, config.num_kv_heads, num_positions=1)
    more = sizes[name] - sizes["GPT-2"]
    print(f"{name:17} {sizes[name]:>12,} parameters ({more:>+11,}), {kilobytes:.0f} kB of cache per token")
gqa_saving = (sizes["GPT-2"] - sizes["4 of 12 kv heads"]) / sizes["GPT-2"]

# %% [markdown] id="changes-notice"
# Size hardly moves, but for the shared heads, which drop two thirds of the key and value matrices (8% <!-- claim: gqa_saving ~= 0.08 ± 0.005 --> of all). What the changes do for *quality* takes training to see, and was not shown here; the papers in the references measured it.

# %% [markdown] id="modern-intro"
# ## 8. Real weights
#
# Now put the four together. Compare with section 2 line by line: positions go to attention instead of to a table, and no layer has a bias. Block and model, in the second cell, are the old ones with other parts.


# %% id="modern-attention"
class RMSNorm(nn.Module):
    """(B, T, D) to (B, T, D)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(config.d_model)), config.norm_eps

    def forward(self, x):
        return rms_norm(x, self.weight, self.eps)


class GroupedSelfAttention(nn.Module):
    """Causal attention with rotary positions and shared keys and values: (B, T, D) to (B, T, D)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.heads, self.theta = [config.num_heads, config.num_kv_heads, config.num_kv_heads], config.rope_theta
        self.qkv = nn.Linear(config.d_model, sum(self.heads) * config.d_head, bias=False)
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x, positions):
        q, k, v = split_heads(self.qkv(x), sum(self.heads)).split(self.heads, dim=1)  # (B, H or G, T, K)
        q, k = (rotate_halves(part, positions, self.theta) for part in (q, k))
        return self.output(merge_heads(grouped_attention(q, k, v)))


# %% id="modern-model"
class ModernBlock(nn.Module):
    """Attention, then feed-forward, pre-norm: (B, T, D) to (B, T, D)."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(config), GroupedSelfAttention(config)
        self.feed_forward_norm, self.feed_forward = RMSNorm(config), SwiGluFeedForward(config)

    def forward(self, x, positions):
        x = x + self.attention(self.attention_norm(x), positions)
        return x + self.feed_forward(self.feed_forward_norm(x))


class ModernGPT(nn.Module):
    """Token ids (B, T) to logits (B, T, V); no position table."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(ModernBlock(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config)

    def forward(self, input_ids):
        x, positions = self.token_embedding(input_ids), torch.arange(input_ids.shape[1])  # (B, T, D), (T,)
        for layer in self.layers:
            x = layer(x, positions)
        return F.linear(self.norm(x), self.token_embedding.weight)


# %% [markdown] id="modern-load-intro"
# The file comes from the chat model. `their_names` gives the names in it of one of our tensors: three for `qkv`, which we put below each other as in exercise 03.3, queries first. These matrices were trained in PyTorch, so nothing is transposed.

# %% id="modern-load"
with torch.device("meta"):  # shapes without numbers, which would be replaced at once
    modern = ModernGPT(chat_config)
file = load_file(chat_folder / "model.safetensors")
state = {
    name: torch.cat([file[f"model.{theirs}"] for theirs in their_names(name, chat_layout)])
    for name in modern.state_dict()
}
print(modern.load_state_dict(state, assign=True))
num_modern = sum(parameter.numel() for parameter in modern.parameters())
print(f"{num_modern:,} parameters; d_ff is {chat_config.d_ff:,} for a width of {chat_config.d_model}")
print("layers.0.attention.qkv.weight is", " + ".join(their_names("layers.0.attention.qkv.weight", chat_layout)))
del file, state

# %% [markdown] id="modern-equal-intro"
# 134,515,008 <!-- claim: num_modern == 134515008 --> parameters, nothing missing, nothing left over. The judge is `LlamaForCausalLM` on the same file. **Guess first:** how large will the largest difference be, after thirty layers?

# %% id="modern-equal"
text = (
    "The river rises in the hills, a few miles from the sea, but it flows the other way. It passes three villages and "
    "a mill that has not turned for a hundred years. In spring, when the snow melts, the water covers the road, and "
    "the children of the last village cannot go to school."
)
river_ids = tokenizer(text, return_tensors="pt").input_ids  # (1, T)
beginning = river_ids[:, :24]
with torch.inference_mode():
    our_logits = modern(beginning)  # (1, 24, V)
    judge = transformers.LlamaForCausalLM.from_pretrained(chat_folder, dtype=torch.float32).eval()
    their_logits = judge(beginning).logits
del judge  # 538 MB
modern_difference, largest_logit = (our_logits - their_logits).abs().max().item(), our_logits.abs().max().item()
print(f"{our_logits.numel():,} logits equal: {modern_difference < 1e-4}; the largest is {largest_logit:.0f}")

# %% [markdown] id="modern-equal-notice"
# All of them agree to 0.0001 <!-- claim: modern_difference < 1e-4 -->. That is rounding: numbers of 32 bits carry about seven digits, and the largest logits are near 30. Every number that this model computes goes through lines that you wrote or read on this page.
#
# Was comparing worth it? Here are six mistakes in an otherwise perfect model, each for one pass over the whole text; `patch.dict` exchanges one function of this notebook. **Guess first:** which mistakes would you not notice in what the model writes?


# %% id="bugs"
right_attention, right_rotation = grouped_attention, rotate_halves


def values_turned(q, k, v):
    return right_attention(q, k, rotate_halves(v, torch.arange(v.shape[2]), chat_config.rope_theta))


bugs = {
    "none": {},
    "mean\nsubtracted": {"rms_norm": lambda x, w, eps: F.layer_norm(x, x.shape[-1:], w, None, eps)},
    "θ = 10,000": {"rotate_halves": lambda x, positions, theta: right_rotation(x, positions, 10_000)},
    "neighbours\npaired": {
        "rotate_halves": lambda x, *places: right_rotation(x.unflatten(-1, (-1, 2)).mT.flatten(-2), *places)
    },
    "values\nturned": {"grouped_attention": values_turned},
    "kv heads\nin turn": {
        "grouped_attention": lambda q, k, v: right_attention(q, k.repeat(1, 3, 1, 1), v.repeat(1, 3, 1, 1))
    },
    "no mask": {"grouped_attention": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)},
}

# %% id="bugs-plot"
bug_loss = {}
for bug, replaced in bugs.items():
    with patch.dict(globals(), replaced), torch.inference_mode():
        bug_loss[bug] = next_token_loss(modern(river_ids), river_ids).item()
viz.bars(
    bug_loss,
    ylabel="loss on the text (nats per token)",
    value_format="{:.2f}",
    title="Six bugs that do not crash",
    baseline={"guessing": math.log(V)},
    ax=viz.new_axes((9, 4)),
)
right_loss, mean_loss, theta_loss, paired_loss, turned_loss, dealt_loss, unmasked_loss = bug_loss.values()

# %% [markdown] id="bugs-notice"
# The right model pays 3.07 <!-- claim: right_loss ~= 3.07 ± 0.02 --> nats per token. Read the picture from left to right:
#
# * Subtracting the mean costs less than 0.1 <!-- claim: mean_loss - right_loss < 0.1 -->: little stood in the mean, so leaving it alone loses little. A wrong $\theta$ costs less than 0.2 <!-- claim: theta_loss - right_loss < 0.2 --> on a text this short. Nobody would notice either.
# * The wrong pairs, and turned values, cost less than 1 nat (at most 0.9 <!-- claim: max(paired_loss, turned_loss) - right_loss ~= 0.9 ± 0.05 -->). Such a model still writes English, only worse. Who has never seen it right will blame its size.
# * Shared heads dealt out in the wrong order give 13.6 <!-- claim: dealt_loss ~= 13.6 ± 0.3 -->: worse than guessing.
# * Without the mask the loss *falls*, to 1.3 <!-- claim: unmasked_loss ~= 1.3 ± 0.05 -->. This model was never trained to cheat, and yet seeing the answers helps it. A loss that improves proves nothing either.
#
# A parity test finds all six at once.
#
# **Your turn.** Take the first twelve tokens only, `river_ids = river_ids[:, :12]`, and run the cell with the plot again. Which three mistakes can you no longer see, and what do they have in common? (All three concern positions, and within twelve tokens no distance is large. Tests need inputs long enough for the mistake.)
#
# Last, what all this was for. The model reads a beginning and says what may come next.

# %% id="next"
prompt = "The capital of France is"
with torch.inference_mode():
    probabilities = modern(tokenizer(prompt, return_tensors="pt").input_ids)[0, -1].softmax(-1)  # (V,)
best = probabilities.topk(5)
viz.bars(
    {repr(tokenizer.decode(i)): 100 * p for p, i in zip(best.values.tolist(), best.indices, strict=True)},
    ylabel="probability (%)",
    value_format="{:.1f}%",
    title=f"{prompt} ...",
)
favourite_share = best.values[0].item()

# %% [markdown] id="next-notice"
# ` Paris` gets 77% <!-- claim: favourite_share ~= 0.77 ± 0.01 -->, and the rest goes to tokens that could also begin an answer. The numbers in the file hold this fact somewhere; nobody wrote it there. Lesson 07 trains a GPT from nothing, lesson 08 lets one write, and lesson 09 talks with this one.

# %% [markdown] id="summary"
# ## Summary
#
# * You built GPT-2: BERT without token types and pooler, norms in front, a causal mask, and the token table as its head. Without the mask a model predicted random tokens, by looking.
# * Matrices that write to the residual path start smaller by $1/\sqrt{2 \cdot \texttt{num\_layers}}$; the path's width was then the same at any depth.
# * One formula gave the sizes of GPT-1 and GPT-3 as published. For GPT-2 the files hold more than the paper says, and the difference is that of two vocabularies.
# * Your model equalled `GPT2LMHeadModel` in logits, loss and gradients, once the matrices were transposed; a square one does not show that it should be.
# * RMSNorm, rotary positions, SwiGLU and grouped-query attention are a few lines each. With all four, a real model of 135 million parameters ran in your code and equalled `LlamaForCausalLM`.
#
# The formula to keep: a GPT has about $12 \cdot \texttt{num\_layers} \cdot D^2 + V D$ parameters.

# %% [markdown] id="references"
# ## References
#
# * A. Radford et al., *Improving Language Understanding by Generative Pre-Training*, 2018 ([paper](https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf)), section 4.1: GPT-1.
# * A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019 ([paper](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf)), section 2.3 and table 2: GPT-2. [Its release](https://github.com/openai/gpt-2) corrects the counts in a note.
# * T. Brown et al., *Language Models are Few-Shot Learners*, 2020, [arXiv:2005.14165](https://arxiv.org/abs/2005.14165), section 2.1 and table 2.1: GPT-3.
# * O. Press and L. Wolf, *Using the Output Embedding to Improve Language Models*, 2017, [arXiv:1608.05859](https://arxiv.org/abs/1608.05859), section 3: weight tying.
# * B. Zhang and R. Sennrich, *Root Mean Square Layer Normalization*, 2019, [arXiv:1910.07467](https://arxiv.org/abs/1910.07467), section 4.
# * J. Su et al., *RoFormer*, 2021, [arXiv:2104.09864](https://arxiv.org/abs/2104.09864), section 3: rotary positions.
# * N. Shazeer, *GLU Variants Improve Transformer*, 2020, [arXiv:2002.05202](https://arxiv.org/abs/2002.05202), section 2.
# * J. Ainslie et al., *GQA*, 2023, [arXiv:2305.13245](https://arxiv.org/abs/2305.13245), section 2: shared heads of keys and values.
# * H. Touvron et al., *LLaMA*, 2023, [arXiv:2302.13971](https://arxiv.org/abs/2302.13971), section 2.2: the changes together.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
