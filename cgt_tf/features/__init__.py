"""Feature networks: what maps images to the features that metrics compare."""

# How images come to a network's resolution, see `feature_net`; stored with every score.
RESIZE = "bilinear, antialiased when shrinking"
