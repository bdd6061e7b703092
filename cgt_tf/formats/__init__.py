"""Source GANs by handle."""
