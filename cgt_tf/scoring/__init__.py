"""Scores: samples, protocols, and the evaluator that puts them together."""
