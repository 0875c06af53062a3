// The tokens of the buckets that matter, by rising id, a piece of the vocabulary a workgroup.

struct Params {
    cols: u32,
    splits: u32,
    parts: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;                // [cols], f32
@group(0) @binding(3) var<storage, read> buckets: array<u32>;          // [splits, 256, 4]
@group(0) @binding(4) var<storage, read> start: array<u32>;            // [1]
@group(0) @binding(5) var<storage, read_write> found: array<u32>;      // [13]: first and last bucket, tokens, target, total, random
@group(0) @binding(6) var<storage, read_write> values: array<u32>;     // [cols], f32
@group(0) @binding(7) var<storage, read_write> ids: array<u32>;        // [cols]
@group(0) @binding(8) var<uniform> params: Params;

var<workgroup> reached: u32;
var<workgroup> before: vec2<u32>;

fn mass_at(at: u32) -> vec2<u32> {
    return whole(vec3<u32>(buckets[at + 1u], buckets[at + 2u], buckets[at + 3u]));
}

fn store(at: u32, limbs: vec3<u32>) {
    found[at] = limbs.x;
    found[at + 1u] = limbs.y;
    found[at + 2u] = limbs.z;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let best = best_of(params.parts);
    // Of bucket `lane`: tokens of all pieces and of those before this one.
    var count = 0u;
    var earlier = 0u;
    var mass = vec2<u32>(0u);
    for (var i = 0u; i < params.splits; i++) {
        let at = (i * BUCKETS + lane) * 4u;
        earlier += select(0u, buckets[at], i < group.x);
        count += buckets[at];
        mass = add64(mass, mass_at(at));
    }
    let counted = scan(lane, vec2<u32>(count, 0u)).x;
    let sum = scan(lane, mass);
    let total = sums[255];
    let at_random = random(start[0] + 1u);

    // The bucket that reaches what the first step of the chain asks for.
    let all = keeps_all();
    var target_mass = share(total, top_p());
    if all {
        target_mass = pick(total, at_random);
    }
    let by_count = top_k() != 0u;
    let by_mass = !by_count && (all || top_p() != 0u);
    let reaches = (by_count && counted >= top_k()) || (by_mass && less64(target_mass, sum));
    let did = (by_count && counted - count >= top_k()) || (by_mass && less64(target_mass, subtract64(sum, mass)));
    if lane == 0u {
        reached = BUCKETS - 1u;
        before = vec2<u32>(0u);
    }
    workgroupBarrier();
    if reaches && !did {
        reached = lane;
        before = subtract64(sum, mass);
    }
    workgroupBarrier();
    var first = 0u;
    var last = reached;
    if all {
        first = last;
    } else if !by_count || top_p() == 0u {
        // Behind top-k, top-p asks for the probability of all that was kept.
        last = min(last, min_p() / BUCKET);
    }

    let inside = first <= lane && lane <= last;
    let skipped = scan(lane, vec2<u32>(select(0u, earlier, inside), select(0u, count, inside)));
    let listed = sums[255];
    if group.x == 0u && lane == 0u {
        found[0] = first;
        found[1] = last;
        found[2] = listed.y;
        store(3u, limbs(select(vec2<u32>(0u), subtract64(target_mass, before), all)));
        store(6u, limbs(total));
        found[9] = at_random.x & 0xFFFFu;
        found[10] = at_random.x >> 16u;
        found[11] = at_random.y & 0xFFFFu;
        found[12] = at_random.y >> 16u;
    }

    // Each invocation has tokens that follow one another, so that one running sum tells where they go.
    let length = (params.cols + params.splits - 1u) / params.splits;
    let end = min(group.x * length + length, params.cols);
    let run = (length + 255u) / 256u;
    let begin = min(group.x * length + lane * run, end);
    let until = min(begin + run, end);
    var mine = 0u;
    for (var i = begin; i < until; i++) {
        let bucket = bucket_of(best, x[i]);
        mine += select(0u, 1u, is_finite(x[i]) && first <= bucket && bucket <= last);
    }
    var to = listed.x + scan(lane, vec2<u32>(mine, 0u)).x - mine;
    for (var i = begin; i < until; i++) {
        let bucket = bucket_of(best, x[i]);
        if is_finite(x[i]) && first <= bucket && bucket <= last {
            values[to] = x[i];
            ids[to] = i;
            to++;
        }
    }
}
