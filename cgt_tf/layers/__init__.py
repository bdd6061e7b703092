"""Layers of BigGAN and of the transfer methods, written with `keras.ops` only."""
