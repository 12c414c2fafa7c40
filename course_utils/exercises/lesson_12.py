"""Exercises of lesson 12: steps of an epoch, a replica's share of the loss, bytes of an all-reduce."""

import numpy as np
import tensorflow as tf

from course_utils.distributed.tensorflow import replica_loss
from course_utils.exercises.expect import expect, expect_close
from course_utils.exercises.framework import Exercise

NUM_IMAGES, NUM_EPOCHS, NUM_REPLICAS, IMAGES_PER_REPLICA = 60_000, 5, 8, 64
LAYERS = (784, 128, 64, 10)


def check_num_steps(num_steps: int) -> None:
    """8 × 64 = 512 images per step; every epoch ends with a step on the images left over."""
    expected = NUM_EPOCHS * len(range(0, NUM_IMAGES, NUM_REPLICAS * IMAGES_PER_REPLICA))  # counted, not computed
    expect(
        num_steps == expected,
        f"It is not {num_steps:,} steps.",
        "How many images do all replicas use together in one step, and what happens to the rest of an epoch?",
    )


def check_replica_loss(replica_loss) -> None:
    """The shares of 1, 2 and 3 replicas, one of them without images, add up to the global mean; so do the gradients."""
    losses = np.array([0.5, 2.0, 1.25, 3.0, 0.25, 4.0, 1.5], dtype=np.float32)
    for cuts in ([], [4], [3, 3], [2, 6]):  # one piece; 4 + 3; 3 + 0 + 4; 2 + 4 + 1
        pieces = np.split(losses, cuts)
        tried = f"7 images dealt out as {' + '.join(str(len(piece)) for piece in pieces)}; the shares added up"
        shares = [one_share(replica_loss, piece, len(losses)) for piece in pieces]
        question = "By which count is each sum divided: the images of this replica, or those of the whole step?"
        expect_close(sum(shares), float(np.mean(losses, dtype=np.float64)), tried=tried, question=question)
    check_gradient(replica_loss, losses)


def one_share(replica_loss, piece: np.ndarray, num_images: int) -> float:
    """What the answer returns for one replica, made sure to be one number."""
    share = replica_loss(tf.constant(piece), tf.constant(num_images, tf.float32))
    expect(share is not None, "Your function returned None.", "Did you forget `return`?")
    shape = tuple(np.shape(share))
    expect(shape == (), f"A loss is one number, shape (); got shape {shape}.", "Did you add the losses up?")
    nothing = not len(piece) and np.isnan(share)
    expect(not nothing, "Got nan for a replica without images.", "A mean of no images is 0/0. What is a sum of none?")
    return float(share)


def check_gradient(replica_loss, losses: np.ndarray) -> None:
    """The gradient with respect to each loss is 1 / global count, in a traced function as in real training."""

    @tf.function(autograph=False)  # as inside `strategy.run`; AutoGraph would translate `float(...)` silently
    def gradient(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            share = replica_loss(values, tf.constant(float(len(losses))))
        return tape.gradient(share, values)

    question = "Use TensorFlow's own functions on tensors; `float(...)` and `.numpy()` cut the gradient off."
    try:
        got = gradient(tf.constant(losses))
    except Exception as error:  # whatever tracing raises for code that leaves TensorFlow
        what = f"The values are right, but inside a `tf.function` your code raised {type(error).__name__}."
        expect(False, what, question)
    expect(got is not None, "The values are right, but your result has no gradient.", question)
    expected = tf.fill([len(losses)], 1 / len(losses))
    expect_close(tf.convert_to_tensor(got), expected, tried="the gradient of one replica's share")


def own_mean(per_image_losses, global_batch_size):
    """divides by this replica's images, so that with R replicas the sum is about R times too large"""
    return tf.reduce_mean(per_image_losses)


def plain_sum(per_image_losses, global_batch_size):
    """adds up and never divides, so that the step grows with the batch"""
    return tf.reduce_sum(per_image_losses)


def mean_over_global(per_image_losses, global_batch_size):
    """divides twice, by the replica's images and by the global batch"""
    return tf.reduce_mean(per_image_losses) / global_batch_size


def mean_of_means(per_image_losses, global_batch_size):
    """divides this replica's mean by the number of replicas: a mean of means"""
    return tf.reduce_mean(per_image_losses) / 2


def leaves_tensorflow(per_image_losses, global_batch_size):
    """makes a plain Python number, which has no gradient"""
    return float(tf.reduce_sum(per_image_losses)) / float(global_batch_size)


def check_num_bytes(num_bytes: int) -> None:
    """One float32 number of four bytes for each weight and each bias."""
    kernels = [np.zeros((a, b), np.float32) for a, b in zip(LAYERS[:-1], LAYERS[1:], strict=True)]
    biases = [np.zeros(b, np.float32) for b in LAYERS[1:]]
    expected = sum(array.nbytes for array in kernels + biases)
    expect(
        num_bytes == expected,
        f"It is not {num_bytes:,} bytes.",
        "Which numbers have a gradient, and how many bytes does each float32 take?",
    )


EXERCISES = [
    Exercise(
        "12.1",
        title="steps after moving to 8 GPUs",
        name="num_steps",
        solution=590,
        check=check_num_steps,
        minutes=5,
        difficulty=1,
        wrong=[
            (4690, "counts batches of 64, but the global batch has 8 × 64 images"),
            (585, "drops the leftover batch of each epoch"),
            (586, "rounds up once over all epochs; every epoch ends with a batch of its own"),
            (585.9375, "does not round; a step is a whole number, and a smaller batch is a step too"),
            (4688, "counts batches of 64 and rounds up once over all epochs"),
            (4687.5, "counts batches of 64 and does not round"),
            (938, "counts one epoch, with 64 images per step"),
            (118, "counts one epoch instead of five"),
        ],
        hints=[
            "A step consumes 64 images on each of the 8 replicas.",
            "Divide the images of one epoch by the global batch, round up, and only then multiply by the epochs.",
        ],
    ),
    Exercise(
        "12.2",
        title="a replica's share of the loss",
        solution=replica_loss,
        check=check_replica_loss,
        minutes=10,
        difficulty=2,
        guard=False,  # TensorFlow traces it
        wrong=[own_mean, plain_sum, mean_over_global, mean_of_means, leaves_tensorflow],
        hints=[
            "Write the global mean as one fraction. Which part of its numerator can this replica compute?",
            "`tf.reduce_sum` of an empty tensor is 0, which is what a replica without images should contribute.",
        ],
    ),
    Exercise(
        "12.3",
        title="bytes of gradient per step",
        name="num_bytes",
        solution=437_544,
        check=check_num_bytes,
        minutes=5,
        difficulty=1,
        wrong=[
            (109_386, "counts numbers, not bytes"),
            (109_184, "counts numbers, not bytes, and forgets that biases have gradients too"),
            (436_736, "forgets that biases have gradients too"),
            (875_088, "takes eight bytes per number, which is float64"),
            (218_772, "takes two bytes per number, or halves it for two replicas; each replica has all gradients"),
            (3_500_352, "counts bits, not bytes"),
            (28_002_816, "multiplies by the batch; gradients are already summed over images"),
        ],
        hints=["One gradient per parameter.", "A float32 number takes 4 bytes."],
    ),
]
