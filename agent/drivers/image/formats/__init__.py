"""What the file of a stranger is, by our own reading of it: nothing here opens a file, runs a program, follows a name.

Each module knows one format: which disk it holds, that all it needs is inside the file, and that it refers to no other.
"""
