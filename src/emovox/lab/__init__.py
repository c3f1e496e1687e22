"""Everything that needs the `[train]` extra: corpora, estimators, export, evaluation, reports, experiments.

Importing it makes the feature sets of pretrained encoders known; torch is loaded with the first clip.
"""

from emovox.lab.encoders import embeddings as embeddings
