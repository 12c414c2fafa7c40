# ---
# jupyter:
#   course:
#     title: Attention
#     question: What does a Transformer block compute?
#     minutes: 120
#     needs: CPU
#     prerequisites: ["00", "01"]
#     cell_timeout: 60
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 02 · Attention
#
# **What does a Transformer block compute?**
#
# Less than its reputation suggests: weighted averages, two matrix products around a curve, sums and a normalisation. In this lesson you write each of them, prove each equal to PyTorch's own, in
# values *and* gradients, and stack them to the two blocks that BERT, GPT and translation models are made of. On the way we look inside a trained BERT, whose heads do surprisingly tidy things.
#
# Afterwards you can
#
# * write attention from memory, and say why it divides by a square root;
# * make masks for padding and for the future, and know the ways to get them wrong;
# * read an attention map of a real model;
# * say what heads, positions, residuals and LayerNorm are for, with a measurement for each;
# * predict how time and memory grow with the length of a text.

# %% [markdown] id="imports-intro"
# `attention` is the course's own module. What you write below is what stands in it; later lessons import it from there.

# %% id="imports"
import copy
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer

from course_utils import viz
from course_utils.assets import model_path
from course_utils.exercises import exercise
from course_utils.models import attention
from course_utils.models.attention import merge_heads
from course_utils.models.bert import BertModel
from course_utils.models.sentence_encoder import mean_pool
from course_utils.runtime import expect_error, seed_everything, set_threads

# %% [markdown] id="parameters-intro"
# Sizes for a laptop. `num_blocks`, `learning_rate` and `num_steps` belong to the experiment of section 7 and are there to be changed.

# %% id="parameters" tags=["parameters"]
model_name = "minilm"  # the pretrained BERT to look into: 6 layers of 12 heads
lengths = [128, 256, 512, 1024, 2048]  # tokens, for the cost of section 8
num_timings = 3  # per length
num_blocks = 12
learning_rate = 3e-3
num_steps = 150  # optimizer steps
seed = 0

# %% [markdown] id="average-intro"
# ## 1. An average that chooses
#
# A word means what it means because of its neighbours: `bank` beside `river`, `bank` beside `money`. So each position must collect information from others, and *which* others must depend on what stands there.
#
# Attention does this with three vectors per position. A **query** says what this position is looking for, a **key** what it has to offer, a **value** what it hands over. All three are computed from what stands there, by matrices that are learned (section 4). The match of a query with a key is their dot product, the **score**. Softmax (each score's exponential, divided by the sum of all) turns scores into
# weights that add up to 1, and the result is the average of the values with these weights.
#
# **Work it out first.** One query, three keys; the dot products are $\ln 2$, 0 and 0; the values are 10, 20 and 40. Which average comes out?

# %% id="average"
query = torch.tensor([1.0, 0.0])  # (K,)
keys = torch.tensor([[math.log(2), 5.0], [0.0, -1.0], [0.0, 3.0]])  # (S, K)
values = torch.tensor([10.0, 20.0, 40.0])  # (S,)
weights = (keys @ query).softmax(-1)  # (S,)
average = (weights @ values).item()
print("weights:", weights.tolist())
print(f"average: {average:.0f}")

# %% [markdown] id="average-notice"
# Exponentials of the scores are 2, 1 and 1, so the weights are 1/2, 1/4 and 1/4, and the average is 20 <!-- claim: average ~= 20 ± 0.001 -->. The second entry of each key did not matter, because this query does not ask for it. Everything is smooth: a small change of the query changes
# weights and result a little, so gradients can *learn* what to ask for.

# %% [markdown] id="why-scale"
# ## 2. Why divide by the square root of the width?
#
# A score is a dot product of a query and a key: `K` products added up. If all entries are independent, with mean 0 and variance 1, then each product has variance 1, and the sum has variance `K`.
# So the wider queries and keys are, the larger are the scores. And softmax of large scores is nearly a one-hot vector: it picks one token, and hardly any gradient comes through.
#
# **Guess first:** for `K = 64`, how far apart do scores lie? Write your guess down, then run the cell.

# %% id="score-std"
seed_everything(seed)
set_threads(2)
K = 64  # width of queries and keys
many_queries, many_keys = torch.randn(2, 10_000, K)  # (N, K) each
many_scores = (many_queries * many_keys).sum(-1)  # one score per row: (N,)
score_variance, score_std = many_scores.var().item(), many_scores.std().item()
print(f"K = {K}: scores have variance {score_variance:.0f} and standard deviation {score_std:.1f}")

# %% [markdown] id="notice-scale"
# The variance is close to 64 <!-- claim: score_variance ~= 64 ± 4 -->, as predicted, so scores lie about 8.0 <!-- claim: score_std ~= 8.0 ± 0.3 --> apart, its square root. Divided by $\sqrt{K}$ they have variance 1 again, whatever the width. Now watch what softmax makes of it over 16 tokens, with and without the scale.

# %% id="softmax-collapse"
raw_scores = torch.randn(1_000, 16) * score_std  # (N, S): 1,000 queries, 16 keys
variants = {"as they are": raw_scores, "divided by √K": raw_scores / K**0.5}
largest = {name: scores.softmax(-1).max(-1).values.mean().item() for name, scores in variants.items()}
viz.bars(
    largest,
    ylabel="mean weight of the strongest token",
    baseline={"even": 1 / 16},
    title="Unscaled scores make attention nearly one-hot",
)

# %% [markdown] id="notice-collapse"
# Unscaled, one token takes 0.85 <!-- claim: largest["as they are"] ~= 0.85 ± 0.03 --> of the weight. Scaled, it is 0.24 <!-- claim: largest["divided by √K"] ~= 0.24 ± 0.03 -->; the dotted line is an even spread, 1/16.
# Nothing was learned yet: this is initialisation alone. And what reaches the scores as gradient, when the averaged values are random numbers?

# %% id="collapse-gradient"
random_values = torch.randn(16)
typical_gradient = {}
for name, scores in variants.items():
    leaf = scores.clone().requires_grad_()
    (leaf.softmax(-1) @ random_values).sum().backward()
    typical_gradient[name] = leaf.grad.abs().median().item()  # the median: half of all scores get less
gradient_ratio = typical_gradient["divided by √K"] / typical_gradient["as they are"]
print(
    f"the typical gradient of a score is {'over 1,000 times' if gradient_ratio > 1000 else 'a little'} larger with the scale"
)

# %% [markdown] id="notice-gradient"
# Half of the unscaled scores get less than a thousandth <!-- claim: gradient_ratio > 1000 --> of the gradient that is typical with the scale. They could not learn to matter.
#
# ### Exercise 02.1
# One model has heads of width 16, another of width 256. Queries and keys have entries of variance 1, and nobody divides by anything. By which factor is the standard deviation of the scores larger in the second model?

# %% id="ex1" exercise="02.1"

# %% [markdown] id="masks-intro"
# ## 3. Masks: who may see whom
#
# Texts of one batch differ in length, so short ones are filled up with padding, which no token should read. And a model that predicts the next token must not see it. Both are the same thing: a table of who may see whom.
#
# From here on sizes have letters: `B` sequences, `T` positions that ask (queries), `S` positions that are asked (keys; often the same ones), and `H` heads, attentions that run side by side. Section 4 explains these; until then take `H` for 1.
#
# The course has one convention. A mask is boolean, `True` where a query (row) **may see** a key (column), and broadcasts to `(B, H, T, S)`. Take care when you read other code. PyTorch's `scaled_dot_product_attention` agrees
# with us, PyTorch's `nn.MultiheadAttention` means the opposite, and Hugging Face's `attention_mask` is 1 for tokens and 0 for padding.
#
# ### Exercise 02.2
# Make this table from `is_token`, which is `False` at padding. Padding is hidden *as a key*, from every query. A query at padding sees the same keys as the others: nobody will read its result, but if it saw nothing, its average would be 0/0. With `causal`, no query sees a key that comes after its own position.

# %% id="ex2" exercise="02.2"

# %% [markdown] id="mask-look-intro"
# A sequence of four tokens and two of padding, both ways. A dark square with a tick is visible.

# %% id="mask-look"
is_token = torch.tensor([[True, True, True, True, False, False]])
words = ["we", "had", "tea", ".", "[PAD]", "[PAD]"]
for ax, causal in zip(viz.new_axes((10, 3.8), num_columns=2), [False, True], strict=True):
    table = make_mask(is_token, causal)[0, 0]  # (T, T)
    viz.heatmap(
        table.int(),
        xlabel="key",
        ylabel="query",
        title="Causal: a decoder" if causal else "Padding hidden: an encoder",
        xticks=words,
        yticks=words,
        texts=[["✓" if seen else "" for seen in row] for row in table.tolist()],
        ax=ax,
    )

# %% [markdown] id="mask-look-notice"
# The rows of padding see tokens too, in both pictures. That is deliberate: a row without any visible key has nothing to average, and softmax over nothing is 0/0. With a whole sequence of padding it happens all the same, and must not produce `nan`, because a single `nan` spreads through the loss
# to every weight of the model.
#
# ### Exercise 02.3
# Now the whole mechanism: scores, scale, mask, softmax, weighted sum of the values. Keys where `mask` is `False` must get no weight at all, and a query that may see no key gets zeros.

# %% id="ex3" exercise="02.3"

# %% [markdown] id="sdpa-parity-intro"
# Is it the same function as PyTorch's? Compare values, and the gradient of a random weighting of the output with respect to all three inputs. Every size differs, so that no mix-up of dimensions can hide. PyTorch's function is a fused kernel; section 8 is about what it gains.


# %% id="sdpa-parity"
def with_gradients(function, *tensors, parameters=()):
    """The output, and the gradients of `tensors` and `parameters` when each output entry counts differently."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = function(*leaves)
    importance = torch.linspace(-1, 2, out.numel()).view(out.shape)
    return [out, *torch.autograd.grad((out * importance).sum(), [*leaves, *parameters])]


def largest_difference(ours, theirs) -> float:
    """Over outputs and gradients together."""
    return max((a - b).detach().abs().max().item() for a, b in zip(ours, theirs, strict=True))


# %% id="sdpa-run"
B, H, T, S = 2, 3, 5, 7
q, k, v = torch.randn(B, H, T, 8), torch.randn(B, H, S, 8), torch.randn(B, H, S, 6)
mask = torch.rand(B, 1, T, S) > 0.3
mask[1, :, 2] = False  # one query that sees nothing
ours = with_gradients(lambda *qkv: scaled_dot_product_attention(*qkv, mask), q, k, v)
theirs = with_gradients(lambda *qkv: F.scaled_dot_product_attention(*qkv, mask), q, k, v)
sdpa_difference = largest_difference(ours, theirs)
print("equal in values and gradients:", sdpa_difference < 1e-5)

# %% [markdown] id="sdpa-notice"
# They agree to 0.00001 <!-- claim: sdpa_difference < 1e-5 -->, the query that sees nothing included.
#
# What does a wrong mask do? A common mistake is to set weights to zero *after* softmax. The hidden keys have then already taken their share:

# %% id="mask-late"
scores = q @ k.mT / math.sqrt(q.shape[-1])  # (B, H, T, S)
late = scores.softmax(-1).masked_fill(~mask, 0.0)  # (B, H, T, S): hidden after the weights were shared out
row_sums = late.sum(-1)[0, 0]  # one sum per query
print("weights per query add up to", [round(total, 2) for total in row_sums.tolist()])

# %% [markdown] id="mask-late-notice"
# Not to 1. Nothing crashes: the output is only smaller, by what the hidden keys took, and so depends on how much padding happens to be in the batch. A loss curve would hardly tell you. Comparing does.

# %% [markdown] id="heads-intro"
# ## 4. Several heads
#
# One average per position is a narrow pipe: a word may need its verb *and* the noun it refers to. So attention runs `H` times side by side, each time on its own projection of the input to `K = D / H` numbers, and the `H` results are put side by side again. The cost stays that of one wide head.
#
# The projections of all heads are computed in one product, `(B, T, D)` to `(B, T, D)`; head `h` owns `K` neighbouring columns of the result. What remains is moving dimensions.
#
# ### Exercise 02.4
# Cut the width into heads: `(B, T, D)` to `(B, H, T, K)`. Entry `h * K + i` of a position becomes entry `i` of head `h`, at the *same* position.

# %% id="ex4" exercise="02.4"

# %% [markdown] id="mha-intro"
# With this, multi-head attention is ten lines. `merge_heads` undoes `split_heads`. Keys and values may come from another sequence, `context`: that is *cross-attention*, with which a decoder reads its source text. The three input projections are stored as one matrix, `qkv`, because one large product is faster than three small ones.


# %% id="mha"
class MultiHeadAttention(nn.Module):
    """H attentions side by side: x (B, T, D), and optionally context (B, S, D), to (B, T, D)."""

    def __init__(self, d_model: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, x, mask=None, context=None):
        context = x if context is None else context
        w_q, w_k, w_v = self.qkv.weight.chunk(3)  # (D, D) each
        b_q, b_k, b_v = self.qkv.bias.chunk(3)
        q, k, v = F.linear(x, w_q, b_q), F.linear(context, w_k, b_k), F.linear(context, w_v, b_v)
        q, k, v = (split_heads(part, self.num_heads) for part in (q, k, v))  # (B, H, T or S, K)
        heads = scaled_dot_product_attention(q, k, v, mask)  # (B, H, T, K)
        return self.output(merge_heads(heads))  # (B, T, D)


# %% [markdown] id="mha-parity-intro"
# The judge is `nn.MultiheadAttention` with the same weights. Mind its mask: there, `True` means *hidden*. Gradients are compared for both inputs and for all four parameters, which come in the same order on both sides.

# %% id="mha-parity"
D, num_heads = 12, 4
layer, reference = MultiHeadAttention(D, num_heads), nn.MultiheadAttention(D, num_heads, batch_first=True)
nn.init.normal_(layer.qkv.bias)  # zeros would hide a bias that went to the wrong place
reference.load_state_dict(
    {
        "in_proj_weight": layer.qkv.weight,
        "in_proj_bias": layer.qkv.bias,
        "out_proj.weight": layer.output.weight,
        "out_proj.bias": layer.output.bias,
    }
)
x, context = torch.randn(2, 5, D), torch.randn(2, 7, D)
is_token = torch.arange(7) < torch.tensor([[7], [3]])  # (B, S): 4 positions of padding in the second sequence
ours = with_gradients(lambda x, c: layer(x, is_token[:, None, None, :], c), x, context, parameters=layer.parameters())
theirs = with_gradients(
    lambda x, c: reference(x, c, c, key_padding_mask=~is_token)[0], x, context, parameters=reference.parameters()
)
mha_difference = largest_difference(ours, theirs)
print("equal in values and gradients:", mha_difference < 1e-5)

# %% [markdown] id="mha-notice"
# Equal again, to 0.00001 <!-- claim: mha_difference < 1e-5 -->. A mask in somebody else's convention is worth refusing, so the course's own class checks what it gets:

# %% id="mask-refused"
with expect_error(ValueError):
    attention.MultiHeadAttention(D, num_heads)(x, mask=torch.ones(2, 5))

# %% [markdown] id="maps-intro"
# ## 5. What real heads look at
#
# Enough random numbers. Here is a BERT that has read billions of words, loaded into the course's own code, which lesson 03 takes apart. It returns the states between its layers, so we can ask the attention of any layer for its weights.
#
# **Guess first:** in the sentence below, at which word should `them` look?

# %% id="maps-model"
tokenizer = AutoTokenizer.from_pretrained(model_path(model_name))
bert = BertModel.from_pretrained(model_name)
sentence = "My brother said that he lost his keys, but I found them under the sofa."


def attention_maps(text: str) -> tuple[list[str], torch.Tensor]:
    """The tokens of a text, and the weights of all layers: (L, H, T, T)."""
    input_ids = tokenizer(text, return_tensors="pt").input_ids  # (1, T)
    with torch.inference_mode():
        states = bert(input_ids).hidden_states  # L + 1 of (1, T, D): state i goes into layer i
        maps = [block.attention.weights(state)[0] for block, state in zip(bert.layers, states, strict=False)]
    return tokenizer.convert_ids_to_tokens(input_ids[0]), torch.stack(maps)


# %% [markdown] id="maps-look-intro"
# Two of the 72 heads. Each row shows where one token looks; rows add up to 1. The left one is as regular as a machine. In the right one look at the rows of `he` and `them`, which the cell after the picture measures.

# %% id="maps-look"
tokens, maps = attention_maps(sentence)
for ax, (index, head) in zip(viz.new_axes((12, 5.6), num_columns=2), [(0, 2), (3, 1)], strict=True):
    title = f"Layer {index}, head {head}"
    viz.heatmap(maps[index, head], xlabel="key", ylabel="query", title=title, yticks=tokens, ax=ax)
    ax.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", rotation_mode="anchor")

# %% id="maps-measure"
previous_token = maps[0, 2].diagonal(offset=-1).mean().item()  # mean weight on the key one to the left
strongest = {}
for word in ["he", "them"]:
    weight, place = maps[3, 1, tokens.index(word)].max(-1)
    strongest[word] = tokens[place]
    print(f"{word:>5} looks at {tokens[place]!r} with weight {weight:.2f}")
them_weight = maps[3, 1, tokens.index("them"), tokens.index("keys")].item()
resting = maps[3, 1, :, 0].mean().item()
print(f"head 2 of layer 0 gives the token before {previous_token:.0%}, head 1 of layer 3 gives [CLS] {resting:.0%}")

# %% [markdown] id="maps-notice"
# `them` gives 87% <!-- claim: them_weight ~= 0.87 ± 0.02 --> of its attention to `keys`, and `he` looks at `brother`. Nobody ever told this model what a pronoun is: it has seen text, never a grammar. The other head spends 100% <!-- claim: previous_token ~= 1.0 ± 0.01 --> on the token before,
# in every row. And rows with nothing to look for? They rest on `[CLS]`: the first column gets 40% <!-- claim: resting ~= 0.40 ± 0.02 --> of the right head's weight, because weights must add up to 1.
#
# Now a classic: two sentences, one word apart. Does the attention of `it` change?

# %% id="maps-it"
it_weights = {}
for ending in ["tired", "wide"]:
    tokens, maps = attention_maps(f"The animal did not cross the street because it was too {ending}.")
    row = maps[3, 1, tokens.index("it")]
    it_weights[ending] = {noun: row[tokens.index(noun)].item() for noun in ["animal", "street"]}
    print(f"too {ending}:", ", ".join(f"{noun} {weight:.2f}" for noun, weight in it_weights[ending].items()))
drop = it_weights["tired"]["animal"] / it_weights["wide"]["animal"]

# %% [markdown] id="maps-it-notice"
# Animals get tired, streets are wide. With `wide`, the weight on `animal` is less than half as large <!-- claim: drop > 2 -->, although it does not move to `street`: the head hesitates. A head is not a grammar book, and one map of one head proves little. Lesson 03 counts over many sentences.

# %% [markdown] id="order-intro"
# ## 6. Where is the order of words?
#
# Nowhere, so far. An average does not know in which order its terms came. Shuffle the tokens and attention gives the same vectors, shuffled. To see what that means, we take BERT's position vectors away and compare the meaning of two headlines: the mean of a headline's vectors after the last layer stands for
# its meaning, and the cosine of two such means for their similarity.
#
# **Guess first:** how similar are *dog bites man* and *man bites dog* for a model without positions?


# %% id="order"
def headline_similarity(model: BertModel) -> float:
    """The cosine between the mean vectors of two headlines."""
    batch = tokenizer(["dog bites man", "man bites dog"], return_tensors="pt")
    with torch.inference_mode():
        states = model(batch.input_ids, batch.attention_mask).last_hidden_state  # (2, T, D)
    first, second = F.normalize(mean_pool(states, batch.attention_mask), dim=-1)  # (D,) each
    return (first @ second).item()


without_positions = copy.deepcopy(bert)
nn.init.zeros_(without_positions.embeddings.position.weight)
similarities = {"with positions": headline_similarity(bert), "without": headline_similarity(without_positions)}
print({name: round(value, 2) for name, value in similarities.items()})

# %% [markdown] id="order-notice"
# Without positions the cosine is 1.00 <!-- claim: similarities["without"] ~= 1.0 ± 0.0001 -->: the two headlines are one bag of words. With them it is 0.91 <!-- claim: similarities["with positions"] ~= 0.91 ± 0.01 -->, close but not the same.
#
# BERT and GPT-2 **learn** one vector per position and add it to the token's. The original Transformer computed them instead, from waves: entries $2i$ and $2i+1$ of position $t$ are
#
# $$\sin\left(\frac{t}{10000^{2i/D}}\right) \quad\text{and}\quad \cos\left(\frac{t}{10000^{2i/D}}\right).$$
#
# The first pair turns quickly, like the last digit of a counter; later pairs turn more and more slowly.
#
# ### Exercise 02.5
# Write this table, `(num_positions, d_model)`. Position 0 comes first.

# %% id="ex5" exercise="02.5"

# %% [markdown] id="positions-look-intro"
# What makes a good position vector? Neighbours should be alike and distant positions different. We compare each of the first 96 positions with each other one, computed and learned.

# %% id="positions-look"
tables = {
    "computed from waves": sinusoidal_positions(96, bert.config.d_model),
    "learned by BERT": bert.embeddings.position.weight[:96].detach(),
}
for ax, (name, table) in zip(viz.new_axes((10, 4), num_columns=2), tables.items(), strict=True):
    unit = F.normalize(table, dim=-1)  # (96, D)
    viz.heatmap(unit @ unit.T, xlabel="position", ylabel="position", title=name, value_label="cosine", ax=ax)
learned = F.normalize(tables["learned by BERT"], dim=-1)
by_distance = {d: (learned[1:-d] * learned[1 + d :]).sum(-1).mean().item() for d in (1, 12, 21)}
print("learned, mean cosine by distance:", {d: f"{cosine:.2f}" for d, cosine in by_distance.items()})

# %% [markdown] id="positions-notice"
# Nobody showed BERT a formula, and it found a bright diagonal too: neighbours have a cosine of 0.88 <!-- claim: by_distance[1] ~= 0.88 ± 0.02 -->. And it found waves of its own. Positions 21 apart have nothing in common (0.01 <!-- claim: by_distance[21] ~= 0.01 ± 0.03 -->), those 12 apart
# are alike again (0.65 <!-- claim: by_distance[12] ~= 0.65 ± 0.02 -->): the stripes. With several waves of different length, the pattern as a whole still tells every position from every other.
#
# Newer models, such as the chat model of lesson 09, add nothing. They **rotate** queries and keys: each pair of entries is turned by an angle that grows with the position. A dot product between two turned vectors depends only on the *difference* of the angles, so a score sees the distance
# and not the place.


# %% id="rotary"
def rotate(x, positions):
    """Turn each pair of entries of x (..., T, K) by an angle that grows with its position (T,)."""
    K = x.shape[-1]
    angles = positions[:, None] / 10_000 ** (torch.arange(0, K, 2) / K)  # (T, K / 2)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
    return torch.stack(turned, dim=-1).flatten(-2)  # (..., T, K / 2, 2) -> (..., T, K)


# %% [markdown] id="rotary-check-intro"
# The check: the same query and the same key at 100 positions each. Along a diagonal of the score table the distance is the same, so the scores should be.

# %% id="rotary-check"
positions = torch.arange(100)
one_query, one_key = torch.randn(2, 1, 32).expand(2, 100, 32)
rotated_scores = rotate(one_query, positions) @ rotate(one_key, positions).T  # (100, 100)
spread_along = max(rotated_scores.diagonal(d).max() - rotated_scores.diagonal(d).min() for d in range(-50, 51)).item()
spread_overall = (rotated_scores.max() - rotated_scores.min()).item()
same_by_distance = spread_along / spread_overall
print("scores depend on the distance only:", same_by_distance < 1e-4)

# %% [markdown] id="rotary-notice"
# Along a diagonal scores vary by less than a ten-thousandth <!-- claim: same_by_distance < 1e-4 --> of what they vary by overall. No table of positions is needed.

# %% [markdown] id="block-intro"
# ## 7. The block: feed-forward, residual, LayerNorm
#
# Attention moves information between positions. A **feed-forward layer** then works on each position alone. It widens the vector, usually to four times the width, bends each number with a curve, and narrows it again; without the curve, the two matrices in a row could as well be one.


# %% id="feed-forward"
class FeedForward(nn.Module):
    """Each position alone: (B, T, D) to (B, T, D), with d_ff numbers in between."""

    def __init__(self, d_model: int, d_ff: int):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


# %% [markdown] id="gelu-intro"
# The curve is called GELU: $x$ times the probability that a standard normal number lies below $x$. By hand, for seven numbers; and how many of a block's weights are here?

# %% id="gelu"
numbers = torch.arange(-3.0, 4.0)
curve = numbers * torch.distributions.Normal(0, 1).cdf(numbers)
gelu_difference = (curve - F.gelu(numbers)).abs().max().item()
print({int(x): round(y, 2) for x, y in zip(numbers.tolist(), curve.tolist(), strict=True)})
parts = MultiHeadAttention(64, 4), FeedForward(64, 256)
num_weights = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
feed_forward_share = num_weights[1] / sum(num_weights)
print(f"attention {num_weights[0]:,}, feed-forward {num_weights[1]:,}")

# %% [markdown] id="gelu-notice"
# Large positive numbers come out unchanged, large negative ones as 0, and nowhere is there a corner; `F.gelu` agrees to 0.000001 <!-- claim: gelu_difference < 1e-6 -->. The feed-forward layer holds 67% <!-- claim: feed_forward_share ~= 0.67 ± 0.005 --> of the block's weights.
#
# Around each of the two parts stand a **residual connection**, `x + f(x)`, so that a part only has to compute a *change*, and **LayerNorm**, which keeps numbers at one scale: per position, subtract the mean, divide by the standard deviation, then a learned scale and shift.

# %% id="layernorm"
norm = nn.LayerNorm(6)
nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
h = torch.randn(2, 3, 6) * 5 + 2  # (B, T, D)
centred = h - h.mean(-1, keepdim=True)
by_hand = centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias
norm_difference = (by_hand - norm(h)).detach().abs().max().item()
print("LayerNorm by hand equals nn.LayerNorm:", norm_difference < 1e-5)

# %% [markdown] id="layernorm-notice"
# Equal to 0.00001 <!-- claim: norm_difference < 1e-5 -->. Each position is treated alone: batch size and padding make no difference, unlike with batch normalisation.
#
# Where should the norm stand? The original Transformer and BERT normalise *after* each sum (**post-norm**): `norm(x + f(x))`. GPT-2 and nearly all models since normalise the *input* of each part (**pre-norm**): `x + f(norm(x))`. The second leaves a path from input to output on which nothing but sums happen.
#
# ### Exercise 02.6
# Write one pre-norm block from its four parts. Each is a function from `(B, T, D)` to `(B, T, D)`.

# %% id="ex6" exercise="02.6"

# %% [markdown] id="encoder-intro"
# The post-norm block has the same four parts in another order. With both, an **encoder block** is the sum of all you have seen:


# %% id="encoder-block"
def post_norm_block(x, attention, feed_forward, norm_1, norm_2):
    """One encoder block that normalises after each sum: x (B, T, D) to (B, T, D)."""
    x = norm_1(x + attention(x))
    return norm_2(x + feed_forward(x))


class EncoderBlock(nn.Module):
    """Attention, then feed-forward, each with its residual and its norm: (B, T, D) to (B, T, D)."""

    def __init__(self, d_model: int, num_heads: int, d_ff: int, norm_first: bool = False):
        super().__init__()
        self.norm_first = norm_first
        self.attention, self.attention_norm = MultiHeadAttention(d_model, num_heads), nn.LayerNorm(d_model)
        self.feed_forward, self.feed_forward_norm = FeedForward(d_model, d_ff), nn.LayerNorm(d_model)

    def forward(self, x, mask=None):
        block = pre_norm_block if self.norm_first else post_norm_block
        norms = self.attention_norm, self.feed_forward_norm
        return block(x, lambda h: self.attention(h, mask), self.feed_forward, *norms)


# %% [markdown] id="encoder-copy-intro"
# The judge is `nn.TransformerEncoderLayer`, with padding. Its parts have other names, so we write down which is which, and give each pair of parameters the same random numbers.


# %% id="encoder-copy"
def paired_parameters(ours: nn.Module, theirs: nn.Module, names: dict[str, str]) -> list[tuple]:
    """Our parameters beside PyTorch's, with the same random weights in both; `names` maps our module to theirs."""
    pairs = []
    for our_name, their_name in names.items():
        modules = ours.get_submodule(our_name), theirs.get_submodule(their_name)
        pairs += zip(*(module.parameters() for module in modules), strict=False)
    for mine, other in pairs:
        nn.init.normal_(mine, std=0.5)
        other.data.copy_(mine.data)
    return pairs


names = {
    "attention.qkv": "self_attn",  # its first two parameters; two more belong to out_proj
    "attention.output": "self_attn.out_proj",
    "attention_norm": "norm1",
    "feed_forward.up": "linear1",
    "feed_forward.down": "linear2",
    "feed_forward_norm": "norm2",
}

# %% id="encoder-parity"
block_difference = {}
x, is_token = torch.randn(3, 5, 12), torch.arange(5) < torch.tensor([[5], [4], [2]])
for norm_first in (False, True):
    ours = EncoderBlock(12, 4, 20, norm_first=norm_first)
    theirs = nn.TransformerEncoderLayer(12, 4, 20, 0.0, F.gelu, batch_first=True, norm_first=norm_first)
    our_parameters, their_parameters = zip(*paired_parameters(ours, theirs, names), strict=True)
    mine = with_gradients(lambda x, block=ours: block(x, make_mask(is_token)), x, parameters=our_parameters)
    other = with_gradients(
        lambda x, block=theirs: block(x, src_key_padding_mask=~is_token), x, parameters=their_parameters
    )
    block_difference["pre-norm" if norm_first else "post-norm"] = largest_difference(mine, other)
print({name: "equal" if difference < 1e-4 else "different" for name, difference in block_difference.items()})

# %% [markdown] id="decoder-intro"
# An encoder block sees the whole text. A **decoder block** of the original Transformer has three parts: attention to its own past, through a causal mask; cross-attention to the encoder's output; feed-forward. GPT later dropped the middle one. The judge, `nn.TransformerDecoderLayer`, numbers its norms in the order in which they are used.


# %% id="decoder-block"
class DecoderBlock(EncoderBlock):
    """A post-norm block that also reads another sequence: x (B, T, D) and context (B, S, D) to (B, T, D)."""

    def __init__(self, d_model: int, num_heads: int, d_ff: int):
        super().__init__(d_model, num_heads, d_ff)
        self.cross_attention, self.cross_norm = MultiHeadAttention(d_model, num_heads), nn.LayerNorm(d_model)

    def forward(self, x, context, mask):
        x = self.attention_norm(x + self.attention(x, mask))
        x = self.cross_norm(x + self.cross_attention(x, context=context))
        return self.feed_forward_norm(x + self.feed_forward(x))


# %% id="decoder-parity"
decoder_names = {
    **{ours: theirs for ours, theirs in names.items() if ours != "feed_forward_norm"},
    "cross_attention.qkv": "multihead_attn",
    "cross_attention.output": "multihead_attn.out_proj",
    "cross_norm": "norm2",
    "feed_forward_norm": "norm3",
}
decoder = DecoderBlock(12, 4, 20)
theirs = nn.TransformerDecoderLayer(12, 4, 20, 0.0, F.gelu, batch_first=True)
our_parameters, their_parameters = zip(*paired_parameters(decoder, theirs, decoder_names), strict=True)
source, past = torch.randn(3, 7, 12), make_mask(torch.ones(1, 5, dtype=torch.bool), causal=True)[0, 0]  # (T, T)
mine = with_gradients(lambda x, c: decoder(x, c, past), x, source, parameters=our_parameters)
other = with_gradients(lambda x, c: theirs(x, c, tgt_mask=~past), x, source, parameters=their_parameters)
block_difference["decoder"] = largest_difference(mine, other)
largest_block_difference = max(block_difference.values())
print("decoder block equals PyTorch's:", block_difference["decoder"] < 1e-4)

# %% [markdown] id="decoder-notice"
# All three agree to 0.0001 <!-- claim: largest_block_difference < 1e-4 -->, in values, in the gradients of their inputs and in those of every parameter. So these blocks are not *like* PyTorch's, they *are* the same functions.
#
# Now an experiment on what holds a deep stack together. We stack blocks of three kinds: pre-norm, post-norm, and bare ones without any residual. First, before training: how alike do the positions of a sequence become? Averages of averages tend to the same value. We measure the mean cosine between two positions of the same sequence, block by block.


# %% id="bare-block"
class BareBlock(EncoderBlock):
    """Attention and feed-forward with their norms, and nothing that lets x pass by."""

    def forward(self, x, mask=None):
        return self.feed_forward(self.feed_forward_norm(self.attention(self.attention_norm(x), mask)))


kinds = {
    "pre-norm": lambda: EncoderBlock(32, 4, 64, norm_first=True),
    "post-norm": lambda: EncoderBlock(32, 4, 64),
    "no residual": lambda: BareBlock(32, 4, 64),
}


# %% id="collapse"
def mean_cosine(h: torch.Tensor) -> float:
    """The mean over pairs of different positions in h (B, T, D)."""
    unit = F.normalize(h, dim=-1)
    table, T = unit @ unit.mT, h.shape[1]  # (B, T, T)
    return ((table.sum((1, 2)) - T) / (T * (T - 1))).mean().item()


alike = {}
for kind, make_block in kinds.items():
    torch.manual_seed(seed)
    h = torch.randn(8, 10, 32)
    alike[kind] = [mean_cosine(h)]
    for _ in range(num_blocks):
        h = make_block()(h)
        alike[kind].append(mean_cosine(h))
viz.lines(
    alike,
    xlabel="blocks passed",
    ylabel="mean cosine between positions",
    title="Without residuals all positions become one",
)
after_two = alike["no residual"][2]

# %% [markdown] id="collapse-notice"
# Without residuals the positions are the same vector after two blocks (cosine 1.00 <!-- claim: after_two ~= 1.0 ± 0.02 -->): whatever the text said is gone. Residuals carry it through.
#
# Does it matter for learning? A small task: read ten random symbols out of 16, give them back in reverse order. No position can do that alone. The loss is minus the logarithm of the probability given to the right symbol (with the natural logarithm, its unit is the *nat*), so guessing costs $\ln 16 = 2.77$ nats per symbol. The same learning rate for all, the same data.


# %% id="reverse-model"
class Reverser(nn.Module):
    """Symbols (B, T) to logits (B, T, 16) through a stack of blocks."""

    def __init__(self, make_block):
        super().__init__()
        self.embedding = nn.Embedding(16, 32)
        self.blocks = nn.ModuleList(make_block() for _ in range(num_blocks))
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 16))

    def forward(self, symbols):
        h = self.embedding(symbols) + sinusoidal_positions(symbols.shape[1], 32)
        for block in self.blocks:
            h = block(h)
        return self.head(h)


# %% [markdown] id="reverse-train-intro"
# The training loop, in full: draw a batch, compare with its mirror image, step. **Guess first:** which of the three will learn it in this many steps?


# %% id="reverse-train"
def train_reverser(make_block) -> list[float]:
    """The loss of each step, in nats per symbol."""
    torch.manual_seed(seed)
    model = Reverser(make_block)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    losses = []
    for _ in range(num_steps):
        symbols = torch.randint(0, 16, (32, 10))  # (B, T)
        loss = F.cross_entropy(model(symbols).flatten(0, 1), symbols.flip(1).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


set_threads(1)  # these matrices are too small to be worth sharing between cores
curves = {kind: train_reverser(make_block) for kind, make_block in kinds.items()}
final = {kind: statistics.mean(losses[-20:]) for kind, losses in curves.items()}

# %% id="reverse-plot"
viz.lines(
    curves,
    xlabel="optimizer steps",
    ylabel="loss (nats per symbol)",
    title="Reversing ten symbols: residuals carry a deep stack",
    baseline={"guessing": math.log(16)},
)

# %% [markdown] id="reverse-notice"
# Without residuals the loss stays at guessing: 2.8 <!-- claim: final["no residual"] ~= 2.8 ± 0.1; smoke: >= 2.5 --> nats to the end. Post-norm learns slowly here and stands at 2.1 <!-- claim: final["post-norm"] ~= 2.1 ± 0.4; smoke: > 2 -->; pre-norm solves the task, below 0.6 <!-- claim: final["pre-norm"] < 0.6; smoke: < 3.5 -->. Post-norm is not hopeless: BERT trained that way, with a small learning rate that begins near zero and is raised slowly (a *warm-up*, lesson 05). But it asks for that
# care, and pre-norm forgives more, which is one reason why deep models use it.
#
# **Your turn.** Change `num_blocks` to 2 and run this section again. Which kind gains most? (Post-norm then solves the task as well, and even without residuals something is learned. What residuals and pre-norm buy is *depth*.) Then go back to 12 and take another `seed`: the order of the three stays, the distances do not.

# %% [markdown] id="cost-intro"
# ## 8. The price: every pair of tokens
#
# Each query meets each key, so a text twice as long has four times as many weights. For 12 heads and 2,048 tokens that is 50 million numbers *per layer*, and training keeps them for the backward pass.
#
# They need not be stored. The weights of one query can be computed in pieces while running totals are kept, and computed again during the backward pass. That is the idea of FlashAttention, and `F.scaled_dot_product_attention` does it. We measure both: the bytes that autograd keeps, and the time of a forward and backward pass.


# %% id="cost-functions"
def kept_megabytes(function, *tensors) -> float:
    """What autograd keeps for the backward pass, every piece of memory counted once."""
    sizes = {}

    def remember(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        out = function(*tensors)  # alive until the end of this function, so no address is used twice
    return sum(sizes.values()) / 1e6 if out is not None else 0.0


def least_seconds(function, *tensors) -> float:
    """Seconds of one core for a forward and a backward pass: the least of a few, since nothing makes them shorter."""
    seconds = []
    for _ in range(num_timings + 1):  # the first one also pays for memory that later ones find ready
        start = time.process_time()
        function(*tensors).sum().backward()
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


# %% [markdown] id="cost-run-intro"
# One sequence, 12 heads of width 32 as in our BERT, from short to long. **Guess first:** how many times more memory does the written-out form keep at 2,048 tokens than at 1,024?
#
# In the pictures both axes are logarithmic: a straight line is a power of the length, and a steeper one a higher power.

# %% id="cost-run"
set_threads(1)  # one core, so that times grow with the work alone
forms = {"written out": scaled_dot_product_attention, "fused": attention.fused_attention}
megabytes, seconds = {name: [] for name in forms}, {name: [] for name in forms}
for length in lengths:
    qkv = [torch.randn(1, 12, length, 32, requires_grad=True) for _ in range(3)]
    for name, function in forms.items():
        megabytes[name].append(kept_megabytes(function, *qkv))
        seconds[name].append(least_seconds(function, *qkv))
growth = {name: values[-1] / values[-2] for name, values in megabytes.items()}
slowdown = {name: values[-1] / values[-2] for name, values in seconds.items()}
print({name: f"{megabytes[name][-1]:.0f} MB at {lengths[-1]} tokens" for name in forms})

# %% id="cost-plot" tags=["nbval-ignore-output"]
ax_memory, ax_time = viz.new_axes((11, 4), num_columns=2)
for ax, measured, ylabel, title in [
    (ax_memory, megabytes, "kept for backward (MB)", "Memory: quadratic, or linear"),
    (
        ax_time,
        {name: [1000 * s for s in values] for name, values in seconds.items()},
        "forward and backward (ms of one core)",
        "Time: quadratic for both",
    ),
]:
    viz.lines(measured, x=lengths, xlabel="tokens", ylabel=ylabel, title=title, log_x=True, ax=ax)
    ax.set_yscale("log")
memory_ratio, time_ratio = (measured["written out"][-1] / measured["fused"][-1] for measured in (megabytes, seconds))

# %% [markdown] id="cost-notice"
# Twice the text costs the written-out form 3.8 <!-- claim: growth["written out"] ~= 3.8 ± 0.05; smoke: > 2.5 --> times the memory, nearly the full factor of four, and the fused one exactly 2.0 <!-- claim: growth["fused"] ~= 2.0 ± 0.01 -->. At the longest text the fused kernel keeps a sixteenth of the memory (the ratio is above
# 16 <!-- claim: memory_ratio > 16; smoke: > 2 -->) and is faster <!-- claim: time_ratio > 1; smoke: skip --> too. Its time still grows with the square: twice the text takes it more than 2.5 <!-- claim: slowdown["fused"] > 2.5; smoke: skip --> times as long, for every pair is still *computed*, only never stored. (Where the other line bends depends on the machine: large tables must be fetched from slower memory.) The same function, the same gradients, another order of work.

# %% [markdown] id="summary"
# ## Summary
#
# * You wrote attention: an average of values, weighted by softmax of scaled dot products. Without the scale, softmax was nearly one-hot and gradients died.
# * You made masks for padding and for the future. They act on keys, before softmax, and leave no `nan` behind.
# * Heads were slices of the width; multi-head attention, encoder and decoder block equalled PyTorch's in values and gradients.
# * In a real BERT one head looked at the token before, another found what a pronoun refers to.
# * Attention knew no order until positions were added or queries and keys were rotated.
# * Residuals kept positions apart and made depth trainable; pre-norm made it easy.
# * Weights grew with the square of the length; the fused kernel did not store them.
#
# The formula to keep: $\operatorname{softmax}\left(QK^\top / \sqrt{K}\right) V$, with hidden keys set to the lowest number before softmax.

# %% [markdown] id="references"
# ## References
#
# * A. Vaswani et al., *Attention Is All You Need*, 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762), sections 3.1 to 3.5.
# * R. Xiong et al., *On Layer Normalization in the Transformer Architecture*, 2020, [arXiv:2002.04745](https://arxiv.org/abs/2002.04745), section 3: pre-norm, post-norm and warm-up.
# * Y. Dong, J.-B. Cordonnier and A. Loukas, *Attention is Not All You Need*, 2021, [arXiv:2103.03404](https://arxiv.org/abs/2103.03404), section 2: why positions become alike without residuals.
# * J. Su et al., *RoFormer*, 2021, [arXiv:2104.09864](https://arxiv.org/abs/2104.09864), section 3.2: rotary positions.
# * T. Dao et al., *FlashAttention*, 2022, [arXiv:2205.14135](https://arxiv.org/abs/2205.14135), section 3.
# * K. Clark et al., *What Does BERT Look At?*, 2019, [arXiv:1906.04341](https://arxiv.org/abs/1906.04341), sections 3 and 4.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
