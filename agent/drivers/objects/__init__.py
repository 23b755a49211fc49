"""Objects: files in buckets, which are directories of the host or lie in S3- or OSS-compatible stores."""
