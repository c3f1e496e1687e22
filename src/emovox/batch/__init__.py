"""A million recordings: inputs of any kind, resumable output, local processes, machines of a cluster or an array."""
