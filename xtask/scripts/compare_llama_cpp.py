"""Compares whole processes of `generate --device host` with llama.cpp's CPU build, one after the other, on one machine.

    npm install --ignore-scripts node-llama-cpp          # in a folder of its own: PEER
    cargo build --release --bin generate
    python xtask/scripts/compare_llama_cpp.py PEER MODEL.gguf... [--rounds 5] [--threads 2] [--tokens 128] [--busy 0]

Both continue the same text of about 128 tokens greedily. Each round runs DOPPLER, then llama.cpp; what is printed are
medians, and medians of the rounds' ratios (above 1 is better for DOPPLER, but for "first" and "memory" below 1).
"first" is from the start of the process to the first token. `--busy N` runs N processes beside them that do nothing but
compute.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TEXT = (
    "The history of computing begins with counting boards and continues through mechanical calculators to the "
    "electronic machines of today. "
)
PROMPT = " ".join((TEXT * 7).split()[:118])
PEER = """
import { getLlama, LlamaLogLevel } from "%s/node_modules/node-llama-cpp/dist/index.js";
const [modelPath, text, tokens, threads] = process.argv.slice(2);
const llama = await getLlama({
  gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error, maxThreads: Number(threads),
});
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const context = await model.createContext({ contextSize: 2048, batchSize: 512, flashAttention: true });
const prompt = model.tokenize(text);
let count = 0, first = 0;
const begun = performance.now();
for await (const _ of context.getSequence().evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
  if (count === 0) first = performance.now();
  if (++count >= Number(tokens)) break;
}
const decode = (count - 1) / ((performance.now() - first) / 1e3);
console.log(JSON.stringify({ prompt: prompt.length, prefill: prompt.length / ((first - begun) / 1e3), decode, first }));
process.exit(0);
"""
ROOT = pathlib.Path(__file__).parents[2]


def run(command):
    """The JSON object that a process prints, its seconds, its peak memory in MB, its seconds of CPU time."""
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} ended with status {status}")
    seconds = time.time() - started
    return json.loads(output), seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def ours(arguments, model, tokens):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = [target / "release" / "generate", "--model", model, "--device", "host", "--threads", arguments.threads]
    command += ["--raw", "--ignore-eos", "--json", "--max-seq-len", 2048, "--max-tokens", tokens, PROMPT]
    return run([str(part) for part in command])


def compare(arguments, script, model):
    ours(arguments, model, 1)  # converts it, once
    rounds = []
    for _ in range(arguments.rounds):
        mine, _, memory, cpu = ours(arguments, model, arguments.tokens)
        first = ours(arguments, model, 1)[1] * 1e3
        command = ["node", script, model, PROMPT, arguments.tokens, arguments.threads]
        peer, _, peer_memory, peer_cpu = run([str(part) for part in command])
        rounds.append(
            {
                "prefill": (mine["prefill_tok_s"], peer["prefill"]),
                "decode": (mine["decode_tok_s"], peer["decode"]),
                "first": (first, peer["first"]),
                "memory": (memory, peer_memory),
                "cpu": (cpu, peer_cpu),
            }
        )
    for what, unit in [("prefill", "tok/s"), ("decode", "tok/s"), ("first", "ms"), ("memory", "MiB"), ("cpu", "s")]:
        pairs = [entry[what] for entry in rounds]
        ratio = statistics.median(a / b for a, b in pairs)
        a, b = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        print(f"{pathlib.Path(model).name:44} {what:8} {a:9.1f} {b:9.1f} {unit:6} ×{ratio:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", type=pathlib.Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--busy", type=int, default=0)
    arguments = parser.parse_args()
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder) / "peer.mjs"
            script.write_text(PEER % arguments.peer.resolve())
            for model in arguments.models:
                compare(arguments, script, model)
    finally:
        for neighbour in neighbours:
            neighbour.kill()


if __name__ == "__main__":
    main()
