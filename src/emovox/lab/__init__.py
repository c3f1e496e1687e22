"""Everything that needs the `[train]` extra: corpora, estimators, export, evaluation, reports, experiments.

Importing it registers the feature sets of pretrained encoders; torch is imported with the first clip.
"""

from emovox.lab.encoders import embeddings as embeddings
