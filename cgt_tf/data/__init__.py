"""Data sets: bundled glyphs, image folders, prepared TFDS data and input pipelines."""
