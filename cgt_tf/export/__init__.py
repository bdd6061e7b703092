"""Trained generators as something to use: SavedModels for serving, pictures of samples."""
