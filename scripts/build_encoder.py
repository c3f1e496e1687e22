"""Write the encoder inside the package, src/emovox/features/encoder.onnx, from the weights of Whisper.

::

    EMOVOX_WEIGHTS=DIR python scripts/build_encoder.py [--out FILE]

It is the encoder of the feature set `whisper-pair` in 8 bits.  The file changes only with the version of the feature
set `default`, because models name that version.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emovox.features.sets import PARTS
from emovox.lab.encoders.embeddings import embedder
from emovox.lab.estimators.graphs import noise, trace
from emovox.lab.export.optimisation import optimised
from emovox.lab.export.quantisation import quantise
from emovox.model.file import EMBEDDING, SAMPLES

HOME = Path(__file__).parents[1] / "src" / "emovox" / "features" / "encoder.onnx"


def main() -> None:
    """Trace, quantise and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HOME)
    given = parser.parse_args()
    weights = " + ".join(name for name, _, _ in PARTS)
    blocks = " + ".join(" ".join(map(str, used)) for _, _, used in PARTS)
    graph = trace(embedder("whisper-pair", weights, blocks, "mean-sd"), (noise(2, 1.0),), [SAMPLES], [EMBEDDING])
    given.out.write_bytes(optimised(quantise(graph)).SerializeToString())
    print(f"wrote {given.out}: {given.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
