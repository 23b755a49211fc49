"""RAM policies (SPEC R3): parsing and evaluation, pure.

`parse.policy(text)` and `trust.parse(text)` read documents, `evaluate.decide(...)` says whether a request is allowed,
`system.POLICIES` are those that every account has.
"""
