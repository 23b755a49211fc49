"""Guests of others: read, never changed."""
