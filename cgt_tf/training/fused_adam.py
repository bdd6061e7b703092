"""Adam as PyTorch has it, with one operation a variable."""

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):
    """Adam (Kingma & Ba, algorithm 1), whose update of a variable and its moments is one operation.

    theta -= lr * m_hat / (sqrt(v_hat) + epsilon), with m_hat = m / (1 - beta_1^t) and
    v_hat = v / (1 - beta_2^t), as PyTorch computes it, which the published settings are of. Keras
    adds epsilon to sqrt(v) instead: 1 / sqrt(1 - beta_2^t) as much, 32 times at the first update of
    beta_2 = 0.999, which shortens the first steps where gradients are no larger than epsilon is.

    Variables and their names are those of `keras.optimizers.Adam`, which makes about fifteen
    operations of an update: for many small variables the calls cost more than the numbers, and
    large ones are read and written several times.
    """

    def apply(self, grads, trainable_variables=None):
        """One update of all variables; as Keras', but for what all of them share, made once."""
        count = tf.cast(self.iterations + 1, tf.float32)
        self._powers = tf.pow(self.beta_1, count), tf.pow(self.beta_2, count)
        # The operation, like Keras, adds it to sqrt(v) = sqrt(1 - beta_2^t) sqrt(v_hat).
        self._epsilon = self.epsilon * tf.sqrt(1.0 - self._powers[1])
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """One update of a variable, called by `apply`.

        Args:
            gradient: float, in the variable's shape.
            variable: `tf.Variable`.
            learning_rate: Scalar.
        """
        index = self._get_variable_index(variable)
        first, second = self._momentums[index].value, self._velocities[index].value
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.handle,
            v=second.handle,
            beta1_power=self._powers[0],
            beta2_power=self._powers[1],
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self._epsilon,
            grad=gradient,
        )
