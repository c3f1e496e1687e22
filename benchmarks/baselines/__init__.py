"""Experiments on baselines of setting and speaker, each corpus left out in turn; see docs/baselines.md.

`embeddings` computes the embeddings of a balanced subset of the corpora, `data` loads them, `draws` draws baselines for
training, `heads` fits the designs, `scoring` scores them on a corpus they never heard, `run` prints the tables.
"""
