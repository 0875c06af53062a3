// The token, of those that were gathered: what top-k, top-p and min-p keep of them, and which of these the random number
// points at. Each is a threshold in the order of tokens, found digit by digit: in each round invocations sum the weights by
// one digit of their tokens' places, and the digit at which the running sum passes the target is the next of the threshold.

struct Params {
    parts: u32,
}

@group(0) @binding(0) var<storage, read> best_ids: array<u32>;         // [parts]
@group(0) @binding(3) var<storage, read> found: array<u32>;            // [13]
@group(0) @binding(4) var<storage, read> values: array<u32>;           // [cols], f32
@group(0) @binding(5) var<storage, read> ids: array<u32>;              // [cols]
@group(0) @binding(6) var<storage, read_write> start: array<u32>;      // [1]
@group(0) @binding(7) var<storage, read_write> id: array<u32>;         // [1]
@group(0) @binding(8) var<uniform> params: Params;

// What is summed.
const ONES: u32 = 0u;
const PROBABILITIES: u32 = 1u;
const DRAWN: u32 = 2u;

// A token's place: by its logit, then by its id.
struct Place {
    rank: u32,
    id: u32,
}

const END: Place = Place(NONE, NONE);

var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> lows: array<atomic<u32>, 256>;
var<workgroup> highs: array<atomic<u32>, 256>;
var<workgroup> digit: u32;
var<workgroup> single: u32;
var<workgroup> before: vec2<u32>;
var<workgroup> place: vec2<u32>;
var<private> best: u32;

fn mass_of(kind: u32, value: u32) -> vec2<u32> {
    if kind == ONES {
        return vec2<u32>(1u, 0u);
    }
    let plain = octaves(PLAIN, best, value);
    if kind == PROBABILITIES {
        return weight(plain);
    }
    if plain > min_p() {
        return vec2<u32>(0u);
    }
    return weight(octaves(drawn_scale(), best, value));
}

fn within(limit: Place, r: u32, token: u32) -> bool {
    return r < limit.rank || (r == limit.rank && token <= limit.id);
}

// Clears the sums. Call in uniform control flow, as all below.
fn clear(lane: u32) {
    workgroupBarrier();
    atomicStore(&counts[lane], 0u);
    atomicStore(&lows[lane], 0u);
    atomicStore(&highs[lane], 0u);
    workgroupBarrier();
}

fn add(at: u32, mass: vec2<u32>) {
    let low = atomicAdd(&lows[at], mass.x);
    atomicAdd(&highs[at], mass.y + select(0u, 1u, low + mass.x < low));
}

// The mass of all tokens up to `limit`.
fn total_of(lane: u32, kind: u32, limit: Place) -> vec2<u32> {
    var sum = vec2<u32>(0u);
    for (var i = lane; i < found[2]; i += 256u) {
        if within(limit, rank(values[i]), ids[i]) {
            sum = add64(sum, mass_of(kind, values[i]));
        }
    }
    _ = scan(lane, sum);
    let total = sums[255];
    workgroupBarrier();
    return total;
}

// Eight bits of a place: four digits of the rank, then three of the id.
fn digit_of(level: u32, r: u32, token: u32) -> u32 {
    return select(r >> ((24u - 8u * level) & 31u), token >> ((48u - 8u * level) & 31u), level > 3u) & 255u;
}

// Whether the digits before `level` are those of `prefix`.
fn follows(level: u32, prefix: Place, r: u32, token: u32) -> bool {
    if level == 0u {
        return true;
    }
    if level < 4u {
        return (r ^ prefix.rank) >> (32u - 8u * level) == 0u;
    }
    return r == prefix.rank && (level == 4u || (token ^ prefix.id) >> (56u - 8u * level) == 0u);
}

// The place of the first token at which the running sum passes `passes`; `limit` when it never does.
fn first_past(lane: u32, kind: u32, limit: Place, passes: vec2<u32>) -> Place {
    var left = passes;
    var prefix = Place(0u, 0u);
    for (var level = 0u; level < 7u; level++) {
        clear(lane);
        for (var i = lane; i < found[2]; i += 256u) {
            let r = rank(values[i]);
            if within(limit, r, ids[i]) && follows(level, prefix, r, ids[i]) {
                let at = digit_of(level, r, ids[i]);
                atomicAdd(&counts[at], 1u);
                add(at, mass_of(kind, values[i]));
            }
        }
        if lane == 0u {
            digit = NONE;
        }
        workgroupBarrier();
        let mass = vec2<u32>(atomicLoad(&lows[lane]), atomicLoad(&highs[lane]));
        let sum = scan(lane, mass);
        if less64(left, sum) && !less64(left, subtract64(sum, mass)) {
            digit = lane;
            before = subtract64(sum, mass);
            single = atomicLoad(&counts[lane]);
        }
        let next = workgroupUniformLoad(&digit);
        if next == NONE {
            return limit;
        }
        left = subtract64(left, workgroupUniformLoad(&before));
        if workgroupUniformLoad(&single) == 1u {
            for (var i = lane; i < found[2]; i += 256u) {
                let r = rank(values[i]);
                let here = within(limit, r, ids[i]) && follows(level, prefix, r, ids[i]);
                if here && digit_of(level, r, ids[i]) == next {
                    place = vec2<u32>(r, ids[i]);
                }
            }
            let only = workgroupUniformLoad(&place);
            return Place(only.x, only.y);
        }
        if level < 4u {
            prefix.rank |= next << (24u - 8u * level);
        } else {
            prefix.id |= next << (48u - 8u * level);
        }
    }
    return prefix;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    best = best_of(params.parts);
    let at_random = vec2<u32>(found[9] | (found[10] << 16u), found[11] | (found[12] << 16u));
    var limit = END;
    var passes = whole(vec3<u32>(found[3], found[4], found[5]));
    if !keeps_all() {
        if top_k() != 0u {
            limit = first_past(lane, ONES, limit, vec2<u32>(top_k() - 1u, 0u));
        }
        if top_p() != 0u {
            var total = whole(vec3<u32>(found[6], found[7], found[8]));
            if top_k() != 0u {
                total = total_of(lane, PROBABILITIES, limit);
            }
            limit = first_past(lane, PROBABILITIES, limit, share(total, top_p()));
        }
        passes = pick(total_of(lane, DRAWN, limit), at_random);
    }
    let chosen = first_past(lane, DRAWN, limit, passes);
    if lane == 0u {
        // The best of a piece with a NaN is nobody and positive.
        var broken = !is_finite(best) || found[2] == 0u;
        for (var i = 0u; i < params.parts; i++) {
            broken = broken || (best_ids[i] == NONE && best_values[i] >> 31u == 0u);
        }
        id[0] = select(chosen.id, NONE, broken);
        start[0] += 1u;
    }
}
