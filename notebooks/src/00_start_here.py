# ---
# jupyter:
#   course:
#     title: Start here
#     question: Is my machine ready, and how does this course work?
#     minutes: 40
#     needs: CPU
#     prerequisites: []
#     cell_timeout: 60
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 00 · Start here
#
# **Is my machine ready, and how does this course work?**
#
# Welcome. In the next ten minutes a real language model will answer a question of yours, on this computer, without a network. Then a real BERT will find out
# which sentences mean the same. After that you know what a lesson looks like, and you solve your first two exercises.
#
# Afterwards you can
#
# * say whether this machine is ready, and what to do if it is not;
# * ask a chat model a question, and explain why its answer may be wonderful English and still be false;
# * find the sentence that means the same as another one;
# * count the parameters of a network by hand, and in code;
# * read what an exercise tells you, and find your place in the course again tomorrow.
#
# You need some Python. Everything about models and distributed training is taught from the beginning.

# %% [markdown] id="imports-intro"
# **How to run a notebook:** click into a grey cell and press <kbd>Shift</kbd>+<kbd>Enter</kbd>. The code runs, its result appears below, and the next cell is
# selected. Run the cells from top to bottom. The first ones load the libraries, which takes a few seconds.

# %% id="imports"
import textwrap

import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, TextStreamer

from course_utils import doctor_view, viz
from course_utils.assets import asset_path
from course_utils.exercises import demo, exercise, progress_view

# %% [markdown] id="parameters-intro"
# Every lesson has one cell like the next one. It holds the numbers and texts worth playing with. Change them, run the notebook again, and see what happens.

# %% id="parameters" tags=["parameters"]
question = "Tell me a fun fact about octopuses in one sentence."  # what the chat model is asked
max_new_tokens = 40  # the longest answer, in tokens (pieces of words)
request = "There is a wrong payment on my statement."  # what BERT looks for

# %% [markdown] id="machine"
# ## 1. Is this machine ready?
#
# The course's doctor looks at Python, the packages, memory, disk, and whether the models and data it needs are complete. It changes nothing. Each line that is
# not OK says what to do. In a terminal, `course doctor` shows the same table.

# %% id="doctor" tags=["nbval-ignore-output"]
doctor_view.show()

# %% [markdown] id="machine-after"
# A line marked WARN is worth knowing and stops nothing. A line marked FAIL should be fixed first: type the command it names in a terminal (in JupyterLab:
# *File → New → Terminal*), then run the cell above again. No GPU? You do not need one. Every lesson is made for two processor cores.

# %% [markdown] id="chat-load-intro"
# ## 2. Talk to a language model
#
# We load SmolLM2, a small chat model. It is real: trained on trillions of tokens of text by people with many GPUs, and small enough for this machine. It came to
# you inside an ordinary Python package, so nothing is downloaded now.
#
# A model is two things: a *tokenizer*, which cuts text into numbered pieces, and a *network*, a function with very many adjustable numbers, its **parameters**.

# %% id="chat-load"
chat_folder = asset_path("smollm2")
tokenizer = AutoTokenizer.from_pretrained(chat_folder)
chat_model = AutoModelForCausalLM.from_pretrained(chat_folder)

num_chat_parameters = sum(parameter.numel() for parameter in chat_model.parameters())
chat_megabytes = 4 * num_chat_parameters / 1e6  # four bytes for each number
print(f"{num_chat_parameters:,} parameters, {chat_megabytes:.0f} MB of memory")

# %% [markdown] id="chat-load-after"
# So 134,515,008<!-- claim: num_chat_parameters == 134515008 --> numbers, and 538<!-- claim: chat_megabytes ~= 538 ± 1 --> MB. Among today's language models
# that is tiny; the ones behind large services are a thousand times larger. Remember the number for the exercise below.
#
# Now we ask. A chat model has learned to continue a *conversation*, so we write our question as one: a list of messages, each with a role. The tokenizer turns it
# into the form the model was trained on (lesson 09 takes that form apart), and `generate` continues it, token by token.


# %% id="ask"
def conversation(question: str):
    """The question as the token ids that the model was trained to answer."""
    messages = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)


def ask(question: str) -> str:
    """Let the model answer, writing each word as it is found; returns the answer."""
    inputs = conversation(question)
    writer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    token_ids = chat_model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, streamer=writer)
    answer_ids = token_ids[0, inputs["input_ids"].shape[1] :]  # what follows the question
    return tokenizer.decode(answer_ids, skip_special_tokens=True)


# %% [markdown] id="ask-run-intro"
# **Guess first:** how good can an answer be that a model of this size writes on your own machine?

# %% id="ask-run"
answer = ask(question)

# %% [markdown] id="ask-after"
# Perfect English, said with confidence, and (with our question) nonsense. Octopuses play no guitar. Keep this answer in mind when a much larger model sounds
# convincing.
#
# **Your turn.** Type your own question between the quotes and run the cell. Try a fact (`What is the capital of France?`), a task
# (`Write two sentences about the sea.`), something you know better than the model does.

# %% id="ask-yours"
your_answer = ask("What is the capital of France?")

# %% [markdown] id="next-token-intro"
# ### Why would anyone teach an octopus the guitar?
#
# Because a language model answers one question only: **which token comes next?** It gives every token of its vocabulary a probability. `generate` took the most
# probable one, appended it, and asked again, until a special token said *the end*.
#
# Let us look at the moment before the last word. We hand the model the conversation and its own answer without the last word, and read the probabilities it
# gives to what could follow. *Logits* are the scores, one for each token; `softmax` turns them into probabilities that add up to 1.

# %% id="next-token"
beginning = " ".join(answer.split()[:-1])  # the answer without its last word
beginning_ids = tokenizer(beginning, return_tensors="pt")["input_ids"]
token_ids = torch.cat([conversation(question)["input_ids"], beginning_ids], dim=1)  # (1, T)

with torch.inference_mode():
    logits = chat_model(token_ids).logits[0, -1]  # (V,): one score for each token of the vocabulary
probabilities = logits.softmax(-1)
print(f"{len(probabilities):,} tokens to choose from, probabilities add up to {probabilities.sum():.2f}")

# %% [markdown] id="next-token-plot-intro"
# The five it liked best:

# %% id="next-token-plot"
best = probabilities.topk(5)
candidates = {tokenizer.decode(i).strip(): p for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)}
viz.bars(
    candidates,
    ylabel="probability of being the next token",
    value_format="{:.2f}",
    title=f"“... {' '.join(beginning.split()[-6:])} ___”\nLikely is not the same as true",
)

# %% [markdown] id="next-token-after"
# With our question, *guitar* got 0.16<!-- claim: max(candidates.values()) ~= 0.16 ± 0.01 --> and *piano*
# 0.11<!-- claim: sorted(candidates.values())[-2] ~= 0.11 ± 0.01 -->. (A bar like `f` begins a longer word: tokens are often pieces.) Far from certain, and still one
# of them had to be written. In the text the model learned from, things one plays are instruments and games, and nothing in its training asked whether an
# octopus was ever taught one. Lessons 06 to 08 build such a model and show other ways to choose from these bars; lesson 09 turns it into a dialogue.

# %% [markdown] id="bert-intro"
# ## 3. Let BERT find what you mean
#
# BERT is the other family. It does not write; it *reads*, both directions at once, and turns each token into a vector that depends on all its neighbours. Averaged over
# a sentence, these vectors become one point in space (an *embedding*). After some extra training on pairs of sentences, those that mean the same end up close to each other.
#
# We load a small BERT that had this training, MiniLM, and embed five sentences.

# %% id="bert-load"
bert_folder = asset_path("minilm")
bert_tokenizer = AutoTokenizer.from_pretrained(bert_folder)
bert = AutoModel.from_pretrained(bert_folder)

sentences = [
    "The puppy has a fever.",
    "My laptop refuses to start.",
    "The film was a waste of time.",
    "We had a picnic on the river bank.",
    "The bank charged me twice.",
]

# %% [markdown] id="embed-intro"
# Sentences differ in length, so short ones are filled up with *padding*, and the mask says which tokens are real: only those may count in the mean. At the end we scale every vector to
# length 1. Then a simple dot product tells how similar two sentences are: 1 for the same direction, 0 for nothing in common.


# %% id="embed"
@torch.inference_mode()
def embed(texts: list[str]) -> torch.Tensor:
    """One vector of length 1 for each text: (N, D)."""
    inputs = bert_tokenizer(texts, padding=True, return_tensors="pt")
    hidden_states = bert(**inputs).last_hidden_state  # (N, T, D): one vector for each token
    mask = inputs["attention_mask"].unsqueeze(-1)  # (N, T, 1): 1 for real tokens, 0 for padding
    mean = (hidden_states * mask).sum(dim=1) / mask.sum(dim=1)  # (N, D)
    return F.normalize(mean, dim=-1)


# %% [markdown] id="search-intro"
# **Guess first:** our request is *"There is a wrong payment on my statement."* Two of the five sentences contain the word *bank*. Which one will BERT choose, and how
# far behind will the other be?

# %% id="search"
similarities = embed([request]) @ embed(sentences).T  # (1, D) @ (D, N) -> (1, N)
for row in similarities[0].argsort(descending=True).tolist():
    print(f"{similarities[0, row]:5.2f}  {sentences[row]}")

# %% [markdown] id="search-after"
# The bank that charges money wins with 0.53<!-- claim: similarities.max() ~= 0.53 ± 0.01 -->. The bank of the river, where people have picnics, is only third, behind a laptop. The
# request has no word in common with the winner, but shares *a*, *my* or *on* with other sentences: a search for words would have put the right one last.
#
# Is that luck? Here are five such pairs at once. Every row should be most similar to the sentence with the same meaning, the one on the diagonal.

# %% id="pairs"
statements = [
    "My dog is ill.",
    "The computer does not boot.",
    "The movie was boring.",
    "I sat by the water.",
    "There is a wrong payment on my statement.",
]
matrix = embed(statements) @ embed(sentences).T  # (5, D) @ (D, 5) -> (5, 5)
num_found = (matrix.argmax(dim=1) == torch.arange(5)).sum().item()
largest_other = matrix[~torch.eye(5, dtype=torch.bool)].max().item()
print(
    f"{num_found} of 5 found; weakest right pair {matrix.diagonal().min():.2f}, strongest wrong pair {largest_other:.2f}"
)

# %% [markdown] id="pairs-plot-intro"
# As a picture, the darker the more similar:

# %% id="pairs-plot"
viz.heatmap(
    matrix,
    xticks=[textwrap.fill(text.rstrip("."), 14) for text in sentences],
    yticks=[text.rstrip(".") for text in statements],
    xlabel="",
    ylabel="",
    texts=[[f"{value:.2f}" for value in row] for row in matrix.tolist()],
    value_label="similarity (cosine)",
    title="Same meaning, other words: the diagonal stands out",
    ax=viz.new_axes((8.5, 5.5)),
)

# %% [markdown] id="pairs-after"
# All 5<!-- claim: num_found == 5 --> were found. The weakest right pair has 0.38<!-- claim: matrix.diagonal().min() ~= 0.38 ± 0.01 -->, well above the strongest wrong
# one, 0.21<!-- claim: largest_other ~= 0.21 ± 0.01 -->. That one is *water* and the bank that charges you. Is it the river in the word *bank*? A good guess, and wrong to believe untested: put *hotel* in its place and look again. Nobody wrote rules about dogs and puppies: it is all in 22,713,216<!-- claim: bert.num_parameters() == 22713216 --> trained numbers.
#
# Try to confuse it: set `request` to `"My dog chewed through the laptop cable."` in the parameters cell and run the search again. Which sentence would *you* choose? Lessons 02 to 05 open
# this model, build it from nothing, and train it for a task.

# %% [markdown] id="lesson-anatomy"
# ## 4. How a lesson works
#
# Every lesson is built like the part you just read: *why*, the smallest code that shows it, a look at the result, what to notice.
#
# * **Guess first.** Where a cell asks for a guess, write one down. Being surprised is how this sticks.
# * **Numbers in the text are checked.** A number you read here, such as a similarity above, is compared with the result of the code whenever the course is tested. If the two
#   disagree, the lesson is not released. On your machine the last digit may still differ.
# * **Parameters and profiles.** The values in the parameters cell suit a laptop. A *profile* is another set of values: `smoke` for a quick test, `gpu` for larger models and more data. The
#   code stays the same: `course run 05 --profile gpu` runs lesson 05 with them and keeps the result in `build/`, apart from your notebooks.
# * **Nothing breaks.** If a notebook is in a mess: *Kernel → Restart Kernel*, then run it from the top.
#
# ## 5. How exercises answer
#
# An exercise is a cell with a gap: a function without a body, or a variable without a value. The next cell checks what you wrote, in a moment, and gives one of **four answers**. Here they
# are, for four attempts at a function that should return the last word of a text. Read all four.


# %% id="four-attempts"
def untouched(text: str) -> str:
    """The last word of a text."""
    raise NotImplementedError("exercise 00.0")


def with_a_mistake(text: str) -> str:
    return text.split()[0]


def with_a_bug(text: str) -> str:
    return text.split[-1]


def right(text: str) -> str:
    return text.split()[-1]


# %% [markdown] id="four-answers-intro"
# Before you look at the answers: what is wrong with the second, and with the third?

# %% id="four-answers"
for attempt in (untouched, with_a_mistake, with_a_bug, right):
    demo.try_out(attempt)

# %% [markdown] id="four-answers-after"
# * **to do**: nothing written yet. Nothing blocks: the lesson goes on with the course's version, so *Run All* always reaches the end.
# * **not yet**: the code runs, and its result is wrong. You see what was tried, what was expected, what came out; and, if your mistake is a well-known one, its name. The question is the one a teacher would ask.
# * **error**: your code raised an exception. You see your own line, not a page of traceback.
# * **passed**: it says what was verified, and the lesson goes on with *your* version.
#
# Stuck? Below each exercise are hints, folded, and the solution, folded too. Think for five minutes before you open a hint, and open them one by one.

# %% [markdown] id="exercise1"
# ## 6. Your first exercises
#
# ### Exercise 00.1
# Lessons 12 and 14 train a small network that reads digits: 28 × 28 = 784 pixels go in, two hidden layers have 128 and 64 neurons, and 10 scores come out, one for each digit. Written short, it is a **784-128-64-10** network.
#
# In such a network every neuron of a layer computes a weighted sum of *all* values of the layer before, and adds one number of its own, its *bias*:
#
# $$y_j = b_j + \sum_i w_{ji}\, x_i$$
#
# ($w_{ji}$ is the weight with which output neuron $j$ listens to input $i$.)
#
# How many parameters (weights and biases) does the whole network have? Take paper, or let Python multiply: `num_parameters = 784 * ...`

# %% id="ex1" exercise="00.1"

# %% [markdown] id="exercise2"
# Once by hand is enough. Now for any network.
#
# ### Exercise 00.2
# Write a function that takes the layer sizes, inputs first, and returns the number of parameters. `count_parameters([784, 128, 64, 10])` must give what you found by hand, and a network may have any number of layers.

# %% id="ex2" exercise="00.2"

# %% [markdown] id="use-intro"
# Use it. How much larger is the chat model from above than the network that reads digits? And what happens to a network like that if we simply make its layers wider?

# %% id="use"
digits_network = count_parameters([784, 128, 64, 10])
wide_network = count_parameters([784, 1280, 640, 10])
print(f"digits {digits_network:,}; ten times wider {wide_network:,}; chat model {num_chat_parameters:,}")
times_larger = num_chat_parameters / digits_network
growth = wide_network / digits_network
print(f"the chat model is {times_larger:,.0f} times larger; ten times wider made {growth:.1f} times as many")

# %% [markdown] id="use-after"
# The chat model is about 1,230<!-- claim: times_larger ~= 1230 ± 1 --> times larger, and still small. Ten times wider layers gave 16.7<!-- claim: growth ~= 16.7 ± 0.1 --> times
# the parameters: less than a hundred, because the 784 inputs stayed as they are; between the two hidden layers it *is* a hundred. Anyone who widens a Transformer pays that price in every layer, and lesson 10 asks what
# it buys.

# %% [markdown] id="progress"
# ## 7. Your progress, and the way ahead
#
# What you solved is kept in a small file on this machine, and nowhere else: nothing is sent anywhere. A solved exercise stays solved, also if you try something else later. `course progress` shows the same
# in a terminal; `course progress --export FILE` writes a copy to take along, for example out of Colab, and `--import FILE` reads it.

# %% id="progress-show" tags=["nbval-ignore-output"]
progress_view.show()

# %% [markdown] id="map"
# Here are the lessons, with the time they take you, and the time and memory they took in their last verified run on two processor cores. They build on each other; each names what to do first. Lessons missing here are still being written.
#
# <!-- lessons:begin -->
# <!-- lessons:end -->

# %% [markdown] id="help"
# ## 8. When something does not work
#
# * **A cell complains about a missing model or file**: the message names the command. `course doctor` checks everything, `course fetch` prepares the models again.
# * **An odd result**: *Kernel → Restart Kernel and Run All Cells*. Most mysteries are cells that ran out of order.
# * **A word you do not know**: the [glossary](../docs/glossary.md) explains each in one sentence.
# * **On Colab**: run the first code cell, the one that installs the course, after every new start. Colab forgets your progress when it ends; export it.
# * **Still stuck**: the [README](../README.md) has a section on troubleshooting. If you think the course is wrong, it may well be: open an issue there, with the number of the lesson and the output of `course doctor`.

# %% [markdown] id="summary"
# ## Summary
#
# * You checked your machine with the course's doctor, and know where to look when something is missing.
# * A real chat model answered your question here. It gives each token a probability of coming next, and being probable is not being true.
# * A real BERT turned sentences into vectors of length 1, whose dot product says how similar they are in meaning, without any word in common.
# * A layer with $n$ inputs and $m$ outputs has $n \cdot m$ weights and $m$ biases: **$n \cdot m + m$** is the formula to keep.
# * You met the four answers of an exercise, and your progress has begun.
#
# **Next:** choose a row of the map above. To see a model learn a task within a minute, take lesson 05; to talk with one, lesson 09; to train on several devices, 12 or 14.
#
# ## References
#
# * Allal et al. (2025), [SmolLM2: When Smol Goes Big](https://arxiv.org/abs/2502.02737): how the chat model was trained.
# * Devlin et al. (2019), [BERT](https://arxiv.org/abs/1810.04805), section 3: the reading model.
# * Reimers and Gurevych (2019), [Sentence-BERT](https://arxiv.org/abs/1908.10084), section 3: the mean over tokens as a sentence vector.
# * Wang et al. (2020), [MiniLM](https://arxiv.org/abs/2002.10957): how a large BERT is distilled into a small one.
