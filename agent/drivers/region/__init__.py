"""Agents of other regions."""
