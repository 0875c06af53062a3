// Tokens of a piece of the vocabulary by their distance from the best: how many, and the sum of their weights.

struct Params {
    cols: u32,
    splits: u32,
    parts: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;                // [cols], f32
@group(0) @binding(3) var<storage, read_write> buckets: array<u32>;    // [splits, 256, 4]: count, mass in three limbs
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> counts: array<atomic<u32>, BUCKETS>;
var<workgroup> lows: array<atomic<u32>, BUCKETS>;
var<workgroup> highs: array<atomic<u32>, BUCKETS>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    atomicStore(&counts[lane], 0u);
    atomicStore(&lows[lane], 0u);
    atomicStore(&highs[lane], 0u);
    workgroupBarrier();
    let best = best_of(params.parts);
    // Only the first step of the chain that asks for a probability needs any here, and not behind top-k.
    let all = keeps_all();
    let weighs = top_k() == 0u && (top_p() != 0u || all);
    var scale = PLAIN;
    if all {
        scale = drawn_scale();
    }
    let length = (params.cols + params.splits - 1u) / params.splits;
    let begin = min(group.x * length, params.cols);
    let end = min(begin + length, params.cols);
    for (var i = begin + lane; i < end; i += 256u) {
        let value = x[i];
        if !is_finite(value) {
            continue;
        }
        let bucket = bucket_of(best, value);
        atomicAdd(&counts[bucket], 1u);
        if weighs {
            let mass = weight(octaves(scale, best, value));
            let low = atomicAdd(&lows[bucket], mass.x);
            atomicAdd(&highs[bucket], mass.y + select(0u, 1u, low + mass.x < low));
        }
    }
    workgroupBarrier();
    let mass = limbs(vec2<u32>(atomicLoad(&lows[lane]), atomicLoad(&highs[lane])));
    let at = (group.x * BUCKETS + lane) * 4u;
    buckets[at] = atomicLoad(&counts[lane]);
    buckets[at + 1u] = mass.x;
    buckets[at + 2u] = mass.y;
    buckets[at + 3u] = mass.z;
}
