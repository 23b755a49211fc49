"""Nonces of signed requests, so that none is accepted twice."""

from __future__ import annotations

import hashlib
import secrets
import threading


class NonceCache:
    """Remembers each nonce of each key until its request's timestamp would be refused anyway.

    In memory and bounded: at most `per_key` nonces of one key are kept; beyond that the key has to wait. About
    100 bytes a nonce.
    """

    BUCKET_SECONDS = 60

    def __init__(self, per_key: int = 100_000) -> None:
        self.per_key = per_key
        self._salt = secrets.token_bytes(16)
        self._lock = threading.Lock()
        # access key -> minute of expiry -> hashes
        self._buckets: dict[str, dict[int, set[int]]] = {}

    def add(self, key: str, nonce: str, expires: float, now: float) -> bool:
        """Whether `nonce` is new for `key`; times in seconds. Raises OverflowError when the key has too many."""
        code = self._hash(nonce)
        with self._lock:
            self._forget(now)
            buckets = self._buckets.setdefault(key, {})
            if any(code in bucket for bucket in buckets.values()):
                return False
            if sum(map(len, buckets.values())) >= self.per_key:
                raise OverflowError(key)
            buckets.setdefault(int(expires // self.BUCKET_SECONDS) + 1, set()).add(code)
            return True

    def __len__(self) -> int:
        return sum(len(bucket) for buckets in self._buckets.values() for bucket in buckets.values())

    def _hash(self, nonce: str) -> int:
        # Keyed, so that nobody can construct two nonces that look alike.
        return int.from_bytes(hashlib.blake2b(nonce.encode(), key=self._salt, digest_size=8).digest(), "big")

    def _forget(self, now: float) -> None:
        minute = int(now // self.BUCKET_SECONDS)
        for key in list(self._buckets):
            buckets = self._buckets[key]
            for old in [expiry for expiry in buckets if expiry < minute]:
                del buckets[old]
            if not buckets:
                del self._buckets[key]
