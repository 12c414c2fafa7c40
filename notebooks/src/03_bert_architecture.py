# ---
# jupyter:
#   course:
#     title: Inside BERT
#     question: What is inside BERT, and what does it know?
#     minutes: 105
#     needs: CPU
#     prerequisites: ["01", "02"]
#     cell_timeout: 60
#     mem_cap_mb: 4096
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
# * build BERT from its parts and count its parameters without running it;
# * load a checkpoint into your own code, name by name;
# * prove two models equal, and recognise the bugs that do not crash;
# * measure what heads look at and what layers know;
# * search a collection of texts by meaning.

# %% [markdown] id="imports-intro"
# `EncoderBlock` is the post-norm block of lesson 02. `transformers.BertModel` is the judge.

# %% id="imports"
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from course_utils import viz
from course_utils.assets import model_path
from course_utils.data.dialogues import clean_conversations, load_conversations
from course_utils.exercises import exercise
from course_utils.models.attention import EncoderBlock
from course_utils.models.bert import BertModel
from course_utils.models.bert_config import BertConfig
from course_utils.models.bert_weights import read_config, their_names
from course_utils.runtime import expect_error, seed_everything, set_threads

# %% [markdown] id="parameters-intro"
# With a network, `course fetch bert-base-uncased` in a terminal brings the original BERT, and `"bert-base-uncased"` below runs this lesson on it.

# %% id="parameters" tags=["parameters"]
model_name = "minilm"  # or "bert-base-uncased", after fetching it
num_probed = 500  # messages for the probes of section 6
num_maps = 40  # messages for the heads of section 5
num_searched = 800  # messages in the search of section 7
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
print(config)
for name in ["input_ids", "token_type_ids", "attention_mask"]:
    print(f"{name:>15}", batch[name][1].tolist())
print(" ".join(tokenizer.convert_ids_to_tokens(batch.input_ids[1])))

# %% [markdown] id="input-notice"
# The shorter pair is filled up with `[PAD]`; the mask is 0 there. Types are 1 in the second text. Note that padding has type 0 and a position too: it goes through the model like any token, and only the mask keeps others from reading it.

# %% [markdown] id="ex1-intro"
# ### Exercise 03.1
# Write the input layer: look up, add, normalise.

# %% id="ex1" exercise="03.1"

# %% [markdown] id="model-intro"
# ## 2. The model on one page
#
# Behind the embeddings stand `num_layers` blocks. The output is one vector per position, and one for the whole input: the **pooler** takes the vector of `[CLS]`, multiplies it with a matrix and bends it through tanh. Heads for tasks are put on either of the two.


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

# %% [markdown] id="ex2-intro"
# ### Exercise 03.2
# Write the count as a formula of the sizes. The number of heads is one of the sizes; does it matter?

# %% id="ex2" exercise="03.2"

# %% [markdown] id="count-plot-intro"
# The formula gives the right sum for our model and for bert-base. And where do the parameters sit?

# %% id="count-plot"
print(f"by the formula: {num_parameters(config):,}; bert-base-uncased: {num_parameters(BertConfig()):,}")
parts = {
    "token table": model.embeddings["token"].weight.numel(),
    "attention": sum(p.numel() for layer in model.layers for p in layer.attention.parameters()),
    "feed-forward": sum(p.numel() for layer in model.layers for p in layer.feed_forward.parameters()),
}
parts["all the rest"] = total - sum(parts.values())
viz.bars(
    {name: 100 * number / total for name, number in parts.items()},
    ylabel="share of all parameters (%)",
    value_format="{:.0f}%",
    title="Half of this small BERT is its dictionary",
)
token_share = parts["token table"] / total
bert_base = num_parameters(BertConfig())

# %% [markdown] id="count-notice"
# 52% <!-- claim: token_share ~= 0.52 ± 0.005; gpu: ~= 0.21 ± 0.01 --> of our model is the token table, and feed-forward layers hold twice as much as attention. The original bert-base has 109,482,240 <!-- claim: bert_base == 109482240 --> parameters: twice the width and twice the layers make all blocks together eight times larger, the table only twice.

# %% [markdown] id="weights-intro"
# ## 3. Pouring real weights in
#
# A checkpoint is a dictionary from names to tensors. Ours has other names than Hugging Face's, and one matrix where they have three, so we need a translation. Look at the two lists for one layer:

# %% id="weights-names"
file = load_file(folder / "model.safetensors")
file = {name.removeprefix("bert.").replace("gamma", "weight").replace("beta", "bias"): t for name, t in file.items()}
for name, parameter in model.state_dict().items():
    if name.startswith("layers.0.") and name.endswith("weight"):
        print(
            f"{name:35} {str(tuple(parameter.shape)):13}",
            " + ".join(n.removeprefix("encoder.layer.0.") for n in their_names(name)),
        )

# %% [markdown] id="weights-notice"
# On the right (without `encoder.layer.0.`) all names of the file. The translation is a table in `course_utils.models.bert_weights`, written out. The one thing that is not a renaming is `qkv`.

# %% [markdown] id="ex3-intro"
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
# What a missing tensor looks like, in the course's own loader, which does the same for a folder:

# %% id="load-strict"
broken = {name: tensor for name, tensor in state.items() if name != "layers.2.attention.qkv.bias"}
with expect_error(RuntimeError):
    model.load_state_dict(broken)

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
# Equal outputs do not yet prove equal training. So we send a gradient through both, from the real tokens: what stands at padding is nobody's business.

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
# The largest difference anywhere is below 0.00001 <!-- claim: worst < 1e-5; gpu: < 1e-4 -->. The same function, and the same training.
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
smallest_bug = min(values[-1] for name, values in damage.items() if name != "no bug")

# %% [markdown] id="bugs-notice"
# Each bug changes numbers by 0.01 or more <!-- claim: smallest_bug > 0.01 --> at the end, over a thousand times rounding. None raises an error, and all of them give vectors that look healthy. A parity test with padding and two texts finds every one in a second; without padding and types two of them would pass it.
#
# From here on we use the course's `BertModel`. It is the class above with dropout, input checks and `from_pretrained`.

# %% id="checks"
bert = BertModel.from_pretrained(model_name)
with expect_error(ValueError):
    bert(torch.tensor([[101, 99_999, 102]]))

# %% [markdown] id="heads-intro"
# ## 5. What heads look at, over real text
#
# One map of one sentence proves little, so we count. For 40 real messages and each head we measure how much weight a token gives to the token before it, the one behind it, `[CLS]` and `[SEP]`.

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
    """The mean weight that a head gives to (token before, token behind, [CLS], [SEP]): (L, H, 4)."""
    input_ids = tokenizer(text, return_tensors="pt").input_ids  # (1, T)
    with torch.inference_mode():
        states = bert(input_ids).hidden_states
        maps = torch.stack([layer.attention.weights(h)[0] for layer, h in zip(bert.layers, states, strict=False)])
    before, behind = maps.diagonal(-1, 2, 3).mean(-1), maps.diagonal(1, 2, 3).mean(-1)  # (L, H)
    return torch.stack([before, behind, maps[..., 0].mean(-1), maps[..., -1].mean(-1)], dim=-1)


mean_weight = torch.stack([weight_on(text) for text in messages[:num_maps]]).mean(0)  # (L, H, 4)

# %% [markdown] id="heads-plot-intro"
# Two of the four as pictures: one square per head.

# %% id="heads-plot"
for ax, (kind, name) in zip(
    viz.new_axes((11, 3.6), num_columns=2), [(0, "the token before"), (2, "[CLS]")], strict=True
):
    viz.heatmap(mean_weight[..., kind], xlabel="head", ylabel="layer", title=f"Mean weight on {name}", ax=ax)
strongest = {name: mean_weight[..., kind].max().item() for kind, name in enumerate(["before", "behind", "CLS", "SEP"])}
cls_by_layer = mean_weight[..., 2].mean(-1)
print({name: f"{weight:.2f}" for name, weight in strongest.items()})
cls_growth = (cls_by_layer[1:].mean() / cls_by_layer[0]).item()

# %% [markdown] id="heads-notice"
# One head of the first layer does nothing but look one token back, with 100% <!-- claim: strongest["before"] ~= 1.0 ± 0.01; gpu: skip --> of its weight on any text. From the second layer on, many heads give most of their weight to `[CLS]`: on average over 2 <!-- claim: cls_growth > 2; gpu: skip --> times as much as in the first. Weights must add up to 1, so a head that finds nothing needs a
# place to put them. Attention to a special token is often a head saying *not now*.

# %% [markdown] id="probe-intro"
# ## 6. What does each layer know?
#
# A **probe** asks: can a linear classifier read a fact off the states of a layer? If so, the fact stands there in the open. We take the mean vector of a message at each layer, and three facts, from the surface to the meaning:
#
# * *length*: has it more than 11 words?
# * *order*: were two neighbouring words swapped?
# * *question*: did it end with a question mark (which we took away)?
#
# The control is the same network with random weights: what a probe reads there was put in by nobody.

# %% [markdown] id="ex4-intro"
# ### Exercise 03.4
# First the mean vector. Texts of one batch differ in length, and padding must not count.

# %% id="ex4" exercise="03.4"

# %% [markdown] id="probe-data-intro"
# The data: real messages. For the order probe half of them get two neighbouring words swapped. All three have their last punctuation taken away.


# %% id="probe-data"
def swap_neighbours(text: str, place: int) -> str:
    """The text with word `place` and the one behind it exchanged."""
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
print(probed[0], "|", swapped[2], "|", probed[2])

# %% [markdown] id="probe-encode-intro"
# One pass gives the states of all layers. Texts of similar length go together, so that little is computed on padding.


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


random_bert = BertModel(config).eval()
plain = {"pretrained": layer_means(bert, probed), "random weights": layer_means(random_bert, probed)}
shuffled = {"pretrained": layer_means(bert, swapped), "random weights": layer_means(random_bert, swapped)}

# %% [markdown] id="probe-fit-intro"
# A ridge classifier on three quarters of the messages, accuracy on the rest. **Guess first:** in which layer is the question best visible?


# %% id="probe-fit"
def probe_accuracy(vectors: torch.Tensor, labels: list[bool]) -> float:
    """Accuracy on the last quarter of a linear probe fitted on the rest; vectors (N, D)."""
    cut = len(labels) * 3 // 4
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=300.0)).fit(vectors[:cut], labels[:cut])
    return probe.score(vectors[cut:], labels[cut:])


accuracy = {
    fact: {
        name: [probe_accuracy(layer, labels[fact]) for layer in (shuffled if fact == "order" else plain)[name]]
        for name in plain
    }
    for fact in labels
}

# %% [markdown] id="probe-plot-intro"
# Chance is dotted: the share of the more frequent answer.

# %% id="probe-plot"
titles = {"length": "Length: more than 11 words?", "order": "Order: words swapped?", "question": "Question?"}
for ax, fact in zip(viz.new_axes((13, 3.8), num_columns=3), labels, strict=True):
    share = sum(labels[fact]) / len(labels[fact])
    title = titles[fact]
    viz.lines(
        accuracy[fact],
        xlabel="layer",
        ylabel="accuracy",
        title=title,
        baseline={"chance": max(share, 1 - share)},
        ax=ax,
    )
    ax.set_ylim(0.4, 1.0)
best_question = max(accuracy["question"]["pretrained"])
best_order = max(accuracy["order"]["pretrained"])
random_length = accuracy["length"]["random weights"][-1]
length_loss = accuracy["length"]["pretrained"][0] - accuracy["length"]["pretrained"][-1]
for fact, found in accuracy.items():
    print(fact, {name: [round(value, 2) for value in values] for name, values in found.items()})

# %% [markdown] id="probe-notice"
# Three facts, three stories.
#
# *Length* is there from the start, with random weights too (above 0.85 <!-- claim: random_length > 0.85; smoke: skip --> to the end): whatever mixes vectors of many words leaves traces of how many there were. In the pretrained model the last layer *loses* some of it, 0.04 or more <!-- claim: length_loss > 0.04; smoke: skip -->. *Question* is seen best in
# the middle, over 0.80 <!-- claim: best_question > 0.8; smoke: skip -->, and the last layer loses it as well. But look at the control before you admire it: random weights come nearly as far. Words such as `what` and `do you` give a question away, and the mean of any network's states still holds the words. *Order* is the one fact that takes a trained network. The embeddings hold next to nothing of it, since their mean hardly changes when two words trade places; layers in the middle make it visible, and faintly: 0.55 or better <!-- claim: best_order > 0.55; smoke: skip -->, against a coin's one half. The last layer is back at chance.
#
# Why would a model forget? Because it was asked to. The last step of this model's training was to place texts of the same *meaning* close together, whatever their length or form. What a layer knows follows from what the training rewards, and the best layer for your task need not be the last.
#
# A word of caution. The test set is small, so differences of a few hundredths mean nothing here, and a probe shows what *can* be read off, not what the model uses.

# %% [markdown] id="search-intro"
# ## 7. Search by meaning
#
# The last layer of this model was trained to place texts of like meaning close together. So searching is: encode everything once, encode the question, take the largest cosine. No word needs to match.

# %% id="search"
collection = messages[:num_searched]
index = F.normalize(layer_means(bert, collection)[-1], dim=-1)  # (N, D)
wishes = ["I have trouble sleeping at night", "I am preparing for an exam", "Which films do you enjoy?"]
cosines = F.normalize(layer_means(bert, wishes)[-1], dim=-1) @ index.T  # (3, N)
for wish, row in zip(wishes, cosines, strict=True):
    best = row.topk(2)
    print(wish)
    film_cosine = best.values[0].item()  # of the last wish, when the loop is over
    for cosine, place in zip(*best, strict=True):
        print(f"    {cosine:.2f}  {collection[place]}")

# %% [markdown] id="search-notice"
# Asked about *films*, it finds people who talk about *movies*, with a cosine above 0.45 <!-- claim: film_cosine > 0.45; smoke: skip -->: no word had to match. The collection is small, so not every wish has a good answer in it, and the cosine says so: below about 0.4 the hits are only vaguely related. Lesson 09 builds a chat system on this.

# %% [markdown] id="summary"
# ## Summary
#
# * You built BERT: three tables and a norm, a stack of post-norm blocks, a pooler on `[CLS]`.
# * A formula gave its parameter count exactly; the number of heads did not matter.
# * You loaded real weights name by name and joined three matrices into one. The result equalled Hugging Face's BERT in every hidden state and every gradient.
# * Four common bugs crashed nothing and were found by comparing.
# * Over real messages, one head looked one token back and many rested on `[CLS]`. Probes showed what each layer has in the open.
# * Mean vectors found messages by meaning.
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
