"""Arithmetic on flat vectors: checkpoints, layouts, task vectors, and passes over their numbers."""
