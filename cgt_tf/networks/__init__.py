"""BigGAN networks, built from one spec."""
