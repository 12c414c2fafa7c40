"""What TensorFlow's strategies leave to you when you write the training step yourself.

`Model.fit` scales losses on its own (lesson 12 shows where that is inexact); a custom step must do it. It does not
choose devices or start processes.
"""

import tensorflow as tf


def replica_loss(per_image_losses: tf.Tensor, global_batch_size: tf.Tensor) -> tf.Tensor:
    """This replica's share of the global batch's mean loss: summed over replicas, the shares are that mean.

    per_image_losses: (n,), the losses of the n images that this replica was given; n may be 0.
    global_batch_size: float32 scalar, how many images all replicas were given together in this step.
    Returns a scalar. The gradient of a sum is the sum of the gradients, so shares also sum to the right gradient.
    """
    return tf.reduce_sum(per_image_losses) / global_batch_size
