"""Wanted state, journal and accounts, in one SQL database (SQLite by default). Knows nothing of drivers."""
