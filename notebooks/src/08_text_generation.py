# ---
# jupyter:
#   course:
#     title: How a model writes
#     question: How does a model write?
#     minutes: 120
#     needs: CPU
#     prerequisites: ["02", "06", "07"]
#     cell_timeout: 120
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 08 · How a model writes
#
# **How does a model write?**
#
# A language model does not write. It gives a probability to every token that might come next, and that is all. Somebody has to choose, put the choice behind the text, and ask again. This lesson is about that somebody: what it can do, what each choice does to a text, and what it costs.
#
# Afterwards you can
#
# * write the loop, and every common way to choose: greedy, temperature, top-k, top-p, repetition penalty, beam search;
# * prove each equal to `generate` of `transformers`;
# * measure repetition and variety, and say why the most probable text is a dull one;
# * keep keys and values in a cache, prove that nothing changes, and say what it costs and saves;
# * write for many prompts at once, and show text as it comes.

# %% [markdown] id="imports-intro"
# The judge of this lesson is `generate` of `transformers`. Ours, in `course_utils.generation`, is what later lessons use. You write the parts that both are made of. `require` raises a `ValueError` that states a rule and the value that broke it; no check asks for it.

# %% id="imports"
from collections import Counter
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers import GPT2LMHeadModel, GPT2Tokenizer

from course_utils import viz
from course_utils.assets import model_path
from course_utils.chat.compare import distinct_n, mean_log_prob
from course_utils.checkpoints import course_gpt, read_training_log
from course_utils.config import require
from course_utils.data.dialogues import clean_conversations, exchanges, load_conversations, split_conversations
from course_utils.data.language_model import conversation_text
from course_utils.exercises import exercise
from course_utils.generation import generate, left_pad, sample_token, stream, temperature_logits
from course_utils.generation.diversity import repeated_share, self_overlap
from course_utils.models.attention import merge_heads, split_heads
from course_utils.models.gpt import GPT
from course_utils.runtime import Timer, expect_error, seed_everything, set_threads

# %% [markdown] id="parameters-intro"
# The model is the course's own GPT, trained by the code of lesson 07. With a network, `course fetch gpt2` in a terminal brings GPT-2 itself, and `"gpt2"` below uses it.

# %% id="parameters" tags=["parameters"]
model_name = "course-gpt"  # or "gpt2", after fetching it
num_greedy_tokens = 120  # of the text that falls into a loop
num_compared = 40  # tokens of the texts that must equal those of transformers
num_draws = 1000  # of one token, to compare shares with probabilities
temperatures = [0.3, 0.5, 0.7, 1.0, 1.2, 1.5]
num_samples = 32  # texts at each temperature
num_sample_tokens = 48
num_documents = 24  # held-out conversations in which nuclei are counted
num_replies = 32  # held-out messages that are answered in section 6
max_reply_tokens = 40
cost_length = 256  # tokens, prompt included, for the cost of a text with and without a cache
seed = 0

# %% [markdown] id="snippet-intro"
# ## 1. Eight lines
#
# Most introductions to GPT-2 begin like this. `GPT2Tokenizer` and `GPT2LMHeadModel` are GPT-2's own classes; they open the course's model because it is stored in GPT-2's format. **Guess first:** the model has read nothing but students' conversations. How will it go on from "Once upon a time"?

# %% id="snippet"
set_threads(2)
seed_everything(seed)
folder = model_path(model_name)

tokenizer = GPT2Tokenizer.from_pretrained(folder)
model = GPT2LMHeadModel.from_pretrained(folder)

input_text = "Once upon a time"
input_ids = tokenizer.encode(input_text, return_tensors="pt")
output = model.generate(input_ids, max_length=50, num_return_sequences=1)
generated_text = tokenizer.decode(output[0], skip_special_tokens=True)
print(generated_text)

# %% [markdown] id="snippet-notice"
# In your notebook `transformers` also shows a progress bar while it loads the weights. Older versions print two warnings here: no attention mask was given, and no padding token. Neither matters for one prompt, which has no padding; section 8 is about where both matter.
#
# Three things in these lines deserve a look. `max_length=50` counts the prompt too, so there are at most 45 <!-- claim: 50 - input_ids.shape[1] == 45; gpu: skip --> new tokens; `max_new_tokens` says what you mean. A single line does all the work, and you cannot see how. And the text is not good: it repeats itself. A small model has a share in that, but not the only one.

# %% [markdown] id="distribution-intro"
# ## 2. One token at a time
#
# So let us look. `gpt` is our own class with the same weights. We ask once: what may follow this message? **Guess first:** how much does the favourite get?


# %% id="distribution"
torch.set_grad_enabled(False)  # nothing is trained in this lesson
gpt = GPT.from_pretrained(folder)
eos_id = gpt.config.eos_id  # the end of a conversation
num_trained = read_training_log(course_gpt.FOLDER)["rows"][-1]["tokens"]
print(f"the course's model was trained on {num_trained:,} tokens of conversations")
prompt_ids = tokenizer.encode("Hi! How are you doing?\n", return_tensors="pt")  # (1, T)
next_logits = gpt(prompt_ids)[:, -1]  # (1, T, V) -> (1, V)
next_p = next_logits[0].softmax(-1)  # (V,)


def name_of(token_id):
    """A token as a label; the end of a text has a long name."""
    return "(end)" if int(token_id) == eos_id else repr(tokenizer.decode(token_id))[1:-1]


def plot_next(p, title, ax, num_shown=10, of=next_p):
    """The probabilities of the `num_shown` tokens that are most probable under `of`, and of all others together."""
    best = of.topk(num_shown).indices
    names = [*map(name_of, best), "all others"]
    heights = [*p[best].tolist(), max(0.0, 1 - p[best].sum().item())]
    ax.bar(names, heights, color=viz.METHODS["GPT"].color)
    ax.tick_params(axis="x", rotation=60)
    ax.set_ylim(0, 1)
    viz.finish(ax, ylabel="probability of the next token", title=title)


plot_next(next_p, "After 'Hi! How are you doing?': one favourite, and a long tail", viz.new_axes((8, 4)), num_shown=16)
favourite, tail = next_p.max().item(), 1 - next_p.topk(16).values.sum().item()
num_for_half = int((next_p.sort(descending=True).values.cumsum(-1) < 0.5).sum()) + 1
print(f"favourite {favourite:.2f}; {num_for_half} tokens hold one half; the last bar holds {tail:.2f}")

# %% [markdown] id="distribution-notice"
# The favourite gets 0.32 <!-- claim: favourite ~= 0.32 ± 0.02; gpu: skip -->. The last bar, nearly eight thousand tokens with almost nothing each, holds 0.37 <!-- claim: tail ~= 0.37 ± 0.02; gpu: skip -->. Keep this picture in mind: everything below is a rule for choosing from it.
#
# ### Exercise 08.1
# Write the loop. How to choose is not its business: it is handed a function `choose`.

# %% id="ex1" exercise="08.1"

# %% [markdown] id="greedy-intro"
# The plainest choice is the largest logit: **greedy** decoding. It is deterministic, so it must equal the library's and `transformers`' token for token.


# %% id="greedy"
def greedy(logits, ids):
    return logits.argmax(-1)


by_hand = continue_text(gpt, prompt_ids, num_compared, greedy, eos_id)
by_library = generate(gpt, prompt_ids, num_compared, eos_id=eos_id)
by_transformers = model.generate(prompt_ids, max_new_tokens=num_compared, do_sample=False)
greedy_equal = by_hand.tolist() == by_library.tolist() == by_transformers.tolist()
print("three greedy texts, the same tokens:", greedy_equal)
print(tokenizer.decode(by_hand[0]))

# %% [markdown] id="greedy-notice"
# Equal: True <!-- claim: greedy_equal == True -->. Now let it write on, for longer, and look at the probability that the model gave to each token it chose. Beside it, a real conversation, read by the same model. **Guess first:** which of the two texts does the model find more probable?

# %% id="loop"
splits = split_conversations(clean_conversations(load_conversations())[0])
human_text = conversation_text(next(c.turns for c in splits["test"] if 300 < sum(map(len, c.turns)) < 900))
human_ids = torch.tensor([tokenizer.encode(human_text)[: prompt_ids.shape[1] + num_greedy_tokens]])
greedy_ids = generate(gpt, prompt_ids, num_greedy_tokens)


def token_probabilities(ids):
    """What the model gave to each token of a text (1, T) after the first: (T - 1,)."""
    return gpt(ids)[0, :-1].softmax(-1).gather(-1, ids[0, 1:, None]).squeeze(-1)


chosen_p = {name: token_probabilities(ids) for name, ids in [("greedy", greedy_ids), ("people", human_ids)]}
ax = viz.new_axes((8, 3.2))
viz.lines(
    chosen_p, xlabel="token", ylabel="its probability", title="Greedy never surprises the model; people do", ax=ax
)
print(tokenizer.decode(greedy_ids[0]))
loop_share = repeated_share(greedy_ids[0].tolist(), 4)
human_share = repeated_share(human_ids[0].tolist(), 4)
late_p = chosen_p["greedy"][-40:].mean().item()
surprises = {name: (p < 0.01).float().mean().item() for name, p in chosen_p.items()}  # tokens below 1%
print(f"runs of four tokens that came before: greedy {loop_share:.0%}, people {human_share:.0%}")
print(f"tokens with a probability below 1%: greedy {surprises['greedy']:.0%}, people {surprises['people']:.0%}")

# %% [markdown] id="loop-notice"
# The text falls into a **loop**. Of its runs of four tokens, 82% <!-- claim: loop_share ~= 0.82 ± 0.1; smoke: > 0.3; gpu: > 0.2 --> came before; in the real conversation fewer than 15% <!-- claim: human_share < 0.15 -->. And not because the model is sure: a token of the loop gets 0.36 <!-- claim: late_p ~= 0.36 ± 0.15; smoke: > 0.15; gpu: > 0.2 --> on average, and the rest is spread over thousands. Greedy decoding does not see that. The largest wins, however small, and once the last words are those of an earlier place, the next choice is likely to be the one made there.
#
# The person surprises the model all the time. 47% <!-- claim: surprises["people"] ~= 0.47 ± 0.05; smoke: > 0.2; gpu: > 0.1 --> of these tokens had a probability below 1%, of greedy's none (0% <!-- claim: surprises["greedy"] == 0; gpu: < 0.1 -->). Nobody talks like the most probable text.

# %% [markdown] id="sample-intro"
# ## 3. Draw
#
# So do not take the largest. Draw a token, each with its own probability. That is **sampling**. Two dials reshape the distribution first.
#
# The **temperature** $\tau$ divides the logits: $p_i \propto e^{z_i / \tau} = (e^{z_i})^{1/\tau}$. Below 1 the favourites gain, above 1 the tail does. As $\tau$ goes to 0, sampling becomes greedy; as it grows, all tokens become equally likely. **Top-k** keeps the $k$ largest, and rules out the tail by giving it minus infinity: the logit of probability 0.
#
# ### Exercise 08.2
# Write both, in this order, and return what to draw from.

# %% id="ex2" exercise="08.2"

# %% [markdown] id="dials-intro"
# The same prompt as above. **Guess first:** at temperature 0.5, does the tail shrink by half, or by more?

# %% id="dials"
V = next_logits.shape[-1]
dials = {
    "as the model says": (1.0, V),
    "temperature 0.5": (0.5, V),
    "temperature 1.5": (1.5, V),
    "top-k 5": (1.0, 5),
}
shaped = {name: top_k_probabilities(next_logits, *dial)[0] for name, dial in dials.items()}
for ax, (name, p) in zip(viz.new_axes((14, 3.8), num_columns=4), shaped.items(), strict=True):
    plot_next(p, name, ax)
tail_of = {name: 1 - p[next_p.topk(10).indices].sum().item() for name, p in shaped.items()}
print("outside of the ten favourites:", {name: round(share, 3) for name, share in tail_of.items()})

# %% [markdown] id="dials-notice"
# By far more than half. Temperature 0.5 squares all probabilities (and scales them to a sum of 1), so what was small becomes tiny: the tail's share falls from 0.43 <!-- claim: tail_of["as the model says"] ~= 0.43 ± 0.02; gpu: skip --> to 0.01 <!-- claim: tail_of["temperature 0.5"] ~= 0.01 ± 0.01; gpu: skip -->. At 1.5 the tail has 0.81 <!-- claim: tail_of["temperature 1.5"] ~= 0.81 ± 0.02; gpu: skip -->, and a draw is mostly noise.
#
# A draw cannot be compared token for token with another draw. Two things can be compared: shares of many draws with probabilities; and, since all three programs draw with `torch.multinomial`, texts that start from the same seed.

# %% id="draws" tags=["nbval-ignore-output"]
ten_p = top_k_probabilities(next_logits, 0.8, 10)[0]  # (V,)
ten = ten_p.topk(10).indices
options = {"temperature": 0.8, "top_k": 10}
drawn = {
    "yours": torch.multinomial(ten_p, num_draws, replacement=True),
    "generate": generate(gpt, prompt_ids, 1, num_samples=num_draws, **options)[:, -1],
    "transformers": model.generate(
        prompt_ids, max_new_tokens=1, do_sample=True, num_return_sequences=num_draws, **options
    )[:, -1],
}
expected = num_draws * ten_p[ten]  # (10,)
print(f"{'':12}", *(f"{name_of(i):>7}" for i in ten))
print(f"{'expected':12}", *(f"{count:7.0f}" for count in expected))
chi_square = {}
for name, tokens in drawn.items():
    counts = torch.bincount(tokens, minlength=V)[ten]  # (10,)
    assert counts.sum() == num_draws  # no token outside of the ten
    chi_square[name] = ((counts - expected).square() / expected).sum().item()
    print(f"{name:12}", *(f"{count:7}" for count in counts), f"  chi-square {chi_square[name]:.1f}")

# %% [markdown] id="draws-notice"
# $\chi^2 = \sum_i (n_i - e_i)^2 / e_i$ adds up the squared distances of counts from what is expected, each measured by its own chance variation. For ten tokens it should be about 9, and above 28 only once in a thousand times. All three stay below 28 <!-- claim: max(chi_square.values()) < 28; gpu: < 40 -->. A rule that differs shows at once: with temperature 1.0 instead of 0.8 you would expect far more.

# %% id="draws-wrong" tags=["nbval-ignore-output"]
torch.manual_seed(seed)
one_p = top_k_probabilities(next_logits, 1.0, 10)[0]
counts = torch.bincount(torch.multinomial(one_p, num_draws, replacement=True), minlength=V)[ten]
chi_square_wrong = ((counts - expected).square() / expected).sum().item()
writers = {
    "yours": lambda: continue_text(
        gpt, prompt_ids, 25, lambda z, ids: torch.multinomial(top_k_probabilities(z, 0.8, 10), 1)[:, 0], eos_id
    ),
    "generate": lambda: generate(gpt, prompt_ids, 25, eos_id=eos_id, **options),
    "transformers": lambda: model.generate(prompt_ids, max_new_tokens=25, do_sample=True, **options),
}
texts = {}
for name, write in writers.items():
    torch.manual_seed(seed)
    texts[name] = write()
same_seed_equal = texts["yours"].tolist() == texts["generate"].tolist() == texts["transformers"].tolist()
print(f"chi-square of a wrong temperature: {chi_square_wrong:.0f}")
print("one seed, three programs, the same tokens:", same_seed_equal)
print(tokenizer.decode(texts["yours"][0]))

# %% [markdown] id="draws-equal"
# The wrong temperature gives more than 40 <!-- claim: chi_square_wrong > 40; smoke: > 15; gpu: > 15 -->. And from one seed all three write the same text: True <!-- claim: same_seed_equal == True -->. One trap of `transformers`: with `do_sample=True` it cuts at the top 50 unless you say `top_k=0`. Pass every dial.

# %% [markdown] id="nucleus-intro"
# ## 4. A cut that adapts
#
# How large should $k$ be? After "How are" nearly all probability is on one token, and five are too many. After "I like" hundreds of tokens make sense, and five are far too few. **Top-p** adapts: keep the most probable tokens until together they hold the share $p$. This set is the **nucleus**.
#
# The token that crosses the line stays. Otherwise the nucleus would hold less than $p$, and where one token holds $p$ by itself it would be empty.
#
# ### Exercise 08.3
# Logits in, logits out: what is ruled out becomes `MINUS_INFINITY`. So filters can follow one another, and softmax comes last.

# %% id="minus-infinity"
MINUS_INFINITY = float("-inf")

# %% id="ex3" exercise="08.3"

# %% [markdown] id="nucleus-look-intro"
# Two prompts, one sure and one open, before and after `top_p=0.9`. `of=p` shows each prompt's own favourites.

# %% id="nucleus-look"
nucleus_size = {}
axes = viz.new_axes((14, 3.8), num_columns=4)
for column, text in enumerate(["Hello! How are", "Hello! I like"]):
    logits = gpt(tokenizer.encode(text, return_tensors="pt"))[:, -1]
    p, cut = logits[0].softmax(-1), top_p_filter(logits, 0.9)[0].softmax(-1)
    nucleus_size[text] = int((cut > 0).sum())
    plot_next(p, f"{text} ...", axes[2 * column], of=p)
    plot_next(cut, f"top-p 0.9 keeps {nucleus_size[text]}", axes[2 * column + 1], of=p)

# %% [markdown] id="nucleus-count-intro"
# The same rule keeps 1 <!-- claim: nucleus_size["Hello! How are"] == 1; gpu: < 60 --> token here and more than 100 <!-- claim: nucleus_size["Hello! I like"] > 100; gpu: > 10 --> there. How often is the model that sure? We count the nucleus at every position of held-out conversations.

# %% id="nucleus-count" tags=["nbval-ignore-output"]
documents = [conversation_text(c.turns) for c in splits["test"] if 200 < sum(map(len, c.turns)) < 500][:num_documents]
sizes = []
for document in documents:
    logits = gpt(torch.tensor([tokenizer.encode(document)[:250]]))[0]  # (T, V)
    sizes += (top_p_filter(logits, 0.9) > MINUS_INFINITY).sum(-1).tolist()
edges = [1, 2, 11, 101, 1001, V + 1]
names = ["1", "2 to 10", "11 to 100", "101 to 1,000", "more"]
share = {
    name: sum(low <= size < high for size in sizes) / len(sizes)
    for name, low, high in zip(names, edges, edges[1:], strict=False)
}
viz.bars(
    share,
    ylabel="share of positions",
    value_format="{:.0%}",
    title="How many tokens hold 90%: from one to thousands",
    ax=viz.new_axes((7, 3.8)),
).set_xlabel("tokens in the nucleus")
print(f"{len(sizes):,} positions; the median nucleus has {sorted(sizes)[len(sizes) // 2]} tokens")

# %% [markdown] id="nucleus-count-notice"
# No single $k$ fits. At 1% <!-- claim: share["1"] ~= 0.01 ± 0.01; smoke: < 0.1; gpu: skip --> of positions one token is enough; at 69% <!-- claim: share["101 to 1,000"] + share["more"] ~= 0.69 ± 0.04; smoke: > 0.5; gpu: skip --> more than a hundred are needed. (A better model is surer: its nuclei are smaller.)
#
# Is it `transformers`' top-p? From one seed, your filter in your loop must write their text.


# %% id="nucleus-equal" tags=["nbval-ignore-output"]
def nucleus(logits, ids):
    return torch.multinomial(top_p_filter(temperature_logits(logits, 0.9), 0.9).softmax(-1), 1)[:, 0]


torch.manual_seed(seed + 1)
nucleus_text = continue_text(gpt, prompt_ids, num_compared, nucleus, eos_id)
torch.manual_seed(seed + 1)
nucleus_theirs = model.generate(
    prompt_ids, max_new_tokens=num_compared, do_sample=True, temperature=0.9, top_k=0, top_p=0.9
)
nucleus_equal = nucleus_text.tolist() == nucleus_theirs.tolist()
print("the same tokens:", nucleus_equal)
print(tokenizer.decode(nucleus_text[0]))

# %% [markdown] id="variety-intro"
# The same tokens: True <!-- claim: nucleus_equal == True -->. (Both draw; without the seed they would differ.)

# %% [markdown] id="variety-goal"
# ## 5. Too much of the same, too much of anything
#
# Which temperature is right? Reading one sample tells little, so we measure many. Three numbers, all on words:
#
# * **distinct-2**: the number of *different* pairs of neighbouring words in all texts together, divided by the number of pairs;
# * **repetition inside a text**: the share of a text's pairs that stood in it before;
# * **self-overlap**: the share of a text's pairs that another text of the same prompt has too, as a mean over pairs of texts. It is the idea of self-BLEU.
#
# The baseline is people: as many beginnings of held-out conversations, cut to the same number of tokens. (The model's texts run on behind `<|endoftext|>`, so that all are equally long.) **Guess first:** at which temperature is the model as varied as people are?

# %% id="variety"
beginnings = [
    tokenizer.encode(d) for d in (conversation_text(c.turns[1:6]) for c in splits["test"][:400]) if len(d) < 700
]
people = [ids[:num_sample_tokens] for ids in beginnings if len(ids) >= num_sample_tokens][:num_samples]


def measure(token_lists):
    """The three numbers, for texts given as token ids."""
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in token_lists]
    words = [text.lower().split() for text in texts]
    inside = sum(repeated_share(w, 2) for w in words) / len(words)
    return {"distinct-2": distinct_n(texts, 2), "inside a text": inside, "between texts": self_overlap(words, 2)}


generator = torch.Generator().manual_seed(seed)
samples, T = {}, prompt_ids.shape[1]
for t in temperatures:
    ids = generate(gpt, prompt_ids, num_sample_tokens, temperature=t, num_samples=num_samples, generator=generator)
    samples[t] = ids[:, T:].tolist()
measured = {t: measure(texts) for t, texts in samples.items()}
of_people = measure(people)

# %% id="variety-plot" tags=["nbval-ignore-output"]
left, right = viz.new_axes((11, 4), num_columns=2)
curve = {name: [measured[t][name] for t in temperatures] for name in of_people}
axis = {"x": temperatures, "xlabel": "temperature"}
viz.lines(
    {"distinct-2": curve["distinct-2"]},
    ylabel="share of pairs that are different",
    title="Variety grows with temperature ...",
    baseline={"people": of_people["distinct-2"]},
    ax=left,
    **axis,
)
viz.lines(
    {name: curve[name] for name in ("inside a text", "between texts")},
    ylabel="share of pairs that are repeated",
    title="... and repetition falls",
    baseline={"people (inside)": of_people["inside a text"]},
    ax=right,
    **axis,
)
cold, warm, hot = min(temperatures), 1.0, max(temperatures)
for t, numbers in [*measured.items(), ("people", of_people)]:
    print(f"{t!s:7}", *(f"{name} {value:.3f}  " for name, value in numbers.items()))
for t in (cold, warm, hot):
    print(f"{t}: {tokenizer.decode(samples[t][0])[:150]!r}")

# %% [markdown] id="variety-notice"
# At temperature 0.3 only 0.24 <!-- claim: measured[cold]["distinct-2"] ~= 0.24 ± 0.1; smoke: < 0.6; gpu: < 1 --> of all pairs are different ones, and at 1.0 it is 0.91 <!-- claim: measured[warm]["distinct-2"] ~= 0.91 ± 0.05; smoke: > 0.7; gpu: <= 1 -->. People: 0.90 <!-- claim: of_people["distinct-2"] ~= 0.90 ± 0.03; smoke: > 0.8; gpu: > 0.8 -->. So the model is about as varied as people are where nothing was reshaped, at temperature 1. That is hardly an accident. Training pulls its probabilities towards how often people chose each token, so a plain draw is about as varied as they are.
#
# But read the three samples. The cold one is fluent and says nothing. The one at 1.0 has people's variety without their sense: each token drawn from the tail is followed by more text about it. At 1.5 the variety is higher than people's, and it is noise. **Variety is not quality**; it only shows when one is missing. In practice one draws a little below 1, or cuts the tail: both trade variety for sense.

# %% [markdown] id="penalty-intro"
# Another cure for loops leaves the rest of the distribution alone. A **repetition penalty** makes tokens that the text already holds, prompt included, less likely: it divides their logits by the penalty. That is the formula of the paper. Careful with the sign: a negative logit, divided by 2, *grows*. So programs multiply negative logits instead.
#
# ### Exercise 08.4
# Write it. `is_token` is False at padding, which is no text; without it, all positions count.

# %% id="ex4" exercise="08.4"

# %% [markdown] id="penalty-look-intro"
# Greedy again, with the penalty in front; at each strength your loop must equal `generate` and `transformers`. **Guess first:** what happens to full stops and to "I" when the penalty is strong?

# %% id="penalty"
penalty_equal, penalty_share = True, {}
for penalty in (1.0, 1.1, 1.3, 2.0):
    yours = continue_text(
        gpt,
        prompt_ids,
        num_compared,
        lambda logits, ids, penalty=penalty: repetition_logits(logits, ids, penalty).argmax(-1),
    )
    library = generate(gpt, prompt_ids, num_compared, repetition_penalty=penalty)
    theirs = model.generate(
        prompt_ids, max_new_tokens=num_compared, do_sample=False, repetition_penalty=penalty, eos_token_id=None
    )
    penalty_equal &= yours.tolist() == library.tolist() == theirs.tolist()
    penalty_share[penalty] = repeated_share(yours[0].tolist(), 4)
    print(f"{penalty}: {penalty_share[penalty]:4.0%} repeated. {tokenizer.decode(yours[0, T:])!r}")
print("always the same tokens:", penalty_equal)

# %% [markdown] id="penalty-notice"
# All equal: True <!-- claim: penalty_equal == True -->. The loop, 51% <!-- claim: penalty_share[1.0] ~= 0.51 ± 0.2; smoke: >= 0; gpu: >= 0 --> repeated without a penalty, is gone at 1.3: below 10% <!-- claim: penalty_share[1.3] < 0.1; gpu: < 0.5 -->. What comes instead is not better writing. The rule hits names, "I", full stops and line breaks like anything else, so a strong penalty makes sentences that never end and words that nobody asked for. It cures the symptom.

# %% [markdown] id="beams-intro"
# ## 6. Look further ahead: beam search
#
# Greedy takes the best next token and may miss the best *text*: a likely first word can lead nowhere. The text of the highest probability cannot be found by trying all: there are $V^n$ of $n$ tokens. **Beam search** keeps the $k$ best beginnings, the beams. Each step extends all of them by every token, which makes $k \cdot V$ candidates, and keeps the best $k$ again.
#
# The score of a text is its log-probability, a sum: $\log p(x_1) + \log p(x_2 \mid x_1) + \ldots$ A text that ends leaves the race and is kept aside. Since every further token makes the sum smaller, texts of different lengths are compared after dividing by a power of their length, the **length penalty** $\alpha$: $\;\text{score} = \log p(x) / n^{\alpha}$.
#
# ### Exercise 08.5
# Write one step. If some of the best candidates end, others must be there to run on. That is why $2k$ are taken: at most $k$ of them end with the end token.

# %% id="ex5" exercise="08.5"

# %% [markdown] id="beams-loop-intro"
# The loop around it, for one prompt. It stops when $k$ texts are finished and the best running one, scored as if it ended now, is no better than the worst of them. With $\alpha = 0$ that is exact. With $\alpha > 0$ it is a rule of thumb, since a longer text could still catch up. `transformers` has the same rule, and so the texts can be equal. At the last step everything ends.


# %% id="beams-loop"
def beam_text(prompt_ids, num_new, num_beams, eos_id, length_penalty=1.0):
    """The best text that `num_beams` beams find: ids (1, T + new)."""
    texts, scores, finished = prompt_ids, torch.zeros(1), []  # (k, T), (k,), pairs (score, text)
    for n in range(1, num_new + 1):
        log_p = gpt(texts)[:, -1].log_softmax(-1)  # (k, V)
        running, ended = beam_step(scores, log_p, eos_id, num_beams)
        if n == num_new:
            ended = sorted(ended + running, reverse=True)[:num_beams]
        finished += [(score / n**length_penalty, [*texts[beam].tolist(), token]) for score, beam, token in ended]
        finished = sorted(finished, reverse=True)[:num_beams]
        scores = torch.tensor([score for score, _, _ in running])
        texts = torch.stack([torch.cat([texts[beam], torch.tensor([token])]) for _, beam, token in running])
        if len(finished) == num_beams and scores[0] / n**length_penalty <= finished[-1][0]:
            break
    return torch.tensor([finished[0][1]])


line_id = tokenizer.encode("\n")[-1]  # a turn of a conversation is a line
beams_equal = True
for num_beams, alpha in [(2, 1.0), (4, 1.0), (4, 0.0)]:
    beam_options = {"num_beams": num_beams, "length_penalty": alpha}
    yours = beam_text(prompt_ids, 20, num_beams, line_id, alpha)
    library = generate(gpt, prompt_ids, 20, eos_id=line_id, **beam_options)
    theirs = model.generate(
        prompt_ids, max_new_tokens=20, do_sample=False, eos_token_id=line_id, pad_token_id=eos_id, **beam_options
    )
    beams_equal &= yours.tolist() == library.tolist() == theirs.tolist()
    print(f"{num_beams} beams, length penalty {alpha}: {tokenizer.decode(yours[0, T:])!r}")
print("always the same tokens:", beams_equal)

# %% [markdown] id="dull-intro"
# All equal: True <!-- claim: beams_equal == True -->. Now the question that matters: is a more probable text a better one? We answer held-out messages in several ways, each reply ending with its line, and ask the *same model* how probable it finds each reply, and what a person really answered. **Guess first:** order these by log-probability per token: the person, a draw, greedy, four beams.

# %% id="dull-prompts"
prompts, human = [], []
for e in list(exchanges(splits["test"], num_context_turns=3, max_chars=150))[::29]:
    context, reply = tokenizer.encode(conversation_text(e.context)), tokenizer.encode(e.reply + "\n")
    if len(context) <= 80 and len(reply) <= max_reply_tokens and len(prompts) < num_replies:
        prompts.append(context)
        human.append(reply)
batch_ids, batch_mask = left_pad(prompts)  # section 8 is about this line


def until_end(row):
    """A reply's tokens up to the end of its line or of the conversation."""
    ends = [i for i, token in enumerate(row) if token in (line_id, eos_id)]
    return row[: ends[0] + 1] if ends else row


def answer_all(**options):
    """The replies to all prompts, as lists of token ids."""
    ids = generate(
        gpt, batch_ids, max_reply_tokens, attention_mask=batch_mask, eos_id=line_id, pad_id=line_id, **options
    )
    return [until_end(row) for row in ids[:, batch_ids.shape[1] :].tolist()]


# %% [markdown] id="dull-run-intro"
# Six ways to answer. `length_penalty=0.0` searches for the most probable reply itself, the sum not divided by anything.

# %% id="dull" tags=["nbval-ignore-output"]
draw = torch.Generator().manual_seed(seed)
replies = {
    "people": human,
    "draw": answer_all(temperature=1.0, generator=draw),
    "top-p 0.9": answer_all(top_p=0.9, generator=draw),
    "greedy": answer_all(),
    "4 beams": answer_all(num_beams=4),
    "4 beams, α = 0": answer_all(num_beams=4, length_penalty=0.0),
}


def summarise(reply_ids):
    """Log-probability per token and per reply, tokens per reply, distinct-2, and the share of the commonest reply."""
    texts = [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in reply_ids]
    sums = [
        len(r) * mean_log_prob(gpt(torch.tensor([p + r]))[0], torch.tensor(p + r), len(p))
        for p, r in zip(prompts, reply_ids, strict=True)
    ]
    num_tokens = sum(map(len, reply_ids))
    commonest = Counter(texts).most_common(1)[0][1]
    N = len(texts)
    return sum(sums) / num_tokens, sum(sums) / N, num_tokens / N, distinct_n(texts, 2), commonest / N


results = {name: summarise(reply_ids) for name, reply_ids in replies.items()}
print(f"{'':15} log p/token  log p/reply  tokens  distinct-2  commonest reply")
for name, (per_token, per_reply, num_tokens, variety, common) in results.items():
    print(f"{name:15} {per_token:11.2f} {per_reply:12.1f} {num_tokens:7.1f} {variety:11.2f} {common:16.0%}")

# %% [markdown] id="dull-read-intro"
# And the replies themselves, to the first four messages.

# %% id="dull-read" tags=["nbval-ignore-output"]
viz.bars(
    {name: -result[0] for name, result in results.items()},
    ylabel="−log probability (nats per token)",
    value_format="{:.2f}",
    title="People write text that the model finds improbable",
    ax=viz.new_axes((9, 3.8)),
)
for i in range(4):
    print(f"> {tokenizer.decode(prompts[i]).splitlines()[-1]}")
    for name in ("people", "top-p 0.9", "greedy", "4 beams"):
        print(f"    {name:10} {tokenizer.decode(replies[name][i], skip_special_tokens=True).strip()}")
log_p = {name: result[0] for name, result in results.items()}
lengths = {name: result[2] for name, result in results.items()}
distinct = {name: result[3] for name, result in results.items()}

# %% [markdown] id="dull-notice"
# The most probable replies are the dullest. (These are few replies: chance moves the table by some tenths.) People's replies get -4.1 <!-- claim: log_p["people"] ~= -4.1 ± 0.1; smoke: < -2; gpu: < -2 --> nats per token, plain draws not far from them (a difference below 0.8 <!-- claim: abs(log_p["people"] - log_p["draw"]) < 0.8; smoke: < 2; gpu: < 2 -->). Greedy gets more than 1.5 <!-- claim: log_p["greedy"] - log_p["people"] > 1.5; smoke: > 0.5; gpu: > 0.5 --> nats more than people, and beams more than greedy: +0.27 <!-- claim: log_p["4 beams"] - log_p["greedy"] ~= 0.27 ± 0.2; smoke: > -0.3; gpu: > -0.5 -->.
#
# So beam search does its job. It finds what the model thinks most probable, and that is a platitude that fits everywhere: distinct-2 falls from people's 0.97 <!-- claim: distinct["people"] ~= 0.97 ± 0.02; smoke: > 0.9; gpu: > 0.9 --> to less than 0.4 <!-- claim: distinct["4 beams"] < 0.4; smoke: < 0.9; gpu: < 0.95 -->. (More words lower this share too. But greedy's replies are about as long as people's, and stay below 0.5 <!-- claim: distinct["greedy"] < 0.5; smoke: < 0.95; gpu: < 0.95 -->.)
#
# The last row shows why the length penalty is there. The most probable reply as a whole is short: each token costs, so α = 0 says little, at fewer than 0.8 <!-- claim: lengths["4 beams, α = 0"] / lengths["people"] < 0.8; smoke: < 1.2; gpu: < 1.2 --> times people's tokens. Divided by length, long ones win again: the default gives 22 <!-- claim: lengths["4 beams"] ~= 22 ± 3; smoke: > 5; gpu: > 3 --> tokens, where people use 14 <!-- claim: lengths["people"] ~= 14 ± 1; smoke: > 3; gpu: > 3 -->. In a weak model the cheapest long text is a loop.
#
# A conversation has no single right continuation, and whoever looks for the most probable one finds the average of all. Beam search has its place where the answer is nearly fixed by the input, as in translation.

# %% [markdown] id="cache-intro"
# ## 7. The cache
#
# Your loop reads the whole text again for every new token. Almost all of it is the same work. A GPT looks only backwards, so what an early position computes never changes when text is added. What do later positions need of it? In attention, its **key** and **value** in each layer, and nothing else: its query has been answered. So keep these two. That store is the **key/value cache**.
#
# Here is a whole pass of GPT-2 in three pieces, written with the parts of the course's model. `read` reads everything.


# %% id="pieces"
def queries_keys_values(layer, x):
    """What a layer's attention computes of the states x (B, T, D): queries, keys, values, (B, H, T, K) each."""
    qkv = layer.attention.qkv(layer.attention_norm(x))  # (B, T, 3 D)
    return [split_heads(part, layer.attention.num_heads) for part in qkv.chunk(3, dim=-1)]


def finish_layer(layer, x, heads):
    """The rest of a layer, once its heads (B, H, T, K) have looked: states (B, T, D) for the next layer."""
    x = x + layer.attention.output(merge_heads(heads))
    return x + layer.feed_forward(layer.feed_forward_norm(x))


def read(model, token_ids):
    """Logits (B, T, V) for ids (B, T), with nothing remembered."""
    x = model.token_embedding(token_ids) + model.position_embedding.weight[: token_ids.shape[1]]
    for layer in model.layers:
        heads = F.scaled_dot_product_attention(*queries_keys_values(layer, x), is_causal=True)
        x = finish_layer(layer, x, heads)
    return model.logits(model.norm(x))


print("the whole model in three pieces:", torch.allclose(read(gpt, prompt_ids), gpt(prompt_ids), atol=1e-4))

# %% [markdown] id="cache-exercise"
# With a cache, T *new* tokens are read behind S - T old ones. Three things change: where the new positions begin, what their queries look at, and the mask, which is no square any more.
#
# ### Exercise 08.6
# Write `read_new`. The cache is handed in and a longer one is handed back.

# %% id="ex6" exercise="08.6"

# %% [markdown] id="cache-check-intro"
# Is it exact? Write a text with your cache. The first step reads the prompt, each later one a single token, and its mask is all True: it sees everything before it.


# %% id="cache-check"
def write_with_cache(ids, num_new):
    """Greedy text, each token read once: ids (1, T + new), and the logits on the way, (new, V)."""
    unread, cache, steps = ids, None, []
    for _ in range(num_new):
        logits, cache = read_new(gpt, unread, cache)
        unread = logits[:, -1].argmax(-1, keepdim=True)  # (1, 1)
        steps.append(logits[0, -1])
        ids = torch.cat([ids, unread], dim=1)
    return ids, torch.stack(steps), cache


cached_ids, cached_logits, your_cache = write_with_cache(prompt_ids, num_compared)
plain_ids = continue_text(gpt, prompt_ids, num_compared, greedy)
plain_logits = gpt(plain_ids)[0, T - 1 : -1]  # (new, V)
cache_difference = (cached_logits - plain_logits).abs().max().item()
cache_identical = cached_ids.tolist() == plain_ids.tolist() == generate(gpt, prompt_ids, num_compared).tolist()
print(f"the same {num_compared} tokens: {cache_identical}; logits equal: {cache_difference < 1e-3}")
theirs = [
    model.generate(prompt_ids, max_new_tokens=num_compared, do_sample=False, use_cache=use_cache, eos_token_id=None)
    for use_cache in (True, False)
]
print("transformers with and without its cache, the same tokens:", theirs[0].tolist() == theirs[1].tolist())

# %% [markdown] id="cost-intro"
# Token for token the same (True <!-- claim: cache_identical == True -->), and logits within 0.001 <!-- claim: cache_difference < 1e-3; gpu: < 1e-2 -->: other sums in another order, so not the last bit. The cache is no approximation.
#
# What does it save? Without it, the token behind $n$ others costs a pass over $n$ positions, and a text of $N$ tokens about $N^2 / 2$ in all. With it, one position each. We take the time at every token, and of three runs the fastest. **Guess first:** what shapes will the two curves have?


# %% id="cost"
def token_times(use_cache: bool) -> list[float]:
    """Seconds from the start to each new token."""
    times = []
    with Timer() as timer:
        generate(
            gpt,
            prompt_ids,
            cost_length - T,
            use_cache=use_cache,
            on_token=lambda _: times.append(timer.seconds),
        )
    return times


elapsed = {}
for name, use_cache in [("with cache", True), ("no cache", False)]:
    runs = [token_times(use_cache) for _ in range(4)]
    elapsed[name] = min(runs[1:], key=max)  # the first run warms up; the fastest was disturbed least
text_lengths = list(range(T + 1, cost_length + 1))
fastest = elapsed["with cache"][-1]
viz.lines(
    {name: [seconds / fastest for seconds in times] for name, times in elapsed.items()},
    x=text_lengths,
    xlabel="tokens in the text",
    ylabel="time so far (whole text with cache = 1)",
    title="Without a cache each token costs more than the last",
)
cost_ratio = elapsed["no cache"][-1] / fastest
tenth = len(text_lengths) // 10
late_over_early = (elapsed["no cache"][-1] - elapsed["no cache"][-1 - tenth]) / elapsed["no cache"][tenth]
positions = sum(text_lengths) - len(text_lengths), cost_length - 1
print(f"positions read: {positions[0]:,} without, {positions[1]:,} with")

# %% [markdown] id="cost-notice"
# A straight line, and a curve that bends upwards: without a cache the last tenth of the text took more than 1.5 <!-- claim: late_over_early > 1.5; smoke: > 0.7; gpu: > 0.7 --> times as long as the first. At the end the cache is ahead by a factor of more than 3 <!-- claim: cost_ratio > 3; smoke: > 1.2; gpu: > 1.2 -->. Counted in positions it would be 128 <!-- claim: positions[0] / positions[1] ~= 128 ± 1; smoke: skip; gpu: skip -->. Time falls less, because a pass over one position is not that much cheaper than over a hundred: all weights must be fetched from memory, and every operation started, either way. (The line is not quite straight: a new query still looks at all keys. In short texts that is little beside the rest.)
#
# The price is memory: for each layer and position, a key and a value of width $D$ (less with shared heads, lesson 06), for each text in the batch.


# %% id="memory"
def cache_bytes(num_layers, d_model, num_positions, bytes_per_number=4):
    """Keys and values of one text."""
    return 2 * num_layers * num_positions * d_model * bytes_per_number


config = gpt.config
S = your_cache[0][0].shape[2]
by_formula = cache_bytes(config.num_layers, config.d_model, S)
yours = sum(stored.nbytes for keys_and_values in your_cache for stored in keys_and_values)
library = gpt.make_cache(batch_size=1, max_length=S).num_bytes
their_cache = model(cached_ids[:, :S], use_cache=True).past_key_values
theirs_bytes = sum(layer.keys.nbytes + layer.values.nbytes for layer in their_cache.layers)
print(
    f"{S} positions: formula {by_formula:,}, yours {yours:,}, the library's {library:,}, transformers' {theirs_bytes:,}"
)
full = {
    "this model": cache_bytes(config.num_layers, config.d_model, config.context_length),
    "GPT-2": cache_bytes(12, 768, 1024),
    "GPT-3, 2 bytes a number": cache_bytes(96, 12_288, 2048, bytes_per_number=2),
}
for name, num_bytes in full.items():
    print(f"{name:24} {num_bytes / 1e6:9,.1f} MB for one full context")

# %% [markdown] id="memory-notice"
# Formula and all three caches agree to the byte: True <!-- claim: by_formula == yours == library == theirs_bytes == True -->. Our model's full context takes 1.6 <!-- claim: full["this model"] / 1e6 ~= 1.6 ± 0.05; gpu: skip --> MB. For GPT-3 it is 9,664 <!-- claim: full["GPT-3, 2 bytes a number"] / 1e6 ~= 9664 ± 1 --> MB, almost ten gigabytes for a single conversation. A server stores the weights once, but a cache for each conversation, and so it is often the cache that limits how many it can hold.

# %% [markdown] id="batch-intro"
# ## 8. Many prompts, and text as it comes
#
# Prompts have different lengths, and a batch is a rectangle. The shorter ones are padded, **on the left**: new tokens are put at the right end, and they must follow the prompt. The mask says where tokens are, so that nobody looks at padding and positions are counted from each prompt's first token.
#
# ### Exercise 08.7
# You used `left_pad` in section 6. Now write it.

# %% id="ex7" exercise="08.7"

# %% [markdown] id="batch-look-intro"
# Three prompts at once must give what each gives alone, in both programs.

# %% id="batch"
three = [
    tokenizer.encode(text)
    for text in ["Hello!\n", "What is your favorite movie?\n", "I have a dog and a cat. Do you?\n"]
]
ids, mask = left_pad(three, pad_id=eos_id)
together = generate(gpt, ids, 15, attention_mask=mask)
alone = [generate(gpt, [prompt], 15)[0] for prompt in three]
theirs = model.generate(
    ids, attention_mask=mask, max_new_tokens=15, do_sample=False, eos_token_id=None, pad_token_id=eos_id
)
batch_equal = all(
    row[ids.shape[1] - len(p) :].tolist() == one.tolist() for row, p, one in zip(together, three, alone, strict=True)
) and torch.equal(together, theirs)
print(mask.int())
print("together = one by one = transformers:", batch_equal)

# %% [markdown] id="right-intro"
# Equal: True <!-- claim: batch_equal == True -->. What if we pad on the right, as BERT's tokenizer does? The last position of a short prompt is then padding, and its logits say what follows *padding*. `generate` refuses. A loop that does not look writes nonsense without an error:

# %% id="right"
right_ids, right_mask = ids.clone(), mask.flip(1)
for row, prompt in enumerate(three):
    right_ids[row] = torch.tensor(prompt + [eos_id] * (ids.shape[1] - len(prompt)))
with expect_error(ValueError):
    generate(gpt, right_ids, 15, attention_mask=right_mask)
after_padding = gpt(right_ids, attention_mask=right_mask)[:, -1].softmax(-1)  # (3, V)
after_prompt = torch.cat([gpt(torch.tensor([prompt]))[:, -1] for prompt in three]).softmax(-1)
right_distance = (after_padding - after_prompt).abs().sum(-1) / 2  # total variation, 0 to 1
print("distance from the right distribution:", [round(d, 2) for d in right_distance.tolist()])

# %% [markdown] id="stream-intro"
# The two padded prompts are off by more than 0.1 <!-- claim: right_distance[:2].min().item() > 0.1 --> in total variation (half of all absolute differences, from 0 to 1); the longest, which has no padding, is right.
#
# **Streaming** shows tokens when they are chosen. `stream` is `generate` as a generator, and gives the same tokens. A reader waits for the first token instead of the last.

# %% id="stream" tags=["nbval-ignore-output"]
written, first_s = [], None
with Timer() as timer:
    for token in stream(gpt, prompt_ids, 60, top_p=0.9, generator=torch.Generator().manual_seed(seed)):
        first_s = first_s or timer.seconds
        written.append(token.item())
        print(tokenizer.decode(token), end="|")
first_share = first_s / timer.seconds
whole = generate(gpt, prompt_ids, 60, top_p=0.9, generator=torch.Generator().manual_seed(seed))
stream_equal = written == whole[0, T:].tolist()

# %% [markdown] id="bytes-intro"
# The same tokens: True <!-- claim: stream_equal == True -->. The first was there after less than a fifth <!-- claim: first_share < 0.2 --> of the time. One trap remains: tokens are made of *bytes* (lesson 01), and a character may be spread over several of them. Decoded one by one, they are no characters.

# %% id="bytes"
emoji_ids = tokenizer.encode("Ça va? 🦔")
print("one by one:", [tokenizer.decode([i]) for i in emoji_ids])
shown, waiting = [], []
for i in emoji_ids:
    waiting.append(i)
    text = tokenizer.decode(waiting)
    if not text.endswith("\ufffd"):  # the mark of bytes that are no character, or not yet
        shown.append(text)
        waiting = []
print("held back: ", shown)
bytes_equal = "".join(shown) == "Ça va? 🦔"

# %% [markdown] id="bad-intro"
# Holding incomplete bytes back gives the text: True <!-- claim: bytes_equal == True -->.

# %% [markdown] id="bad-goal"
# ## 9. What cannot work
#
# Generation fails in quiet ways: a prompt cut in silence, a filter that leaves nothing, a temperature of 0 that divides by zero. The library refuses all of them, with the rule and the value. Read each and ask what would have happened otherwise.

# %% id="bad"
long_prompt = torch.zeros(1, config.context_length, dtype=torch.long)
bad_calls = {
    "prompt fills the context": lambda: generate(gpt, long_prompt, 1),
    "empty prompt": lambda: generate(gpt, [[]], 5),
    "prompts of unequal lengths": lambda: generate(gpt, three, 5),
    "top_k = 0": lambda: generate(gpt, prompt_ids, 5, top_k=0),
    "top_k above the vocabulary": lambda: generate(gpt, prompt_ids, 5, top_k=V + 1),
    "temperature 0": lambda: generate(gpt, prompt_ids, 5, temperature=0.0),
    "temperature below 0": lambda: generate(gpt, prompt_ids, 5, temperature=-0.7),
    "everything ruled out": lambda: sample_token(torch.full((1, V), MINUS_INFINITY)),
}
for name, call in bad_calls.items():
    print(f"-- {name}")
    with expect_error(ValueError):
        call()

# %% [markdown] id="bad-notice"
# A conversation longer than the context needs a decision that no library can take for you: which part to drop. Lesson 09 makes it.

# %% [markdown] id="summary"
# ## Summary
#
# * A model gives a distribution; a loop chooses, appends and asks again. You wrote it, and it equalled `generate` for every way to choose.
# * Greedy decoding fell into a loop, though the model was not sure of it. Temperature, top-k and top-p reshaped the distribution; top-p adapted to how sure the model was, where no single k could.
# * Drawn at temperature 1 the texts were as varied as people's, though not as sensible. Variety is a symptom, not quality.
# * Beam search found more probable texts than people write, and they were generic. The most probable reply as a whole was a short one.
# * The key/value cache changed no token. It turned a quadratic number of positions read into a linear one, and costs memory for every position of every text.
# * Prompts are padded on the left, tokens are streamed with incomplete bytes held back.
#
# The formula to keep: a cache takes $2 \cdot \texttt{num\_layers} \cdot S \cdot D$ numbers for each text.

# %% [markdown] id="references"
# ## References
#
# * A. Holtzman et al., *The Curious Case of Neural Text Degeneration*, 2020, [arXiv:1904.09751](https://arxiv.org/abs/1904.09751), sections 3 and 4: top-p, loops, and how probable human text is.
# * A. Fan et al., *Hierarchical Neural Story Generation*, 2018, [arXiv:1805.04833](https://arxiv.org/abs/1805.04833), section 5.4: top-k.
# * N. Keskar et al., *CTRL*, 2019, [arXiv:1909.05858](https://arxiv.org/abs/1909.05858), section 4.1: the repetition penalty.
# * J. Li et al., *A Diversity-Promoting Objective Function for Neural Conversation Models*, 2016, [arXiv:1510.03055](https://arxiv.org/abs/1510.03055), sections 3 and 5: generic replies, distinct-n.
# * Y. Zhu et al., *Texygen*, 2018, [arXiv:1802.01886](https://arxiv.org/abs/1802.01886), section 3: self-BLEU. S. Welleck et al., *Neural Text Generation with Unlikelihood Training*, 2020, [arXiv:1908.04319](https://arxiv.org/abs/1908.04319), section 6.1: repetition inside a text.
# * F. Stahlberg and B. Byrne, *On NMT Search Errors and Model Errors: Cat Got Your Tongue?*, 2019, [arXiv:1908.10090](https://arxiv.org/abs/1908.10090), section 3: the most probable text is often empty. C. Meister et al., *If Beam Search is the Answer, What was the Question?*, 2020, [arXiv:2010.02650](https://arxiv.org/abs/2010.02650), section 4.
# * R. Pope et al., *Efficiently Scaling Transformer Inference*, 2022, [arXiv:2211.05102](https://arxiv.org/abs/2211.05102), section 2: what the cache costs.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
