"""How far llama.cpp's CPU build, which rounds activations to int8, is from fp32: the divergence_*.json among the fixtures.

    npm install --ignore-scripts node-llama-cpp          # in a folder of its own: PEER
    pip install accelerate gguf numpy torch transformers
    python xtask/scripts/divergence.py PEER MODEL.gguf DIVERGENCE.json
    python xtask/scripts/divergence.py PEER MODEL.gguf DIVERGENCE.json --check

At each position of some texts: the Kullback-Leibler divergence, in nats, of what llama.cpp expects next from what transformers
expects with every product in fp32. `--check` writes nothing: it ends with status 1 when the mean has moved by more than a
twentieth.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import reference

# Prose, code, numbers, markup, several languages; each paragraph is a text of its own, for errors at the beginning of one
# reach all that follows.
TEXTS = """\
A lighthouse keeper wrote down the weather every evening for forty years. When the lamp was made electric in 1931, nobody
asked for the notes any more, yet she went on: wind from the north-west, 12 knots, two ships, one of them late.

def mean_wind(log):
    speeds = [entry.knots for entry in log if entry.knots is not None]
    return sum(speeds) / len(speeds) if speeds else 0.0

The students who found the books counted 14,609 entries. What they could not explain was the last page, on which there was
only a question: who will keep the light when I am gone? They put the pages on a website, one for each day, with a search
box and a map, and within a week 3,000 people had read them.

{"date": "1931-03-14", "wind": {"from": "NW", "knots": 12}, "ships": ["Aurora", "Tern"], "late": true}

Der Wind kam aus Nordwesten, und das zweite Schiff war zu spät. Le deuxième bateau est arrivé après minuit, sans lumière.
El faro todavía funciona, pero ya nadie escribe. Later the museum asked an engineer whether the notes were any good. She
compared them with the records of the harbour office: of 200 days picked at random, 187 agreed to within one knot, which is
better than most instruments of that time could do. The rest, she said, were probably errors of the harbour office.

| day | keeper | harbour |
|-----|--------|---------|
| 1   | 12     | 12      |
| 2   | 7      | 8       |

So the next step was to ask how she measured it. There was no anemometer in the tower, and
""".split("\n\n")
PEER = """
import { getLlama, LlamaLogLevel } from "%s/node_modules/node-llama-cpp/dist/index.js";
import { openSync, writeSync } from "node:fs";
const [modelPath, texts, out] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({
  contextSize: 1024, batchSize: 1024, flashAttention: false,
  experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
});
const all = { temperature: 1, topK: 0, topP: 1, minP: 0 };
const sequence = context.getSequence();
const file = openSync(out, "w");
for (const ids of JSON.parse(texts)) {
  await sequence.clearHistory();
  const tokens = ids.map((id) => [id, { generateNext: { probabilities: true, options: all } }]);
  for (const answer of await sequence.controlledEvaluate(tokens)) {
    const probabilities = new Float32Array(answer.next.probabilities.size);
    answer.next.probabilities.forEach((p, id) => { probabilities[id] = p; });
    writeSync(file, probabilities);
  }
}
process.exit(0);
"""
# Another processor rounds other sums.
REPRODUCED_WITHIN = 0.05


def expected(path, texts):
    """The logarithms of the probabilities at every position, in fp32."""
    import numpy
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = [model(torch.tensor([ids])).logits[0] for ids in texts]
    return numpy.concatenate([each.double().log_softmax(-1).numpy() for each in logits])


def peer_says(peer, path, texts):
    """llama.cpp's probabilities at every position."""
    import numpy

    with tempfile.TemporaryDirectory() as folder:
        script, out = (pathlib.Path(folder) / name for name in ("peer.mjs", "probabilities"))
        script.write_text(PEER % peer.resolve(), encoding="utf-8")
        subprocess.run(["node", script, path.resolve(), json.dumps(texts), out], check=True)
        return numpy.fromfile(out, dtype=numpy.float32).reshape(sum(map(len, texts)), -1).astype(numpy.float64)


def make(peer, path):
    import numpy

    words = reference.tokenizer(path)
    texts = [words(text).input_ids for text in TEXTS]
    logs, theirs = expected(path, texts), peer_says(peer, path, texts)
    if logs.shape != theirs.shape:
        sys.exit(f"transformers has {logs.shape[1]} tokens, llama.cpp {theirs.shape[1]}")
    # What is 0 in f32 counts as its smallest number.
    divergence = (numpy.exp(logs) * (logs - numpy.log(numpy.maximum(theirs, 1e-45)))).sum(-1)
    version = json.loads((peer / "node_modules" / "node-llama-cpp" / "package.json").read_text(encoding="utf-8"))
    return {
        "model": path.name,
        "sha256": reference.digest(path),
        "engine": f"llama.cpp, prebuilt CPU (npm node-llama-cpp {version['version']}), KV f32, no flash-attn, from "
                  f"{reference.engine()}",
        "texts": texts,
        "divergence": [round(float(value), 7) for value in divergence],
    }


def mean(made):
    return sum(made["divergence"]) / len(made["divergence"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", type=pathlib.Path, help="the folder with node-llama-cpp")
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file")
    parser.add_argument("divergence", type=pathlib.Path, help="the JSON file")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()
    made = make(arguments.peer, arguments.model)
    print(f"{made['model']}: {mean(made):.6f} nats over {len(made['divergence'])} positions")
    if arguments.check:
        known = json.loads(arguments.divergence.read_text(encoding="utf-8"))
        same = all(made[key] == known[key] for key in ("sha256", "texts"))
        print(f"the file says {mean(known):.6f}" if same else "the file is of another model or other texts")
        sys.exit(not same or abs(mean(made) - mean(known)) > REPRODUCED_WITHIN * mean(known))
    arguments.divergence.write_text(json.dumps(made, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
