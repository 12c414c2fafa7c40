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
# It nearly is, and the one place where it is not will teach you more than the many where it is.
#
# Afterwards you can
#
# * train a Keras model on one device and on several, from the same code;
# * say what `scope()` creates on each device, and how large a replica's batch is;
# * scale a loss so that the number of devices does not change the gradient;
# * prove that a distributed run equals a single-device run, and find out why when it does not;
# * judge when more devices make training faster.

# %% [markdown] id="imports-intro"
# TensorFlow prints pages of notes as it works; the first and last lines below ask it to keep to warnings that matter. `time` is for the speed comparison at the end.

# %% id="imports"
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import time

import keras
import numpy as np
import tensorflow as tf

from course_utils import viz
from course_utils.data.digits import load_digits
from course_utils.distributed.tensorflow import replica_loss
from course_utils.exercises import exercise
from course_utils.runtime import expect_error

tf.get_logger().setLevel("ERROR")

# %% [markdown] id="parameters-intro"
# The settings of the original program: batches of 64, 5 epochs. The images are scikit-learn's bundled digits. To train on the real MNIST, run
# `course fetch mnist` in a terminal once and write `"mnist"` below: nothing else changes.

# %% id="parameters" tags=["parameters"]
dataset_name = "digits"  # "digits", "mnist" or "fashion_mnist"
num_epochs = 5
global_batch_size = 64  # images per optimizer step, all replicas together
num_replicas = 2
num_loop_epochs = 2  # epochs of the hand-written loop of section 5
num_timed_epochs = 5  # epochs timed for each bar of section 6
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
# Images of 28 × 28 pixels, values from 0 to 1, ten classes. A network of three dense layers, 784 → 128 → 64 → 10. This is the `Hello, world` of Keras, and
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
ax = viz.new_axes((9, 1.4))
ax.imshow(strip, cmap="gray_r")
ax.axis("off")
viz.finish(ax, title="Twelve training images, labels " + " ".join(map(str, train_labels[:12])))

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
# `fit` on one device. Validation data is the test set: nothing is tuned on it here.

# %% id="fit"
with tf.device(devices[0]):
    plain_model = compile_model(build_model())
    history = plain_model.fit(
        train_images,
        train_labels,
        batch_size=global_batch_size,
        epochs=num_epochs,
        validation_data=(test_images, test_labels),
        verbose=0,
    ).history
num_parameters = plain_model.count_params()
test_accuracy = history["val_accuracy"][-1]
print(f"{num_parameters:,} parameters, test accuracy after {num_epochs} epochs: {test_accuracy:.0%}")

# %% [markdown] id="fit-notice"
# The network has 109,386 <!-- claim: num_parameters == 109386 --> parameters, and classifies
# 95% <!-- claim: test_accuracy ~= 0.95 ± 0.02; smoke: >= 0.5; gpu: >= 0.95 --> of the test images correctly. That is the program we want to see unchanged on more devices.

# %% [markdown] id="scope-intro"
# ## 3. The same program under `MirroredStrategy`
#
# Two lines change: a strategy is created, and the model is built and compiled inside its `scope()`. `fit` stays as it is.

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
# model, and only the data is divided. So memory per device does not shrink (lesson 15 is about that), and after every step all copies must be the same again.
#
# That is also why the model must be *created* under the scope. Making the variables first and compiling under the scope afterwards is refused:

# %% id="outside-scope"
outsider = build_model()  # variables made outside
with expect_error(ValueError), strategy.scope():
    compile_model(outsider).fit(train_images[:64], train_labels[:64], batch_size=64, verbose=0)

# %% [markdown] id="batches-intro"
# ## 4. Per-replica and global batch
#
# `batch_size` in Keras is always the **global** batch: the images of one optimizer step, all replicas together. The strategy deals them out. To see this, we let
# it distribute a dataset and print what arrives on each replica.


# %% id="dataset"
def make_dataset(drop_remainder: bool = False) -> tf.data.Dataset:
    """Training batches in an order that depends on the seed alone, so that two runs see the same images."""
    dataset = tf.data.Dataset.from_tensor_slices((train_images, train_labels))
    dataset = dataset.shuffle(len(train_images), seed=seed, reshuffle_each_iteration=True)
    return dataset.batch(global_batch_size, drop_remainder=drop_remainder)


pieces = [
    tuple(int(part.shape[0]) for part in strategy.experimental_local_results(labels))
    for _, labels in strategy.experimental_distribute_dataset(make_dataset())
]
print(f"{len(pieces)} steps per epoch; images per replica: {pieces[0]} in the first, {pieces[-1]} in the last")

# %% [markdown] id="batches-notice"
# Each replica gets half of the 64 images. The last batch is what was left over, and it cannot be split evenly. Remember it.
#
# With more devices you have a choice. Keep the global batch and the optimizer takes the same steps with less work per device; or keep the work per device and let
# the global batch grow: fewer and larger steps, another training run, usually with another learning rate. Only the first can be *the same* training.

# %% [markdown] id="ex1-intro"
# ### Exercise 12.1
# MNIST has 60,000 training images. You move this program from one GPU to 8 and keep 64 images **per replica**. How many optimizer steps does it take in 5 epochs?
# Work it out; do not run it. The last, smaller batch of an epoch counts as a step.

# %% id="ex1" exercise="12.1"

# %% [markdown] id="equal-intro"
# Now the question of this lesson. We train twice more: on one device and on two, same weights at the start, same batches in the same order, no remainder, so that all
# batches have 64 images. **Guess first:** by how much will the weights differ after 5 epochs? Not at all, in the last digits, or visibly?


# %% id="train-fit"
def train_with_fit(strategy: tf.distribute.Strategy, drop_remainder: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Losses per epoch and final weights of one run."""
    with strategy.scope():
        model = compile_model(build_model())
    history = model.fit(make_dataset(drop_remainder), epochs=num_epochs, shuffle=False, verbose=0)
    return np.array(history.history["loss"]), model.get_weights()


def largest_difference(weights_a: list[np.ndarray], weights_b: list[np.ndarray]) -> float:
    """The largest absolute difference between two models' weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(weights_a, weights_b, strict=True))


one_device = tf.distribute.OneDeviceStrategy(devices[0])

# %% [markdown] id="equal-run-intro"
# `OneDeviceStrategy` is the control: the same interface, one replica.

# %% id="equal-run"
fit_losses, fit_weights = {}, {}
for drop_remainder in (True, False):
    for run_strategy in (one_device, strategy):
        run = (drop_remainder, run_strategy.num_replicas_in_sync)
        fit_losses[run], fit_weights[run] = train_with_fit(run_strategy, drop_remainder)

# %% [markdown] id="equal-compare-intro"
# First the runs in which every batch could be split evenly.

# %% id="equal-compare"
even_difference = largest_difference(fit_weights[True, 1], fit_weights[True, num_replicas])
for epoch, losses in enumerate(zip(fit_losses[True, 1], fit_losses[True, num_replicas], strict=True), start=1):
    print(f"epoch {epoch}: loss on one device {losses[0]:.4f}, on {num_replicas} devices {losses[1]:.4f}")
print("the weights agree to float32's last digits:", even_difference < 1e-5)

# %% [markdown] id="equal-notice"
# The largest difference among all 109,386 weights is below 0.00001 <!-- claim: even_difference < 1e-5; gpu: < 1e-3 -->: rounding, because the two halves of a batch are added up in a
# different order. Two devices did not approximate the training of one. They did the same training.
#
# Now the runs that kept the leftover batch. Nothing else changed.

# %% id="uneven-compare"
uneven_difference = largest_difference(fit_weights[False, 1], fit_weights[False, num_replicas])
differences = {
    "even batches": np.abs(fit_losses[True, 1] - fit_losses[True, num_replicas]),
    "with the leftover batch": np.abs(fit_losses[False, 1] - fit_losses[False, num_replicas]),
}
ax = viz.lines(
    {name: (np.arange(1, num_epochs + 1), np.maximum(values, 1e-9)) for name, values in differences.items()},
    xlabel="epoch",
    ylabel="difference in loss (nats per image)",
    title="One uneven batch per epoch is enough to part the two runs",
)
ax.set_yscale("log")
ax.set_xticks(np.arange(1, num_epochs + 1))
uneven_ratio = uneven_difference / even_difference

# %% [markdown] id="uneven-notice"
# The scale is logarithmic (values below 10⁻⁹ are drawn there). With even batches the difference in loss stays at rounding. With the leftover batch the weights end up more than a thousand
# times <!-- claim: uneven_ratio > 1000; gpu: skip --> further apart. This is not rounding: something is computed *differently*. In the first epoch the two losses still agree,
# because the leftover batch comes last and its update shows only afterwards. What is it?

# %% [markdown] id="loss-intro"
# ## 5. The step, written out
#
# Each replica computes the mean loss of *its own* images, and `fit` divides it by the number of replicas. Replica gradients are then added up. For a batch of 29
# images dealt out as 15 and 14 that gives
#
# $$\frac{1}{2}\left(\frac{1}{15}\sum_{i=1}^{15} \ell_i + \frac{1}{14}\sum_{i=16}^{29} \ell_i\right) \quad\text{instead of}\quad \frac{1}{29}\sum_{i=1}^{29} \ell_i .$$
#
# A mean of means: images of the smaller piece weigh more than the others, by 15/14. It is a small error, but it is there on every epoch, and in tasks where pieces differ a lot (tokens per
# replica in language modelling, say) the same mistake is large. The cure is to divide sums once, by the count of the *global* batch.

# %% [markdown] id="ex2-intro"
# ### Exercise 12.2
# Write the loss that one replica should differentiate: its share of the global batch's mean loss. The shares of all replicas must **add up** to that mean, however unevenly
# the images were dealt out, and also if a replica got none.

# %% id="ex2" exercise="12.2"

# %% [markdown] id="step-intro"
# With that, the training loop by hand. Read it from the inside out: `replica_step` runs once on each replica with that replica's piece. `strategy.run` calls it everywhere. `apply_gradients`, called on a
# replica, first **adds up the gradients of all replicas** (the all-reduce), so every copy takes the same update. `strategy.reduce` adds up the loss shares for us to look at.


# %% id="train-loop"
def train_by_hand(strategy, make_optimizer, loss_of) -> tuple[np.ndarray, list[np.ndarray]]:
    """Loss of each step and final weights. `loss_of(per_image_losses, global_batch_size)` is what a replica differentiates."""
    with strategy.scope():
        model, optimizer = build_model(), make_optimizer()
        optimizer.build(model.trainable_variables)

    def replica_step(images, labels, num_images):
        with tf.GradientTape() as tape:
            probabilities = model(images, training=True)  # (n, 10)
            loss = loss_of(keras.losses.sparse_categorical_crossentropy(labels, probabilities), num_images)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    @tf.function(reduce_retracing=True)
    def step(images, labels):
        counts = strategy.run(lambda piece: tf.shape(piece)[0], args=(labels,))
        num_images = strategy.reduce("SUM", counts, axis=None)  # of the global batch, also when it is the last one
        shares = strategy.run(replica_step, args=(images, labels, num_images))
        return strategy.reduce("SUM", shares, axis=None)

    batches = strategy.experimental_distribute_dataset(make_dataset())
    losses = [float(step(images, labels)) for _ in range(num_loop_epochs) for images, labels in batches]
    return np.array(losses), model.get_weights()


# %% [markdown] id="loop-run-intro"
# Three ways to scale the loss on two devices, against one device: the right one, the mean of means, and the one most often seen in questions online, no scaling at all (each replica's plain mean, added up over replicas).
# We let two optimizers take the result: plain SGD, and Adam.

# %% id="loop-run"
scalings = {
    "sum / global count": replica_loss,
    "mean of means": lambda losses, _: tf.reduce_mean(losses) / num_replicas,
    "not scaled": lambda losses, _: tf.reduce_mean(losses),
}
optimizers = {"SGD": lambda: keras.optimizers.SGD(0.01), "Adam": lambda: keras.optimizers.Adam()}
weight_difference = {}
for optimizer_name, make_optimizer in optimizers.items():
    _, expected_weights = train_by_hand(one_device, make_optimizer, replica_loss)
    for scaling, loss_of in scalings.items():
        _, weights = train_by_hand(strategy, make_optimizer, loss_of)
        weight_difference[optimizer_name, scaling] = largest_difference(expected_weights, weights)

# %% [markdown] id="loop-look-intro"
# **Guess first:** without scaling, gradients are twice as large as they should be. Which of the two optimizers will suffer more?

# %% id="loop-look"
ax_sgd, ax_adam = viz.new_axes((10, 3.8), num_columns=2)
for ax, optimizer_name in [(ax_sgd, "SGD"), (ax_adam, "Adam")]:
    viz.bars(
        {scaling: weight_difference[optimizer_name, scaling] for scaling in scalings},
        ylabel="largest difference of a weight",
        title=f"{optimizer_name}: distance from one device",
        value_format="{:.0e}",
        ax=ax,
    )
    ax.set_yscale("log")
    ax.set_ylim(1e-8, 2)
ratio_sgd = weight_difference["SGD", "not scaled"] / weight_difference["SGD", "sum / global count"]
leftover_fixed = weight_difference["Adam", "sum / global count"]

# %% [markdown] id="loop-notice"
# Divided by the global count, two devices equal one to below 0.00001 <!-- claim: leftover_fixed < 1e-5; gpu: < 1e-3 --> with the leftover batch *included*. The mean of means drifts visibly. Without scaling, SGD ends more than
# a thousand <!-- claim: ratio_sgd > 1000; gpu: > 10 --> times further away than rounding: it trained with twice the learning rate.
#
# Adam hides the mistake. It divides each gradient by its own recent size, so a factor of two nearly cancels and the loss curve looks healthy. That is how such a bug survives for years,
# until somebody changes the optimizer, adds weight decay or clips gradients. Compare *weights* with a single-device run, never just the curve.

# %% [markdown] id="ex3-intro"
# ### Exercise 12.3
# How many bytes of gradient does one replica contribute to the all-reduce of one step? Gradients are float32 and have the shape of the weights. This number does not depend on the batch.

# %% id="ex3" exercise="12.3"

# %% [markdown] id="speed-intro"
# ## 6. Is it faster?
#
# Not here, and the reason is worth seeing. The two logical devices share the cores that the single device had to itself, and the strategy adds work: splitting batches,
# summing gradients, keeping copies equal. We time one epoch of `fit` after a warm-up, several times, and take the median.


# %% id="timing"
def median_epoch_seconds(strategy: tf.distribute.Strategy) -> float:
    """Median wall time of an epoch, compilation excluded by a first epoch that is not counted."""
    with strategy.scope():
        model = compile_model(build_model())
    dataset, seconds = make_dataset(drop_remainder=True), []
    for _ in range(num_timed_epochs + 1):
        start = time.perf_counter()
        model.fit(dataset, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


num_images = len(train_images) // global_batch_size * global_batch_size
images_per_second = {
    "one device": num_images / median_epoch_seconds(one_device),
    f"{num_replicas} replicas": num_images / median_epoch_seconds(strategy),
}
slowdown = images_per_second["one device"] / images_per_second[f"{num_replicas} replicas"]

# %% [markdown] id="timing-plot-intro"
# Images per second, all replicas together:

# %% id="timing-plot" tags=["nbval-ignore-output"]
viz.bars(
    images_per_second,
    ylabel="images per second",
    title="Two logical devices on one CPU: more work, no more cores",
    value_format="{:,.0f}",
)

# %% [markdown] id="timing-notice"
# Two replicas on one CPU are slower than one device, on this machine by a factor above 1 <!-- claim: slowdown > 1; gpu: skip -->. Real devices bring their own arithmetic units, so the sum can
# come out the other way, but the rule stays: a step takes the time of the slowest replica plus the all-reduce. For a network this small the fixed cost of a step dominates even on GPUs. Lesson 11 measures what an all-reduce costs and lesson 14 has the
# honest comparison in PyTorch. Use logical devices to develop and to *prove*, real ones to go fast.

# %% [markdown] id="summary"
# ## Summary
#
# * You trained the same Keras program on one device and on two; the difference was a strategy and its `scope()`.
# * `scope()` made mirrored variables: one full copy of every weight per device. Batches were divided, the model was not.
# * `batch_size` was the global batch. Two even halves of it gave the same weights as one device, up to rounding.
# * The leftover batch broke that, because `fit` averages means. Dividing sums by the global count mended it.
# * Adam hid a gradient twice too large; comparing weights with a single-device run found it.
#
# The formula to keep: a replica differentiates $\frac{1}{n_\text{global}} \sum_{i \in \text{its piece}} \ell_i$, and gradients are **summed** over replicas.

# %% [markdown] id="references"
# ## References
#
# * M. Abadi et al., *TensorFlow: A System for Large-Scale Machine Learning*, OSDI 2016, [section 4.4](https://www.usenix.org/conference/osdi16/technical-sessions/presentation/abadi): synchronous replicas.
# * P. Goyal et al., *Accurate, Large Minibatch SGD*, 2017, [arXiv:1706.02677](https://arxiv.org/abs/1706.02677), section 3: averaging over the global batch, and what goes wrong without it.
# * D. Kingma and J. Ba, *Adam*, ICLR 2015, [arXiv:1412.6980](https://arxiv.org/abs/1412.6980), section 2.1: why its steps do not depend on the scale of the gradient.
# * TensorFlow, *Distributed training with Keras*, <https://www.tensorflow.org/tutorials/distribute/keras>, and *Custom training with tf.distribute.Strategy*, <https://www.tensorflow.org/tutorials/distribute/custom_training>.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
