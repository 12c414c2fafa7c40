# ---
# jupyter:
#   course:
#     title: TensorFlow MirroredStrategy
#     question: How does TensorFlow train one model on several devices, and is it still the same training?
#     minutes: 75
#     needs: CPU; two GPUs are used where present
#     prerequisites: ["00"]
#     cell_timeout: 60
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 12 · TensorFlow MirroredStrategy
#
# **How does TensorFlow train one model on several devices, and is it still the same training?**
#
# `tf.distribute.MirroredStrategy` promises a lot for one line of code: put your model inside its `scope()` and it trains on every device of the machine. Here we
# take a small program apart with and without that line. We look at what it creates, how it cuts up batches, and whether the result is *the same model*.
# It nearly is. We will find the one place where it is not, and fix it.
#
# Afterwards you can
#
# * train a Keras model on one device and on several, from the same code;
# * say what `scope()` creates on each device, and how large a replica's batch is;
# * scale a loss so that the number of devices does not change the gradient;
# * prove that a distributed run equals a single-device run, and find out why when it does not;
# * judge when more devices make training faster.

# %% [markdown] id="imports-intro"
# TensorFlow prints pages of notes as it works; the first and last lines below ask it to be quiet. If you still see lines about oneDNN, CUDA or
# `cuInit ... 303`: they only say that there is no NVIDIA GPU, and are harmless. `time` is for the speed comparison at the end.

# %% id="imports"
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import time

import keras
import numpy as np
import tensorflow as tf

from course_utils import viz
from course_utils.data.digits import load_digits
from course_utils.exercises import exercise
from course_utils.runtime import expect_error

tf.get_logger().setLevel("ERROR")

# %% [markdown] id="parameters-intro"
# The settings of TensorFlow's classic first program: batches of 64, 5 epochs. The images are scikit-learn's bundled digits. To train on the real MNIST, run
# `course fetch mnist` in a terminal once and write `"mnist"` below: nothing else changes.

# %% id="parameters" tags=["parameters"]
dataset_name = "digits"  # "digits", "mnist" or "fashion_mnist"
num_epochs = 5
global_batch_size = 64  # images per optimizer step, all replicas together
num_replicas = 2
num_loop_epochs = 2  # epochs of the hand-written loop of section 5
seed = 0

# %% [markdown] id="devices-intro"
# ## 1. Two devices on any machine
#
# TensorFlow fixes its devices at the first operation, so this comes before anything else. If the machine has enough GPUs we take those. If not, we cut the CPU
# into *logical devices*: separate devices to TensorFlow, with a memory and a name of their own, although they share the same cores. Everything in this lesson
# works on them exactly as on GPUs, except for one thing: they cannot make anything faster.
#
# One thread per operation keeps the order of floating-point additions fixed, so that differences we find come from the strategy and not from threads.


# %% id="devices"
def choose_devices(num_replicas: int) -> list[str]:
    """Names of `num_replicas` devices: GPUs if there are enough, else logical CPUs."""
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) >= num_replicas:
        return [f"GPU:{i}" for i in range(num_replicas)]
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * num_replicas
    if tf.config.get_logical_device_configuration(cpu) != logical:  # so that the cell may be run twice
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.set_logical_device_configuration(cpu, logical)
    return [f"CPU:{i}" for i in range(num_replicas)]


devices = choose_devices(num_replicas)
print(devices)

# %% [markdown] id="program-intro"
# ## 2. The program, on one device
#
# Images of 28 × 28 pixels, values from 0 to 1, ten classes. A network of three dense layers, 784 → 128 → 64 → 10. It is the *Hello, world* of Keras, and
# we keep it as it stands, because what matters here is what happens *around* it.

# %% id="data"
digits = load_digits(dataset_name)
train_images, test_images = (images.astype("float32") / 255 for images in (digits.train_images, digits.test_images))
train_labels, test_labels = digits.train_labels, digits.test_labels
print(f"{len(train_images):,} training and {len(test_images):,} test images of shape {train_images.shape[1:]}")

# %% [markdown] id="look-intro"
# Never train on data you have not looked at.

# %% id="look"
strip = np.concatenate(list(train_images[:12]), axis=1)  # twelve images side by side: (28, 336)
ax = viz.new_axes((9, 1.6))
ax.imshow(strip, cmap="gray_r")
ax.set_xticks(14 + 28 * np.arange(12), train_labels[:12])  # each label under its image
ax.set_yticks([])
viz.finish(ax, title="Twelve training images and their labels")

# %% [markdown] id="model-intro"
# The bundled digits are small scans enlarged to MNIST's frame, so they look a little soft. Now the network. Setting the seed inside the function makes every model that
# it returns start from the same weights.


# %% id="model"
def build_model() -> keras.Model:
    """The network 784-128-64-10; softmax output, so it returns probabilities (N, 10)."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def compile_model(model: keras.Model) -> keras.Model:
    """Adam and cross-entropy against integer labels."""
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


# %% [markdown] id="fit-intro"
# The program's call of `fit`. Validation data is the test set: nothing is tuned on it here. `fit` shuffles the images anew in each epoch, so we set the seed just before it: then every run of this lesson
# sees them in the same order. The last three arguments are for later.


# %% id="train"
def train(model, num_images=None, validation_data=(test_images, test_labels), callbacks=None) -> dict[str, list[float]]:
    """Train on all images (or the first `num_images`); returns losses and accuracies, one for each epoch."""
    keras.utils.set_random_seed(seed)
    return model.fit(
        train_images[:num_images],
        train_labels[:num_images],
        batch_size=global_batch_size,
        epochs=num_epochs,
        validation_data=validation_data,
        callbacks=callbacks,
        verbose=0,
    ).history


# %% [markdown] id="fit-run-intro"
# On one device:

# %% id="fit"
with tf.device(devices[0]):
    plain_model = compile_model(build_model())
    plain_history = train(plain_model)
num_parameters = plain_model.count_params()
test_accuracy = plain_history["val_accuracy"][-1]
print(f"{num_parameters:,} parameters, test accuracy after {num_epochs} epochs: {test_accuracy:.0%}")

# %% [markdown] id="fit-notice"
# The network has 109,386 <!-- claim: num_parameters == 109386 --> parameters, and classifies
# 95% <!-- claim: test_accuracy ~= 0.95 ± 0.02; smoke: >= 0.5; gpu: >= 0.95 --> of the test images correctly. That is the program we want to see unchanged on more devices.

# %% [markdown] id="scope-intro"
# ## 3. The same program under `MirroredStrategy`
#
# One line is new, which creates a strategy, and one changes: the model is built and compiled inside the strategy's `scope()` instead of on one device. `fit` stays as it is.

# %% id="strategy"
strategy = tf.distribute.MirroredStrategy(devices)
with strategy.scope():
    mirrored_model = compile_model(build_model())
print(f"{strategy.num_replicas_in_sync} replicas")

# %% [markdown] id="variables-intro"
# What did `scope()` do? Nothing, until a variable was created inside it. Look at the first layer's kernel, and at an ordinary variable made outside.

# %% id="variables"
kernel = mirrored_model.layers[1].kernel.value
print("inside: ", type(kernel).__name__)
for copy in kernel.values:
    place = tf.DeviceSpec.from_string(copy.device)
    print(f"    a copy on {place.device_type}:{place.device_index}, shape {tuple(copy.shape)}")
print("outside:", type(tf.Variable(0.0)).__name__)

# %% [markdown] id="variables-notice"
# A `MirroredVariable` is one variable to your program and one full copy per device underneath. This is *data parallelism*: every replica holds the whole
# model, and only the data is divided. So the memory for weights, gradients and optimizer state does not shrink (lesson 15 is about that), only that for activations does; and after every step all copies must be the same again.
#
# That is also why the model must be *created* under the scope. If its variables were made outside, compiling still works, but the first training step is refused:

# %% id="outside-scope"
outsider = build_model()  # variables made outside
with expect_error(ValueError), strategy.scope():
    compile_model(outsider).fit(train_images[:64], train_labels[:64], batch_size=64, verbose=0)

# %% [markdown] id="refused-notice"
# The message means: Adam wanted to put its own variables beside the model's, and those do not belong to this strategy.
#
# Now the model that was made correctly, trained by the same call. **Guess first:** will it show the losses of one device? To how many digits? (One number for each epoch.)


# %% id="mirrored-fit"
def largest_difference(weights_a: list[np.ndarray], weights_b: list[np.ndarray]) -> float:
    """The largest absolute difference between two models' weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(weights_a, weights_b, strict=True))


mirrored_history = train(mirrored_model)
for name in ("loss", "val_accuracy"):
    for where, history in (("one device", plain_history), (f"{num_replicas} devices", mirrored_history)):
        print(f"{name:<13}{where:<11}", "  ".join(f"{value:.4f}" for value in history[name]))
uneven_difference = largest_difference(plain_model.get_weights(), mirrored_model.get_weights())
print(f"largest difference of a weight: {uneven_difference:.3f}")

# %% [markdown] id="mirrored-notice"
# The first loss is the same to all digits, the others to three, and now and then one test image falls on the other side. By these numbers you would call it the same training. But the *weights* differ by up to
# 0.010 <!-- claim: uneven_difference ~= 0.010 ± 0.003; smoke: > 1e-5; gpu: skip -->.
#
# Two things could do that. Replicas add numbers up in another order, so they round differently, and rounding may grow from step to step. Or something is computed *differently*. To find out which, look at what each replica is given.
#
# ## 4. Per-replica and global batch
#
# In `fit` under a strategy, `batch_size` is the **global** batch: the images of one optimizer step, all replicas together. The strategy deals them out. To see this, we let
# it distribute a dataset (`experimental_distribute_dataset`) and ask for the pieces of each batch (`experimental_local_results`).

# %% id="dataset"
dataset = tf.data.Dataset.from_tensor_slices((train_images, train_labels)).batch(global_batch_size)  # not shuffled
pieces = [
    tuple(int(part.shape[0]) for part in strategy.experimental_local_results(labels))
    for _, labels in strategy.experimental_distribute_dataset(dataset)
]
print(f"{len(pieces)} steps per epoch; images per replica: {pieces[0]} in the first, {pieces[-1]} in the last")

# %% [markdown] id="batches-notice"
# Each replica gets half of the 64 images. The last batch is what was left over, and it cannot be split evenly. That is our suspect.
#
# With more devices you have a choice. Keep the global batch and the optimizer takes the same steps with less work per device; or keep the work per device and let
# the global batch grow: fewer and larger steps, another training run, usually with another learning rate. Only the first can be *the same* training.

# %% [markdown] id="ex1-intro"
# ### Exercise 12.1
# MNIST has 60,000 training images. You move this program from one GPU to 8 and keep 64 images **per replica**. How many optimizer steps does it take in 5 epochs?
# Work it out; do not run it. The last, smaller batch of an epoch counts as a step.

# %% id="ex1" exercise="12.1"

# %% [markdown] id="equal-intro"
# Back to the suspect. We train both models anew, on one device and on two, but leave out the last 29 <!-- claim: len(train_images) % global_batch_size == 29; gpu: skip --> images, so that all batches have 64. **Guess first:** by how much will the weights differ now? Not at all, in the last digits, or as before?
#
# Nothing else changes, except that we skip validation and note how long each epoch takes; section 6 will ask for it.


# %% id="clock"
class EpochClock(keras.callbacks.Callback):
    """Notes in `seconds` how long each epoch took."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


# %% [markdown] id="equal-run-intro"
# `OneDeviceStrategy` is the control: the same interface, one replica.

# %% id="equal-run"
one_device = tf.distribute.OneDeviceStrategy(devices[0])
num_even = len(train_images) // global_batch_size * global_batch_size  # images that make whole batches
even_losses, even_weights, clocks = [], [], {}
for name, run_strategy in {"one device": one_device, f"{num_replicas} replicas": strategy}.items():
    with run_strategy.scope():
        model = compile_model(build_model())
    clocks[name] = EpochClock()
    even_losses.append(train(model, num_even, validation_data=None, callbacks=[clocks[name]])["loss"])
    even_weights.append(model.get_weights())
even_difference = largest_difference(*even_weights)
print("the weights agree to float32's last digits:", even_difference < 1e-5)

# %% [markdown] id="equal-notice"
# The largest difference among all 109,386 weights is below 0.00001 <!-- claim: even_difference < 1e-5; gpu: < 1e-3 -->: rounding, and it does not grow. Two devices did not approximate the training of one. They did the same training.
#
# With the leftover batch the weights end up more than a thousand times <!-- claim: uneven_difference / even_difference > 1000; smoke: > 10; gpu: skip --> further apart. Here is the difference in loss, epoch by epoch, on a logarithmic scale (an exact zero is drawn at its lower end).

# %% id="uneven-compare"
uneven_losses = plain_history["loss"], mirrored_history["loss"]
gaps = {
    name: np.maximum(np.abs(np.subtract(*losses)), 1e-8)
    for name, losses in {"even batches": even_losses, "with the leftover batch": uneven_losses}.items()
}
ax = viz.lines(
    gaps,
    x=np.arange(1, num_epochs + 1),
    xlabel="epoch",
    ylabel="difference in loss (nats per image)",
    title="One uneven batch per epoch separates the two runs",
)
ax.set_yscale("log")
ax.set_ylim(7e-9, 1)
ax.axhspan(7e-9, 1e-6, color="#e3e5e8")
ax.annotate("rounding of float32", (num_epochs, 4e-7), ha="right", fontsize=9)
ticks = ax.set_xticks(np.arange(1, num_epochs + 1))

# %% [markdown] id="uneven-notice"
# Even batches stay in the grey band. With the leftover batch, the two losses agree in the first epoch and never again. So it is not rounding: something is computed *differently* when a batch is uneven. What?

# %% [markdown] id="loss-intro"
# ## 5. The step, written out
#
# Suppose that each replica computes the mean loss of *its own* images, that `fit` divides it by the number of replicas, and that the replicas' gradients are then added up. For the last batch you saw above,
# 29 images dealt out as 15 and 14, that gives
#
# $$\frac{1}{2}\left(\frac{1}{15}\sum_{i=1}^{15} \ell_i + \frac{1}{14}\sum_{i=16}^{29} \ell_i\right) \quad\text{instead of}\quad \frac{1}{29}\sum_{i=1}^{29} \ell_i .$$
#
# A mean of means: images of the smaller piece weigh more than the others, by 15/14. It is a small error, but it comes once in every epoch, and where pieces differ a lot (tokens per
# replica in language modelling, say) the same mistake is large. It also fits what we saw: the leftover batch comes last, so the loss of the first epoch shows nothing. (The loss that `fit` *prints* weighs replicas by their images, so it is right.) Below we test whether `fit` really does this.
#
# The cure is to divide sums once, by the count of the *global* batch.

# %% [markdown] id="ex2-intro"
# ### Exercise 12.2
# Write the loss that one replica should differentiate: its share of the global batch's mean loss. The shares of all replicas must **add up** to that mean, however unevenly
# the images were dealt out, and also if a replica got none. `global_batch_size` is a float32 tensor.

# %% id="ex2" exercise="12.2"

# %% [markdown] id="leftover-advice"
# TensorFlow has this function under the name `tf.nn.compute_average_loss` (there the count is an integer). If you would rather stay with `fit`, you have two ways around the leftover batch: a dataset made with `batch(..., drop_remainder=True)`, or a global batch that divides the data and is itself divided by the number of replicas.
#
# With the right loss, we write a training step. It has an inner and an outer part. The inner part runs once **on each replica**, with that replica's piece of the batch. It contains the *all-reduce*: `apply_gradients` first
# adds up the gradients of all replicas and hands every replica the sum, so all copies take the same update.


# %% id="replica-step"
def make_replica_step(model, optimizer, loss_of):
    """The part of a step that each replica runs; `loss_of(per_image_losses, global_batch_size)` is differentiated."""

    def replica_step(images, labels, num_images):
        with tf.GradientTape() as tape:
            probabilities = model(images, training=True)  # (n, 10)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)  # (n,)
            loss = loss_of(losses, num_images)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, replica_loss(losses, num_images)  # what was differentiated, and the true share

    return replica_step


# %% [markdown] id="step-intro"
# The outer part is ordinary: `strategy.run` calls the inner part on every replica, `strategy.reduce` adds up what the replicas return. First it counts the images of the whole batch, because the last batch is smaller. We note two losses for each step: the one that was *reported* (the sum of
# what the replicas differentiated) and the *true* mean loss.


# %% id="train-loop"
def train_by_hand(strategy, make_optimizer, loss_of) -> tuple[np.ndarray, list[np.ndarray]]:
    """Reported and true loss of each step (num_steps, 2), and the final weights."""
    with strategy.scope():
        model, optimizer = build_model(), make_optimizer()
        optimizer.build(model.trainable_variables)
    replica_step = make_replica_step(model, optimizer, loss_of)
    batches = strategy.experimental_distribute_dataset(dataset)

    @tf.function(input_signature=batches.element_spec)  # batches of any size: translated into a graph once
    def step(images, labels):
        counts = strategy.run(lambda piece: tf.cast(tf.shape(piece)[0], tf.float32), args=(labels,))
        num_images = strategy.reduce("SUM", counts, axis=None)
        shares = strategy.run(replica_step, args=(images, labels, num_images))
        return [strategy.reduce("SUM", share, axis=None) for share in shares]

    losses = [step(images, labels) for _ in range(num_loop_epochs) for images, labels in batches]
    return np.array(losses), model.get_weights()


# %% [markdown] id="loop-run-intro"
# Three ways to scale the loss on two devices, against one device: the right one, the mean of means, and the one most often seen in questions online, no scaling at all (each replica's plain mean, added up over replicas).
# All with Adam, and the last one with plain SGD as well.

# %% id="loop-run"
setups = {
    "one device": (one_device, replica_loss),
    "sum / global count": (strategy, replica_loss),
    "mean of means": (strategy, lambda losses, _: tf.reduce_mean(losses) / num_replicas),
    "not scaled": (strategy, lambda losses, _: tf.reduce_mean(losses)),
}
optimizers = {"SGD": lambda: keras.optimizers.SGD(0.01), "Adam": lambda: keras.optimizers.Adam()}
loop_losses, loop_weights = {}, {}
for optimizer, names in {"SGD": ["one device", "not scaled"], "Adam": list(setups)}.items():
    for name in names:
        run = train_by_hand(setups[name][0], optimizers[optimizer], setups[name][1])
        loop_losses[optimizer, name], loop_weights[optimizer, name] = run

# %% [markdown] id="loop-table-intro"
# How far from one device did each run on two end? And the test of our explanation: `fit` on two devices, given the batches of the loop, must end where *mean of means* ends.

# %% id="loop-table" tags=["nbval-ignore-output"]
with strategy.scope():
    model = compile_model(build_model())
model.fit(dataset, epochs=num_loop_epochs, verbose=0)
fit_difference = largest_difference(model.get_weights(), loop_weights["Adam", "mean of means"])
difference = {
    name: largest_difference(loop_weights["Adam", name], loop_weights["Adam", "one device"])
    for name in setups
    if name != "one device"
}
for name, value in difference.items():
    print(f"{name:<20}largest difference of a weight from one device: {value:.0e}")
print(f"`fit` and mean of means differ by {fit_difference:.0e}")

# %% [markdown] id="loop-notice"
# Divided by the global count, two devices equal one, to below 0.00001 <!-- claim: difference["sum / global count"] < 1e-5; gpu: < 1e-3 -->, with the leftover batch *included*. The mean of means does not: its weights differ by more than a thousandth <!-- claim: difference["mean of means"] > 1e-3; smoke: > 1e-5; gpu: skip -->, and without any scaling they end furthest away.
# The mean of means is what `fit` computes: their weights agree to below 0.00001 <!-- claim: fit_difference < 1e-5; gpu: < 1e-3 -->.
#
# Without scaling the gradient is twice as large as it should be. **Guess first:** with which of the two optimizers will you *see* that in the loss curve?

# %% id="loop-look"
gap = {}
for ax, optimizer in zip(viz.new_axes((10, 3.8), num_columns=2), optimizers, strict=True):
    curves = {
        "one device": loop_losses[optimizer, "one device"][:, 1],
        "2 replicas, not scaled": loop_losses[optimizer, "not scaled"][:, 1],
    }
    gap[optimizer] = float(np.abs(np.subtract(*curves.values())).mean())
    viz.lines(
        curves,
        xlabel="step",
        ylabel="true loss (nats per image)",
        title={"SGD": "SGD shows the mistake", "Adam": "Adam hides it"}[optimizer],
        ax=ax,
    )
first_reported = loop_losses["Adam", "not scaled"][0, 0]
print(f"mean gap between the two curves: SGD {gap['SGD']:.2f}, Adam {gap['Adam']:.2f} nats per image")

# %% [markdown] id="loop-look-notice"
# SGD takes steps twice as long, so its curve falls visibly faster: the gap between the curves is more than ten times <!-- claim: gap["SGD"] / gap["Adam"] > 10; smoke: > 3; gpu: > 2 --> that of Adam. Adam divides each gradient by its own recent size, so the
# factor of two nearly cancels and its curves coincide, although the weights do not. That is how such a bug survives for years, until somebody changes the optimizer or clips gradients. **Equal curves prove nothing; compare weights.**
#
# There is one more trace. An untrained model of ten classes has a loss near ln 10, which is 2.3 <!-- claim: np.log(10) ~= 2.3 ± 0.01 -->. The unscaled loop *reports* 4.7 <!-- claim: first_reported ~= 4.7 ± 0.4 --> in its first step. A first loss that is twice what chance explains is the sign of a missing division.

# %% [markdown] id="ex3-intro"
# ### Exercise 12.3
# How large, in bytes, is the gradient that each replica hands to the all-reduce in one step? Gradients are float32 and have the shape of the weights. The number does not depend on the batch.

# %% id="ex3" exercise="12.3"

# %% [markdown] id="speed-intro"
# ## 6. Is it faster?
#
# Not here. For two logical devices on one CPU, the strategy's extra work (splitting batches, running two small steps instead of one, summing gradients) costs more than it saves. The clocks of section 4 know: we take each run's fastest epoch (the first one also compiles, and in others something else may have used the machine). The limit of
# one thread per operation from section 1 held for both. Images per second, all replicas together, on this machine:

# %% id="timing" tags=["nbval-ignore-output"]
images_per_second = {name: num_even / min(clock.seconds) for name, clock in clocks.items()}
one, several = images_per_second.values()
viz.bars(
    images_per_second,
    ylabel="images per second",
    title=f"A second replica: {several / one:.1f} times the speed",
    value_format="{:,.0f}",
)

# %% [markdown] id="timing-notice"
# One device is faster, here by more than a tenth <!-- claim: one / several > 1.1; smoke: > 0.2; gpu: skip -->. So when *do* several devices pay? A step on $R$ devices takes the computation, divided by $R$, plus the all-reduce, plus a cost per step that nothing shrinks:
#
# $$t(R) = \frac{t_\text{compute}}{R} + 2\,\frac{R-1}{R}\cdot\frac{\text{bytes}}{\text{bandwidth}} + t_\text{fixed}$$
#
# The middle term is the traffic of a *ring* all-reduce, in which each device sends and receives that many bytes (lesson 11 builds one). The next cell is a calculation, not a measurement; its four inputs are round numbers that you can change.


# %% id="model-of-speed"
def speed_up(num_devices, compute_s, num_bytes, bytes_per_s=10e9, fixed_s=0.0005):
    """How many times faster `num_devices` are than one, by the formula above; a link of 10 GB/s by default."""

    def step_s(devices):
        return compute_s / devices + 2 * (devices - 1) / devices * num_bytes / bytes_per_s + fixed_s

    return step_s(1) / step_s(num_devices)


device_counts = np.array([1, 2, 4, 8])
speed_ups = {
    "this network: 437,544 bytes, 0.2 ms": [speed_up(n, 0.0002, 437_544) for n in device_counts],
    "BERT-base: 440 MB, 300 ms": [speed_up(n, 0.300, 440e6) for n in device_counts],
    "BERT-base, 4 times the batch": [speed_up(n, 1.200, 440e6) for n in device_counts],
}
viz.lines(
    speed_ups,
    x=device_counts,
    xlabel="devices",
    ylabel="speed-up over one device",
    title="More work per byte sent, more speed-up",
)
for name, values in speed_ups.items():
    print(f"{name:<38}8 devices: {values[-1]:.1f} times faster")

# %% [markdown] id="model-notice"
# The digits network would gain almost nothing from 8 GPUs, a factor of 1.2 <!-- claim: speed_ups["this network: 437,544 bytes, 0.2 ms"][-1] ~= 1.2 ± 0.05 -->: its step is all fixed cost. A BERT-base with these numbers reaches 2.6 <!-- claim: speed_ups["BERT-base: 440 MB, 300 ms"][-1] ~= 2.6 ± 0.05 -->, and 5.3 <!-- claim: speed_ups["BERT-base, 4 times the batch"][-1] ~= 5.3 ± 0.05 -->
# with four times the images per step, because the bytes stay the same while the computation grows. Use logical devices to develop and to *prove*, real ones with enough work per step to go fast.
#
# We had no machine with several GPUs for this lesson, so its only *measured* speed is the one above.

# %% [markdown] id="summary"
# ## Summary
#
# * You trained the same Keras program on one device and on two; the difference was a strategy and its `scope()`.
# * `scope()` made mirrored variables: one full copy of every weight per device. Batches were divided, the model was not.
# * `batch_size` was the global batch. Where it could be split evenly, two devices gave the weights of one, up to rounding.
# * The leftover batch broke that, because `fit` averages means: you proved it by writing that step yourself. Dividing sums by the global count fixed it.
# * Adam's curve hid a gradient twice too large; comparing weights with a single-device run found it.
# * More devices pay when a step computes much for each byte of gradient; two halves of one CPU do not.
#
# The formula to keep: a replica differentiates $\frac{1}{n_\text{global}} \sum_{i \in \text{its piece}} \ell_i$, and gradients are **summed** over replicas.

# %% [markdown] id="further"
# ## Going further
#
# * **Batch normalisation** averages over a *replica's* images unless you ask for `BatchNormalization(synchronized=True)`; dropout draws different units on each replica. Both make two devices differ from one, by design.
# * **Larger global batches** usually need a larger learning rate and a warm-up; Goyal et al. (below) raise it in proportion.
# * **Several machines** are the business of `MultiWorkerMirroredStrategy`, and TPUs of `TPUStrategy`: lesson 13.

# %% [markdown] id="references"
# ## References
#
# * M. Abadi et al., *TensorFlow: A System for Large-Scale Machine Learning*, OSDI 2016, [section 4.4](https://www.usenix.org/conference/osdi16/technical-sessions/presentation/abadi): synchronous replicas.
# * P. Goyal et al., *Accurate, Large Minibatch SGD*, 2017, [arXiv:1706.02677](https://arxiv.org/abs/1706.02677), section 3: averaging over the global batch, and what goes wrong without it.
# * D. Kingma and J. Ba, *Adam*, ICLR 2015, [arXiv:1412.6980](https://arxiv.org/abs/1412.6980), section 2.1: why its steps do not depend on the scale of the gradient.
# * TensorFlow, *Distributed training with Keras*, <https://www.tensorflow.org/tutorials/distribute/keras>, and *Custom training with tf.distribute.Strategy*, <https://www.tensorflow.org/tutorials/distribute/custom_training>.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
