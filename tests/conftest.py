"""What makes all tests quicker, and changes nothing that they see."""

import gc

import tensorflow as tf

# TensorFlow's own objects, of which there are millions, are not looked through again and again.
gc.collect()
gc.freeze()
gc.set_threshold(100_000, 20, 50)

# Graphs that run for a few steps do not pay for their rewriting; tests/conformance has it.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
