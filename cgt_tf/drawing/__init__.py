"""Rows of images of a model and what they are of, as a picture or as files."""
