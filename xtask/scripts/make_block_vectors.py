"""Makes doppler-rdrr/tests/fixtures/block_vectors.json: random packed blocks and what gguf-py reads from them.

Run from the repository root, in an environment with `pip install gguf numpy`:

    python xtask/scripts/make_block_vectors.py > doppler-rdrr/tests/fixtures/block_vectors.json
"""

import json

import gguf
import numpy as np

# Where the half-precision scales of a block are: random bits there must not make infinities.
SCALES = {
    "F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}


def vectors(name, rng):
    dtype = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[dtype]
    count = 3 if elements == 256 else 8 if elements == 32 else 64
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in SCALES.get(name, []):
        # Any sign, exponents from 0 (subnormal) to 30: never 31.
        half = rng.integers(0, 31, count, dtype=np.uint16) << 10 | rng.integers(0, 1024, count, dtype=np.uint16)
        half |= rng.integers(0, 2, count, dtype=np.uint16) << 15
        blocks[:, at:at + 2] = half.astype("<u2").view(np.uint8).reshape(count, 2)
    if name == "BF16":
        blocks[:, 1] &= 0xBF
    values = gguf.dequantize(blocks.reshape(1, -1), dtype).astype("<f4").reshape(-1)
    assert np.isfinite(values).all() and len(values) == count * elements
    return {"dtype": name, "bytes": blocks.tobytes().hex(), "values": values.tobytes().hex()}


rng = np.random.default_rng(20261121)
names = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
print("[\n" + ",\n".join(json.dumps(vectors(name, rng)) for name in names) + "\n]")
