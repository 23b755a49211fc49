"""Journalled work: what makes the host agree with the store, step by step, over any crash."""
