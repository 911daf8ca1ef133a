"""Batches in processes of their own, which are killed."""
