"""Plain values everyone shares: ids, errors, states, specs, protocols. Imports nothing else of ours."""
