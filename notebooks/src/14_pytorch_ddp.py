# ---
# jupyter:
#   course:
#     title: PyTorch DDP
#     question: How does PyTorch train one model in several processes, and how do I know that the result is right?
#     minutes: 90
#     needs: CPU; several GPUs are used where present
#     prerequisites: ["00"]
#     cell_timeout: 60
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 14 · From DataParallel to DistributedDataParallel
#
# **How does PyTorch train one model in several processes, and how do I know that the result is right?**
#
# One line, `nn.DataParallel(model)`, is how PyTorch programs used to claim a whole machine. It still runs, and on most computers it does nothing. Its successor `DistributedDataParallel` (DDP)
# asks for more: several processes, a way to start them, a way to share out the data. In return the same file runs on your laptop and on a thousand GPUs.
#
# You will start real processes from this notebook, on any machine, and prove that together they train *the same model* as one process alone.
#
# Afterwards you can
#
# * say what `DataParallel` does to a batch, and why nobody should start a new program with it;
# * read a DDP training script, start it with `torchrun`, and know what to change in it for another machine;
# * prove that a parallel run equals a run in one process, with a control that fails if the proof is empty;
# * predict what DDP sends and when, and keep gradients right when batches are uneven;
# * judge honestly whether more processes are faster.

# %% [markdown] id="imports-intro"
# `%load_ext course_utils` brings the cell magic `%%module`, which you will meet in a moment. `launch` starts processes and hands their results back.

# %% id="imports"
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector
from torch.utils.data import DistributedSampler

from course_utils import viz
from course_utils.distributed.launch import LaunchTimeout, launch
from course_utils.exercises import exercise
from course_utils.runtime import expect_error, num_cores

# %load_ext course_utils

# %% [markdown] id="parameters-intro"
# The settings of a classic program of that kind: batches of 64, Adam, 5 epochs. The images are scikit-learn's bundled digits; after `course fetch mnist` in a terminal you may write `"mnist"`.

# %% id="parameters" tags=["parameters"]
dataset_name = "digits"  # "digits", "mnist" or "fashion_mnist"
num_epochs = 5
global_batch_size = 64  # images per optimizer step, all ranks together
lr = 0.001
world_size = 2  # ranks: processes that train together
num_launches = 2  # of each arrangement of section 8, in turn: a disturbance should not hit one bar only
num_rounds = 3  # timed in each launch there
seed = 0

# %% [markdown] id="program-intro"
# ## 1. The program
#
# A network of three linear layers, 784 → 128 → 64 → 10, and its data. Processes that we start later cannot see what a notebook cell defines: they are new Python programs and must *import* it.
# So this cell is a **module**. Its first line saves it as a file `digits_mlp.py`, which this notebook and every process it starts can import. What you read is what they run.

# %% id="module-mlp"
# %%module digits_mlp.py
import torch
from torch import nn
from torch.utils.data import TensorDataset

from course_utils.data.digits import load_digits

MEAN, STD = 0.1307, 0.3081  # of MNIST's training pixels, scaled to 0..1


class SimpleNN(nn.Module):
    """Images (B, 28, 28) to logits (B, 10), through two hidden layers."""

    def __init__(self, d_hidden=(128, 64)):
        super().__init__()
        self.fc1 = nn.Linear(784, d_hidden[0])
        self.fc2 = nn.Linear(d_hidden[0], d_hidden[1])
        self.fc3 = nn.Linear(d_hidden[1], 10)

    def forward(self, images):
        x = images.flatten(1)  # (B, 784)
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.fc3(x)


def load_tensors(dataset_name):
    """Training and test set, each of images (N, 28, 28), normalised, and labels (N,)."""
    digits = load_digits(dataset_name)
    splits = [(digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels)]
    return [TensorDataset((torch.tensor(x) / 255 - MEAN) / STD, torch.tensor(y)) for x, y in splits]


# %% [markdown] id="mlp-use-intro"
# Import it like any module, load the data, count the parameters. (You counted them by hand in lesson 00.)

# %% id="mlp-use"
from digits_mlp import MEAN, STD, SimpleNN, load_tensors

train_set, test_set = load_tensors(dataset_name)
num_parameters = sum(p.numel() for p in SimpleNN().parameters())
raw_pixels = train_set.tensors[0] * STD + MEAN  # back to 0..1
print(f"{len(train_set):,} training and {len(test_set):,} test images; {num_parameters:,} parameters")
print(f"before normalisation: mean {raw_pixels.mean():.4f}, standard deviation {raw_pixels.std():.4f}")

# %% [markdown] id="normalise-notice"
# The famous 0.1307 and 0.3081 are the mean and standard deviation of *MNIST's* training pixels. The bundled digits have 0.156 <!-- claim: raw_pixels.mean().item() ~= 0.156 ± 0.001; gpu: skip --> and
# 0.278 <!-- claim: raw_pixels.std().item() ~= 0.278 ± 0.001; gpu: skip -->. We keep MNIST's pair, as the classic program does: normalisation need not be exact, it must be the *same* in training, testing and every process.
#
# Twelve of the images, as they were before it:

# %% id="look"
strip = torch.cat(list(raw_pixels[:12]), dim=1)  # twelve images side by side: (28, 336)
ax = viz.new_axes((9, 1.6))
ax.imshow(strip, cmap="gray_r")
ax.set_xticks(14 + 28 * np.arange(12), train_set.tensors[1][:12].tolist())  # each label under its image
ax.set_yticks([])
viz.finish(ax, title="Twelve training images and their labels")

# %% [markdown] id="one-intro"
# ## 2. One process, as the yardstick
#
# Everything that follows is compared with this loop, so it is written out, and contains nothing parallel. It runs on the first GPU, if there is one. Two choices make an exact comparison possible: the order of the
# images in each epoch comes from a generator seeded with `seed + epoch`, and the weights from a fixed seed. One thread is what each rank will have, and small matrices gain nothing from more.
#
# Two arguments are for later: `wrap` for section 3, `multiple_of` for the proof in section 5.


# %% id="one-process"
torch.set_num_threads(1)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def epoch_order(epoch, multiple_of=1):
    """Training indices of one epoch, shuffled; completed from their start until `multiple_of` divides their number."""
    order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(seed + epoch))
    return torch.cat([order, order[: -len(order) % multiple_of]])


def train_one_process(wrap=lambda model: model, multiple_of=1):
    """Loss of each step, gradient of the first step, final weights; `wrap` is applied to the new model."""
    torch.manual_seed(seed)
    model = wrap(SimpleNN().to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for epoch in range(num_epochs):
        for indices in epoch_order(epoch, multiple_of).split(global_batch_size):
            images, labels = (part.to(device) for part in train_set[indices])
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            if not losses:
                first_gradient = parameters_to_vector(p.grad for p in model.parameters()).cpu()
            optimizer.step()
            losses.append(loss.item())
    weights = parameters_to_vector(model.parameters()).detach().cpu()
    return {"losses": np.array(losses), "gradient": first_gradient, "weights": weights}


# %% [markdown] id="one-run-intro"
# Train, then load the final weights into a fresh model to see how many test images it gets right.

# %% id="one-run"
alone = train_one_process()


def test_accuracy(weights):
    """Share of test images classified correctly by a SimpleNN with these weights."""
    model = SimpleNN()
    nn.utils.vector_to_parameters(weights, model.parameters())
    images, labels = test_set.tensors
    return (model(images).argmax(1) == labels).float().mean().item()


accuracy_alone = test_accuracy(alone["weights"])
print(f"{len(alone['losses'])} steps, test accuracy {accuracy_alone:.1%}")

# %% [markdown] id="one-notice"
# About 94% <!-- claim: accuracy_alone ~= 0.94 ± 0.02; smoke: >= 0.6; gpu: >= 0.95 --> of the test images after five epochs. Not a record, but a fixed point to measure against.

# %% [markdown] id="dp-intro"
# ## 3. `nn.DataParallel`: one process, several GPUs
#
# The classic line. On a machine with GPUs it does four things in *every* forward pass:
#
# 1. **scatter** the batch: one piece for each GPU;
# 2. **replicate** the model: copy all weights from GPU 0 to the others;
# 3. **apply** each copy to its piece, in threads;
# 4. **gather** the outputs on GPU 0, where the loss is computed. Backward runs the same way in reverse.
#
# Two things make the line correct where there are GPUs, and do no harm where there are none. The model is moved to GPU 0 *before* it is wrapped, and the labels are moved there, too, because that is where the outputs come back.
# The loop of section 2 does both, with `.to(device)`.
#
# **Guess first:** what does `DataParallel` do on a machine without a GPU? We train with it, and note the batch sizes that the network inside gets to see.

# %% id="dp-run"
batch_sizes_seen = []


def data_parallel(model):
    """The model wrapped in DataParallel; from now on it notes how many images each call of it gets."""
    model.register_forward_pre_hook(lambda module, inputs: batch_sizes_seen.append(len(inputs[0])))
    return nn.DataParallel(model)


wrapped = train_one_process(wrap=data_parallel)
dp_difference = (wrapped["weights"] - alone["weights"]).abs().max().item()
print("GPUs it uses:", nn.DataParallel(SimpleNN()).device_ids)
print("images per call inside:", batch_sizes_seen[:3], "...")
print("largest difference of a weight from the plain loop:", dp_difference)

# %% [markdown] id="dp-notice"
# No GPUs, so the list of devices is empty and every batch goes straight through, all 64 <!-- claim: batch_sizes_seen[0] == 64; gpu: skip --> images of it. The weights are those of the plain loop to the last bit: their difference is exactly
# 0 <!-- claim: dp_difference == 0; gpu: <= 0.1 -->. **Without a GPU, `DataParallel` does nothing at all**, and it does not tell you. With one GPU it hands that one the whole batch, no more.
#
# What it would do with two can be written in five lines. Here are the four acts on the CPU, with two replicas that are copies of the same weights. `clone` keeps the link to the original, so gradients of both copies
# are added up in it on the way back. `functional_call` runs the model with the weights it is given instead of its own.


# %% id="dp-emulated"
def data_parallel_forward(model, images, num_replicas):
    """What DataParallel computes on `num_replicas` devices: logits (B, 10)."""
    pieces = images.chunk(num_replicas)  # scatter
    replicas = [{name: p.clone() for name, p in model.named_parameters()} for _ in pieces]  # replicate
    outputs = [functional_call(model, weights, piece) for weights, piece in zip(replicas, pieces, strict=True)]  # apply
    return torch.cat(outputs)  # gather


# %% [markdown] id="dp-emulated-intro"
# Does it compute the same gradient as the plain model? One batch decides.

# %% id="dp-compare" tags=["nbval-ignore-output"]
torch.manual_seed(seed)
model = SimpleNN()
images, labels = train_set[epoch_order(0)[:global_batch_size]]
gradients = {}
for name, logits in [("plain", model(images)), ("replicas", data_parallel_forward(model, images, world_size))]:
    model.zero_grad()
    F.cross_entropy(logits, labels).backward()
    gradients[name] = parameters_to_vector(p.grad for p in model.parameters())
emulation_difference = (gradients["plain"] - gradients["replicas"]).abs().max().item()
print(f"largest difference between gradients: {emulation_difference:.0e}")

# %% [markdown] id="dp-judgement"
# Below a ten-millionth <!-- claim: emulation_difference < 1e-7; gpu: < 1e-6 -->: rounding. So the arithmetic of `DataParallel` is right. Its design is what disappoints:
#
# * One Python process drives all GPUs in threads, and Python runs one thread at a time.
# * All weights travel at every step, and so do the gradients on the way back.
# * GPU 0 holds all outputs and computes the loss alone, so it runs out of memory first.
# * One process cannot span two machines.
#
# PyTorch's own documentation recommends DDP instead, even on a single machine.

# %% [markdown] id="ddp-intro"
# ## 4. One process for each device
#
# DDP turns the picture around. There are `world_size` equal processes, the **ranks** 0, 1, ... Each has its own copy of the model, its own optimizer, and its own part of every batch. They talk once per step:
# after backward, every gradient is replaced by its average over the ranks (an *all-reduce*). Equal weights plus equal gradients give equal weights, so the copies never drift apart and weights are never sent again.
#
# Why is the average right? With $R$ ranks that have $n$ images each,
#
# $$\underbrace{\frac{1}{R}\sum_{r=1}^{R}}_{\text{DDP}}\;\underbrace{\nabla\frac{1}{n}\sum_{i \in \text{rank } r} \ell_i}_{\text{gradient on rank } r} \;=\; \nabla\,\frac{1}{Rn}\sum_{\text{all } i} \ell_i ,$$
#
# which is the gradient of one process with a batch of $Rn$. Remember the condition: *the same $n$ on all ranks*. Section 7 breaks it.

# %% [markdown] id="sampler-intro"
# ### Who gets which images?
#
# `DistributedSampler` deals them out like cards, from the same shuffled deck on every rank. Eleven images on two ranks, not shuffled, to see the pattern:

# %% id="sampler"
for rank in range(2):
    print(f"rank {rank}:", list(DistributedSampler(range(11), num_replicas=2, rank=rank, shuffle=False)))

# %% [markdown] id="sampler-notice"
# Eleven does not divide by two, so image 0 is dealt a second time. Every rank must get equally many, for two reasons. The formula above needs it. And a rank with one batch less would leave the loop
# while the others wait for its gradients, for ever. (`drop_last=True` discards the rest of the deck instead.)

# %% [markdown] id="ex1-intro"
# ### Exercise 14.1
# Write the deal yourself, for any number of images and ranks. It is worth getting right: a wrong one rarely fails, it just trains on some images twice and on others never.

# %% id="ex1" exercise="14.1"

# %% [markdown] id="set-epoch-intro"
# With `shuffle=True`, the sampler shuffles the deck with a generator seeded by `seed + epoch`. It learns the epoch only if you tell it, by `set_epoch`:

# %% id="set-epoch"
sampler = DistributedSampler(range(11), num_replicas=2, rank=0, seed=seed)
first_epoch, forgotten = list(sampler), list(sampler)
sampler.set_epoch(1)
second_epoch = list(sampler)
print("epoch 0:            ", first_epoch)
print("without set_epoch:  ", forgotten)
print("after set_epoch(1): ", second_epoch)

# %% [markdown] id="set-epoch-notice"
# Forget that line and every epoch has the same order, with no error. Here is the arithmetic for our data set. Print such a table before every training run: most surprises with DDP are in it.

# %% id="batch-arithmetic"
images_per_rank = len(shard_indices(len(train_set), 0, world_size))
batch_size_per_rank = global_batch_size // world_size
num_twice = images_per_rank * world_size - len(train_set)
steps_per_epoch = math.ceil(images_per_rank / batch_size_per_rank)
last_batch_per_rank = images_per_rank - (steps_per_epoch - 1) * batch_size_per_rank
print(f"{len(train_set):,} images on {world_size} ranks: {images_per_rank:,} each, {num_twice} of them dealt twice")
print(f"{batch_size_per_rank} images per rank × {world_size} ranks = {batch_size_per_rank * world_size} per step")
print(f"{steps_per_epoch} steps per epoch, the last with {last_batch_per_rank} images per rank")

# %% [markdown] id="script-intro"
# ## 5. The script
#
# Here it is, complete. Five things make it a DDP script; look for them in the comments. Everything else is the loop of section 2. Note the backend: `init_process_group()` without arguments takes gloo for
# tensors on the CPU and NCCL for tensors on NVIDIA GPUs, so the file does not change with the machine.
#
# `DistributedDataParallel` also copies rank 0's weights to all others when it is created, so equal seeds are not needed. We set them anyway, for the control experiment below.

# %% id="module-train"
# %%module ddp_train.py
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from digits_mlp import SimpleNN, load_tensors
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parameters_to_vector
from torch.utils.data import DataLoader, DistributedSampler


def main(dataset_name="digits", num_epochs=5, global_batch_size=64, lr=0.001, seed=0, synchronise=True):
    dist.init_process_group()  # 1. find the other ranks (torchrun says where)
    rank, world_size = dist.get_rank(), dist.get_world_size()
    has_own_gpu = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if has_own_gpu else "cpu")

    torch.manual_seed(seed)
    model = SimpleNN().to(device)
    if synchronise:
        model = DistributedDataParallel(model)  # 2. average gradients over ranks in backward
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    train_set, _ = load_tensors(dataset_name)
    sampler = DistributedSampler(train_set, seed=seed)  # 3. this rank's share of the data
    loader = DataLoader(train_set, batch_size=global_batch_size // world_size, sampler=sampler)

    losses = []
    for epoch in range(num_epochs):
        sampler.set_epoch(epoch)  # 4. a new order in each epoch
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            if not losses:
                first_gradient = parameters_to_vector(p.grad for p in model.parameters()).cpu()
            optimizer.step()
            losses.append(loss.item())
        if rank == 0:  # 5. one rank prints (and saves)
            print(f"epoch {epoch + 1} of {num_epochs} done")
    dist.destroy_process_group()
    weights = parameters_to_vector(model.parameters()).detach().cpu()
    return {"losses": losses, "gradient": first_gradient, "weights": weights}


# %% [markdown] id="torchrun-intro"
# `torchrun` is PyTorch's own launcher. It starts the processes, gives each its `RANK`, `LOCAL_RANK` and `WORLD_SIZE` as environment variables, tells them where to meet, and ends all of them if one fails.
# `launch` calls it for us, prints the command, waits, shows what each rank printed, and returns what `main` returned on each rank. (`init_group=False` says that our script finds the other ranks itself; in later sections `launch` will have done that.)
#
# The worker in the command imports our file, calls `main` and ends the process. You will more often see scripts that end with `if __name__ == "__main__": main()` and are started as `torchrun ddp_train.py`. That works, too, but on CPUs
# gloo sometimes aborts while Python shuts down, after all work is done. The worker ends each process before that.

# %% id="torchrun"
settings = {"dataset_name": dataset_name, "num_epochs": num_epochs, "global_batch_size": global_batch_size, "lr": lr}
ranks = launch("ddp_train:main", world_size, via="torchrun", init_group=False, **settings, seed=seed)

# %% [markdown] id="proof-intro"
# ### The proof
#
# The sampler shuffles like section 2, and 32 cards dealt to each of two ranks are the next 64 of the deck. So both runs should see the same batches. Each rank reports the mean loss over its own half; their average is the loss of the whole batch.
# We compare three things with one process: loss curves, the first gradient, and the final weights.
#
# Which one process, though? DDP has dealt one image twice in each epoch. So we compare with two: the loop as it stands, and the loop with the deck completed in the same way (`multiple_of`).


# %% id="proof" tags=["nbval-ignore-output"]
def differences(ranks, reference):
    """Largest difference between a run on several ranks and one process: losses, first gradient, final weights."""
    losses = np.mean([r["losses"] for r in ranks], axis=0)
    return {
        "losses": np.abs(losses - reference["losses"]).max(),
        "gradient": (ranks[0]["gradient"] - reference["gradient"]).abs().max().item(),
        "weights": (ranks[0]["weights"] - reference["weights"]).abs().max().item(),
    }


alone_same_deck = train_one_process(multiple_of=world_size)
same_deck, plain_deck = differences(ranks, alone_same_deck), differences(ranks, alone)
between_ranks = (ranks[0]["weights"] - ranks[1]["weights"]).abs().max().item()
for name in same_deck:
    print(f"{name:<9} same deck: {same_deck[name]:.0e}   without the second copy: {plain_deck[name]:.0e}")

# %% [markdown] id="proof-notice"
# On the same deck, everything agrees to rounding: gradients within 0.0000001 <!-- claim: same_deck["gradient"] < 1e-7; gpu: < 1e-5 --> and, after five epochs, weights within 0.00001 <!-- claim: same_deck["weights"] < 1e-5; gpu: < 0.1 -->.
# The two ranks agree with each other exactly, difference 0 <!-- claim: between_ranks == 0 -->: they applied the same averaged gradient to the same weights.
#
# A single image dealt twice is enough to move the weights by more than a thousandth <!-- claim: plain_deck["weights"] > 1e-3; smoke: > 1e-4; gpu: >= 0 -->. That is harmless for training. It matters when you *test* on several ranks: an accuracy over
# padded shards counts some images twice. Count on every rank, and leave the copies out.

# %% [markdown] id="control-intro"
# ### The control
#
# Two runs that agree prove nothing if they would agree anyway. So we run the same script with `synchronise=False`: the same processes, seeds and shards, but no `DistributedDataParallel`. If the proof is worth something, this run must fail it.
# From here on we start ranks with the default, `via="fork"`. It forks a process that has already imported PyTorch, so all launches but its first take a small part of `torchrun`'s time; use it for experiments.

# %% id="control"
apart = launch("ddp_train:main", world_size, init_group=False, **settings, seed=seed, synchronise=False)
apart_difference = differences(apart, alone_same_deck)
apart_between_ranks = (apart[0]["weights"] - apart[1]["weights"]).abs().max().item()
print(f"without DDP, weights differ from one process by {apart_difference['weights']:.2f}")
print(f"and between the two ranks by {apart_between_ranks:.2f}")

# %% [markdown] id="curves-intro"
# It fails, as it should. Left, the loss curves of one process, of DDP, which runs inside the grey band, and of the control; right, how far the two are from one process, step by step. The right axis is logarithmic; equal losses are drawn at its lower end.

# %% id="curves"
ax_loss, ax_gap = viz.new_axes((10, 4), num_columns=2)
runs = {"DDP": ranks, "without all-reduce": apart}
curves = {"one process": alone_same_deck["losses"]}
curves |= {name: np.mean([r["losses"] for r in run], axis=0) for name, run in runs.items()}
viz.lines(curves, xlabel="step", ylabel="loss (nats per image)", title="All losses look healthy", ax=ax_loss)
ax_loss.get_lines()[0].set(linewidth=6, alpha=0.35)  # wide, so that it is seen behind DDP's
legend = ax_loss.legend(frameon=False)
viz.lines(
    {name: np.maximum(np.abs(curves[name] - curves["one process"]), 1e-9) for name in runs},
    xlabel="step",
    ylabel="difference from one process (nats per image)",
    title="Only DDP trains the model of one process",
    ax=ax_gap,
)
ax_gap.set_yscale("log")
legend = ax_gap.legend(frameon=False, loc="center right")

# %% [markdown] id="curves-notice"
# DDP stays below 0.00001 <!-- claim: same_deck["losses"] < 1e-5; gpu: < 0.1 --> throughout, at the resolution of float32. The control starts at the same loss, leaves after the first update, and its weights end 0.08 <!-- claim: apart_difference["weights"] ~= 0.08 ± 0.03; smoke: > 0.001; gpu: > 0.01 --> away:
# more than 1,000 <!-- claim: apart_difference["weights"] / same_deck["weights"] > 1000; gpu: > 1 --> times as far as DDP. Its two ranks have become two different models. The loss alone would not have told you: it falls as it should.

# %% [markdown] id="ex2-intro"
# ### Exercise 14.2
# A program trains with plain SGD, `lr=0.1` and `DataLoader(batch_size=64)`. You start it unchanged with DDP on **4** ranks. Gradients are averaged, so a single step is about as long as before, but an epoch has a quarter of the steps. A much used remedy for SGD is the
# *linear scaling rule* (Goyal et al., section 2.1): where the global batch grows by a factor, the learning rate grows by the same factor. Which learning rate should you set? (To change nothing at all, you would set `batch_size=16` instead.)

# %% id="ex2" exercise="14.2"

# %% [markdown] id="traffic-intro"
# ## 6. What travels, and when
#
# Per step, every rank contributes one float32 number of four bytes for each parameter. DDP packs them into **buckets** and sends a bucket as soon as its last gradient is ready, *while backward is still
# computing the others*. A communication hook sees every bucket; ours notes its size, then lets DDP's own all-reduce do its work. We also try gradient accumulation: `no_sync` tells DDP to keep quiet until the last micro-step.

# %% id="module-traffic"
# %%module ddp_traffic.py
from contextlib import nullcontext

import torch
from digits_mlp import SimpleNN
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel


def bytes_per_step(d_hidden=(128, 64), grad_accum_steps=1, quiet=False):
    """Sizes in bytes of the messages of one step (not the first: DDP regroups its buckets after that)."""
    model = DistributedDataParallel(SimpleNN(d_hidden))
    messages = []

    def note_and_send(_, bucket):
        messages.append(bucket.buffer().nbytes)
        return allreduce_hook(None, bucket)

    model.register_comm_hook(None, note_and_send)
    for _ in range(2):
        messages.clear()
        for micro_step in range(grad_accum_steps):
            is_last = micro_step == grad_accum_steps - 1
            with model.no_sync() if quiet and not is_last else nullcontext():
                model(torch.randn(8, 28, 28)).sum().backward()
    return messages


# %% [markdown] id="traffic-guess"
# **Guess first:** how many bytes does a rank hand over per step, and does it depend on the batch size?

# %% id="traffic"
cases = {
    "default": {},
    "8 times wider": {"d_hidden": (1024, 512)},
    "4 micro-steps": {"grad_accum_steps": 4},
    "4 micro-steps, no_sync": {"grad_accum_steps": 4, "quiet": True},
}
sent = {name: launch("ddp_traffic:bytes_per_step", world_size, **case)[0] for name, case in cases.items()}
for name, messages in sent.items():
    print(f"{name:<23}{len(messages)} messages, {sum(messages):>10,} bytes: {', '.join(map('{:,}'.format, messages))}")

# %% [markdown] id="traffic-notice"
# Exactly 437,544 <!-- claim: sum(sent["default"]) == 437544 --> bytes, which is 4 <!-- claim: sum(sent["default"]) / num_parameters == 4 --> for each parameter, whatever the batch. They fit into one bucket. The wide network needs 2 <!-- claim: len(sent["8 times wider"]) == 2 -->: the first is kept small, so that sending starts early (it is closed once it holds 1 MiB); the others may have 25 MiB.
# The last layers come first, because backward finishes with them first: `fc3` and `fc2` fill the first bucket, `fc1` alone the second. More buckets allow more overlap, but each message has a fixed cost.
#
# Accumulating over four micro-steps without `no_sync` sends everything 4 <!-- claim: sum(sent["4 micro-steps"]) / sum(sent["default"]) == 4 --> times; with it, the factor is 1 <!-- claim: sum(sent["4 micro-steps, no_sync"]) / sum(sent["default"]) == 1 -->. Sums may be averaged in any order, so the gradient is the same; three of the four exchanges were wasted.
#
# What crosses the wire depends on the algorithm: a ring all-reduce makes each of $R$ ranks send $2\frac{R-1}{R}$ times that many bytes (lesson 11 builds one). `DataParallel` sends more: all weights to each further GPU, all gradients
# back, everything through GPU 0.

# %% [markdown] id="uneven-intro"
# ## 7. The mean of means
#
# DDP averages over *ranks*. If rank 0 has 60 images and rank 1 has 4, an image on rank 1 weighs fifteen times as much as one on rank 0. `DistributedSampler` keeps image counts equal, so you may never notice. But count *tokens* of
# real sentences, or masked words in BERT's pretraining, and no two ranks ever have equally many.
#
# By hand: losses 1, 1, 1 on rank 0 and 5 on rank 1. The mean is 8/4 = 2. The mean of means is (1 + 5)/2 = 3.

# %% [markdown] id="ex3-intro"
# ### Exercise 14.3
# Repair it without touching DDP: DDP will add up the gradients of all ranks and divide by `world_size`, that is fixed. Which loss should each rank differentiate, so that the outcome is the mean over *all* examples? (In lesson 12, TensorFlow *summed*, so the answer differed.)

# %% id="ex3" exercise="14.3"

# %% [markdown] id="uneven-run-intro"
# Does it hold in a real run? Two ranks with batches of 60 and 4 images, once with the usual mean and once with the repaired loss, against one process with all 64. (The module imports the course's version of the function you have just written.)

# %% id="module-uneven"
# %%module ddp_uneven.py
import torch
import torch.distributed as dist
import torch.nn.functional as F
from digits_mlp import SimpleNN
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parameters_to_vector

from course_utils.distributed.data_parallel import ddp_loss


def gradient(batch, sizes, repaired):
    """The gradient that DDP hands to the optimizer when rank r has sizes[r] images of the batch."""
    torch.manual_seed(0)
    model = DistributedDataParallel(SimpleNN())
    images, labels = (part.split(sizes)[dist.get_rank()] for part in batch)
    losses = F.cross_entropy(model(images), labels, reduction="none")
    loss = ddp_loss(losses, sum(sizes), dist.get_world_size()) if repaired else losses.mean()
    loss.backward()
    return parameters_to_vector(p.grad for p in model.parameters())


# %% [markdown] id="uneven-compare-intro"
# One launch on a single rank gives the reference, two launches on two ranks the candidates.

# %% id="uneven" tags=["nbval-ignore-output"]
batch = train_set[:64]
(whole,) = launch("ddp_uneven:gradient", 1, batch=batch, sizes=[64], repaired=False)
relative_error = {}
for name, repaired in [("mean of means", False), ("ddp_loss", True)]:
    result, _ = launch("ddp_uneven:gradient", 2, batch=batch, sizes=[60, 4], repaired=repaired)
    relative_error[name] = ((result - whole).norm() / whole.norm()).item()
    print(f"{name:<14} gradient wrong by {relative_error[name]:.2g} of its length")

# %% [markdown] id="uneven-notice"
# The mean of means gives a gradient that is wrong by 112% <!-- claim: relative_error["mean of means"] ~= 1.12 ± 0.05; gpu: > 0.1 --> of its length, with no error and no warning: the 4 images of rank 1 make up half of it, instead of a sixteenth. The repaired loss is right to rounding, below 0.000001 <!-- claim: relative_error["ddp_loss"] < 1e-6 -->.
# In 2024 the same mistake was found in Hugging Face's `Trainer`, where tokens per rank differ; its repair multiplies by the number of ranks, as yours does (see the references). Add up totals and counts, divide once.

# %% [markdown] id="hang-intro"
# ### The other classic: a rank that does not come
#
# A collective waits until *every* rank has made the call. Put one inside `if rank == 0:` and the program does not fail; it hangs. The `loss` below is averaged "for printing", on the main process only:

# %% id="module-hang"
# %%module ddp_hang.py
import torch
import torch.distributed as dist


def report_loss():
    loss = torch.tensor(1.0 + dist.get_rank())
    if dist.get_rank() == 0:
        dist.all_reduce(loss)  # the other ranks never make this call
        print(f"mean loss {loss / dist.get_world_size()}")


# %% [markdown] id="hang-run-intro"
# `launch` gives it two seconds, then asks each rank where it stands, and ends them all.

# %% id="hang"
with expect_error(LaunchTimeout):
    launch("ddp_hang:report_loss", world_size, timeout_s=2)

# %% [markdown] id="hang-notice"
# Read such a report from the rank that has *gone on*: it skipped the call the other one is waiting in. The cure is to let all ranks make the call and only one print.

# %% [markdown] id="speed-intro"
# ## 8. Is it faster?
#
# Honest comparisons need two baselines. PyTorch on one process already uses several cores, with threads. So the opponent of "2 ranks with 1 thread each" is "1 process with 2 threads", not "1 process with 1 thread". We time both our small network, with batches of 64, and
# one 8 times as wide, with batches of 352.

# %% id="module-speed"
# %%module ddp_speed.py
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from digits_mlp import SimpleNN
from torch.nn.parallel import DistributedDataParallel


def images_per_second(num_threads, d_hidden, global_batch_size, num_steps, num_rounds):
    """Training speed of all ranks together in their fastest round (others may use the machine, too)."""
    torch.set_num_threads(num_threads)
    world_size = dist.get_world_size()
    images = torch.randn(global_batch_size // world_size, 28, 28)  # noise takes as long as digits
    labels = torch.randint(10, (len(images),))
    model = SimpleNN(d_hidden)
    if world_size > 1:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters())
    seconds = []
    for _ in range(num_rounds + 1):  # the first, in which everything is new, does not count
        dist.barrier()
        start = time.perf_counter()
        for _ in range(num_steps):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return global_batch_size * num_steps / min(seconds[1:])


# %% [markdown] id="speed-run-intro"
# Three arrangements of two networks, each launched several times in turn; its best launch counts. **Guess first:** which of the three wins?

# %% id="speed"
arrangements = {"1 rank × 1 thread": (1, 1), "1 rank × 2 threads": (1, 2), "2 ranks × 1 thread": (2, 1)}
networks = {
    "SimpleNN": {"d_hidden": (128, 64), "global_batch_size": 64, "num_steps": 20},
    "8 times wider": {"d_hidden": (1024, 512), "global_batch_size": 352, "num_steps": 4},
}
speed = {network: dict.fromkeys(arrangements, 0.0) for network in networks}
for _ in range(num_launches):
    for network, job in networks.items():
        for name, (num_ranks, num_threads) in arrangements.items():
            timing = {"num_threads": num_threads, "num_rounds": num_rounds} | job
            measured, *_ = launch("ddp_speed:images_per_second", num_ranks, **timing)
            speed[network][name] = max(speed[network][name], measured)
*one_rank, ddp = arrangements
share = [bars[ddp] / max(bars[name] for name in one_rank) for bars in speed.values()]  # DDP : best of one rank

# %% [markdown] id="speed-plot-intro"
# Images per second, all ranks together, on this machine:

# %% id="speed-plot" tags=["nbval-ignore-output"]
for ax, (network, bars), ratio in zip(viz.new_axes((10, 4), num_columns=2), speed.items(), share, strict=True):
    title = f"{network}: DDP reaches {ratio:.1f} of the best"
    viz.bars(bars, ylabel="images per second", title=title, value_format="{:,.0f}", ax=ax)
print(f"measured on {num_cores()} cores")

# %% [markdown] id="speed-notice"
# Two devices could bring a factor of 2. Two ranks on shared cores do not: compared with the better of the first two bars, DDP stays below 1 <!-- claim: share[0] < 1; smoke: < 1.5 --> on the small network and below 1.5 <!-- claim: share[1] < 1.5 --> on the wide one.
# The ranks share the cores that one process had to itself, and each step costs an all-reduce. For the small network that is most of the step. The wide one computes longer between two messages, so its ranks fare better <!-- claim: share[1] / share[0] > 1; smoke: > 0.3 -->. Mind the middle bar: comparisons of
# DDP with *one* thread leave it out, and make DDP look better than it is wherever a second thread helps.
#
# So why use it? Because everything that holds DDP back here is absent where it is meant to run. Each GPU brings its own arithmetic and its own memory, the links between GPUs are far faster than gloo is between two processes,
# and threads end where the machine ends. We had no machine with several GPUs for this lesson, so it shows you that the *result* is right, not that it comes faster.

# %% [markdown] id="elsewhere-intro"
# ## 9. The same file on a cluster
#
# `ddp_train.py` names no machine, no address and no number of ranks. All of that is `torchrun`'s business, so only the command changes:
#
# ```bash
# job="-m course_utils.distributed.worker ddp_train:main --no-init"
# torchrun --standalone --nproc-per-node=2 $job                       # this laptop: 2 ranks, gloo
# torchrun --standalone --nproc-per-node=8 $job                       # one machine with 8 GPUs: NCCL
# torchrun --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d \
#          --rdzv-endpoint=first-machine:29500 $job                   # typed on both machines: 16 ranks
# ```
#
# We ran the first of these. The others need GPUs and machines that this notebook does not have; lesson 17 goes there. With several machines, a process needs two numbers to know its place. `RANK` counts through the whole job. `LOCAL_RANK` starts
# from 0 on each machine.

# %% [markdown] id="ex4-intro"
# ### Exercise 14.4
# Write the function that each process calls first: which GPU is mine, and am I the one that saves the checkpoint? The popular mistake works on one machine and fails on the first day with two.

# %% id="ex4" exercise="14.4"

# %% [markdown] id="ex4-use-intro"
# Two machines with four GPUs each; this is what all eight processes find out about themselves:

# %% id="ex4-use"
for rank in range(8):
    environment = {"RANK": str(rank), "LOCAL_RANK": str(rank % 4), "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    gpu, is_main = role_of_process(environment)
    print(f"rank {rank}: machine {rank // 4}, {gpu}" + (", prints and saves" if is_main else ""))

# %% [markdown] id="summary"
# ## Summary
#
# * You wrote out what `DataParallel` does, scatter, replicate, apply, gather, in one process; without a GPU the real one did nothing and said nothing.
# * You read a DDP script: process group, DDP wrapper, sampler with `set_epoch`, one rank that prints. `torchrun` started it, and only its options change on a cluster.
# * You proved that two ranks trained the same model as one process, to rounding, and that a control without the all-reduce failed the same test.
# * You counted what DDP sends: four bytes per parameter and step, whatever the batch, and once instead of four times with `no_sync`.
# * You repaired the mean of means, and read a deadlock's report.
# * You compared with the right baseline: on one CPU, one process wins.
#
# The formula to keep: each rank differentiates $\frac{R}{n_\text{global}}\sum_{i \in \text{rank}} \ell_i$, and DDP **averages** over $R$ ranks.

# %% [markdown] id="references"
# ## References
#
# * S. Li et al., *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*, VLDB 2020, [arXiv:2006.15704](https://arxiv.org/abs/2006.15704), section 3.2: buckets, overlap and `no_sync`.
# * P. Goyal et al., *Accurate, Large Minibatch SGD*, 2017, [arXiv:1706.02677](https://arxiv.org/abs/1706.02677), sections 2.1 (linear scaling) and 3 (averaging over workers).
# * P. Patarasuk and X. Yuan, *Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations*, JPDC 2009, [doi:10.1016/j.jpdc.2008.09.002](https://doi.org/10.1016/j.jpdc.2008.09.002), section 4: the factor $2\frac{R-1}{R}$.
# * Hugging Face Transformers, [issue 34242](https://github.com/huggingface/transformers/issues/34242) and [pull request 34373](https://github.com/huggingface/transformers/pull/34373), 2024: the mean of means over ranks, and its repair.
# * PyTorch, *DistributedDataParallel*, <https://pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html>, and *torchrun*, <https://pytorch.org/docs/stable/elastic/run.html>.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
