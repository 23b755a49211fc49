"""Pages for browsers: the management terminal. Small files of our own, with what Debian packages bring."""
