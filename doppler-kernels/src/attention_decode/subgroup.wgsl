// Keys and values from memory into registers, where 32 consecutive invocations are a subgroup: LANES of these share a position,
// each with LANE_QUADS of its quads, and every subgroup keeps sums of its own until the end.

const LANES: u32 = min(QUADS, 32u);
const LANE_QUADS: u32 = QUADS / LANES;
const SUBGROUPS: u32 = WG / 32u;
// Positions of one load of a workgroup, and of all LOADS of them.
const POSITIONS: u32 = SUBGROUPS * 32u / LANES;
const CHUNK: u32 = LOADS * POSITIONS;

// The queries of the group, the new key and the new value.
var<workgroup> new_heads: array<vec4<f32>, (GROUP + 2u) * QUADS>;
var<workgroup> merged: array<vec4<f32>, SUBGROUPS * GROUP * QUADS>;
// The largest score of a head in a subgroup, and the sum of its weights.
var<workgroup> merged_totals: array<vec2<f32>, SUBGROUPS * GROUP>;

var<private> keys_ahead: array<Quad, LOADS * LANE_QUADS>;
var<private> values_ahead: array<Quad, LOADS * LANE_QUADS>;

// The position of an invocation's n-th load of the chunk that begins at `at`.
fn place(thread: u32, at: u32, n: u32) -> u32 {
    return at + n * POSITIONS + thread / LANES;
}

fn load_keys(thread: u32, kv_head: u32, at: u32, end: u32) {
    for (var n = 0u; n < LOADS; n++) {
        let head = min(place(thread, at, n), end - 1u) * params.num_key_value_heads + kv_head;
        for (var j = 0u; j < LANE_QUADS; j++) {
            keys_ahead[n * LANE_QUADS + j] = load_key(head, j * LANES + thread % LANES);
        }
    }
}

fn load_values(thread: u32, kv_head: u32, at: u32, end: u32) {
    for (var n = 0u; n < LOADS; n++) {
        let head = min(place(thread, at, n), end - 1u) * params.num_key_value_heads + kv_head;
        for (var j = 0u; j < LANE_QUADS; j++) {
            values_ahead[n * LANE_QUADS + j] = load_value(head, j * LANES + thread % LANES);
        }
    }
}

// The sum over the lanes that share a position; each of them gets it.
fn lane_sum(v: f32) -> f32 {
    var sum = v;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}

fn projected_quad(h: u32, kv_head: u32, i: u32) -> vec4<f32> {
    let d = 4u * i;
    return vec4<f32>(
        projected(h, kv_head, d),
        projected(h, kv_head, d + 1u),
        projected(h, kv_head, d + 2u),
        projected(h, kv_head, d + 3u),
    );
}

// What the quad is multiplied with by the norm of its head, but for the head's factor.
fn norm_weight(h: u32, i: u32) -> vec4<f32> {
    let at = bias_len() + select(0u, HEAD_DIM, h == GROUP) + 4u * i;
    return vec4<f32>(vectors[at], vectors[at + 1u], vectors[at + 2u], vectors[at + 3u]);
}

// A query or the new key after norm and rotation, into workgroup memory.
fn turn_head(h: u32, kv_head: u32, lane: u32) {
    const HALF: u32 = ROTARY_DIM / 2u;
    var factor = 1.0;
    if QK_NORM != 0u {
        var sum = 0.0;
        for (var j = 0u; j < LANE_QUADS; j++) {
            let x = projected_quad(h, kv_head, j * LANES + lane % LANES);
            sum += dot(x, x);
        }
        factor = inverseSqrt(lane_sum(sum) / f32(HEAD_DIM) + params.eps);
    }
    for (var i = lane; i < QUADS; i += 32u) {
        var x = projected_quad(h, kv_head, i);
        if QK_NORM != 0u {
            x *= factor * norm_weight(h, i);
        }
        if 4u * i < ROTARY_DIM {
            let first = 4u * i < HALF;
            let partner = select(i - HALF / 4u, i + HALF / 4u, first);
            var other = projected_quad(h, kv_head, partner);
            if QK_NORM != 0u {
                other *= factor * norm_weight(h, partner);
            }
            let at = (start[0] + row) * HALF + 4u * min(i, partner);
            let a = table[at];
            let b = table[at + 1u];
            let c = table[at + 2u];
            let d = table[at + 3u];
            let cosines = vec4<f32>(a.x, b.x, c.x, d.x);
            let sines = vec4<f32>(a.y, b.y, c.y, d.y);
            x = x * cosines + select(other, -other, first) * sines;
        }
        new_heads[h * QUADS + i] = x;
    }
}

fn take_value(kv_head: u32, lane: u32) {
    for (var i = lane; i < QUADS; i += 32u) {
        let d = kv_head * HEAD_DIM + 4u * i;
        var x = vec4<f32>(new_value(d), new_value(d + 1u), new_value(d + 2u), new_value(d + 3u));
        if BIAS != 0u {
            let at = (params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM + d;
            x += vec4<f32>(vectors[at], vectors[at + 1u], vectors[at + 2u], vectors[at + 3u]);
        }
        new_heads[(GROUP + 1u) * QUADS + i] = x;
    }
}

// A quad of the new key or the new value as the cache gives it back.
fn new_quad(which: u32, i: u32) -> Quad {
    var largest = 0.0;
    for (var j = 0u; j < BLOCK; j++) {
        largest = max(largest, magnitude(new_heads[which * QUADS + i / BLOCK * BLOCK + j]));
    }
    return pack_quad(new_heads[which * QUADS + i], largest);
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    if ROWS > 1u {
        row = group.z;
    }
    let kv_head = group.x;
    let piece = group.y;
    let range = piece_of(piece);
    let lane = thread % 32u;
    let subgroup = thread / 32u;
    // What comes from memory is asked for before anything is waited for.
    let last = max(range.end, 1u);
    load_keys(thread, kv_head, range.begin, last);
    load_values(thread, kv_head, range.begin, last);
    for (var h = subgroup; h < GROUP + 2u; h += SUBGROUPS) {
        if h <= GROUP {
            turn_head(h, kv_head, lane);
        } else {
            take_value(kv_head, lane);
        }
    }
    workgroupBarrier();
    let holds_new = ROWS == 1u && range.begin <= range.position && range.position < range.end;
    if holds_new {
        let head = range.position * params.num_key_value_heads + kv_head;
        for (var i = thread; i < QUADS; i += WG) {
            store_key(head, i, new_quad(GROUP, i));
            store_value(head, i, new_quad(GROUP + 1u, i));
        }
    }

    var q: array<vec4<f32>, GROUP * LANE_QUADS>;
    var sums: array<vec4<f32>, GROUP * LANE_QUADS>;
    var totals: array<f32, GROUP>;
    var largest: array<f32, GROUP>;
    for (var h = 0u; h < GROUP; h++) {
        largest[h] = UNSEEN;
        for (var j = 0u; j < LANE_QUADS; j++) {
            q[h * LANE_QUADS + j] = new_heads[h * QUADS + j * LANES + thread % LANES];
        }
    }
    for (var at = range.begin; at < range.end; at += CHUNK) {
        // The new position is not in memory yet, as far as this workgroup can see.
        if holds_new && range.position >= at && range.position < at + CHUNK {
            for (var n = 0u; n < LOADS; n++) {
                for (var j = 0u; j < LANE_QUADS; j++) {
                    if place(thread, at, n) == range.position {
                        keys_ahead[n * LANE_QUADS + j] = new_quad(GROUP, j * LANES + thread % LANES);
                        values_ahead[n * LANE_QUADS + j] = new_quad(GROUP + 1u, j * LANES + thread % LANES);
                    }
                }
            }
        }
        var scores: array<f32, LOADS * GROUP>;
        for (var n = 0u; n < LOADS; n++) {
            for (var j = 0u; j < LANE_QUADS; j++) {
                let key = unpack_quad(keys_ahead[n * LANE_QUADS + j]);
                for (var h = 0u; h < GROUP; h++) {
                    scores[n * GROUP + h] += dot(q[h * LANE_QUADS + j], key);
                }
            }
        }
        load_keys(thread, kv_head, at + CHUNK, range.end);
        for (var h = 0u; h < GROUP; h++) {
            var new_largest = largest[h];
            for (var n = 0u; n < LOADS; n++) {
                let score = capped(lane_sum(scores[n * GROUP + h]));
                scores[n * GROUP + h] = select(UNSEEN, score, place(thread, at, n) < range.end);
                new_largest = max(new_largest, scores[n * GROUP + h]);
            }
            let shrink = exp(largest[h] - new_largest);
            largest[h] = new_largest;
            totals[h] *= shrink;
            for (var j = 0u; j < LANE_QUADS; j++) {
                sums[h * LANE_QUADS + j] *= shrink;
            }
            for (var n = 0u; n < LOADS; n++) {
                let seen = place(thread, at, n) < range.end;
                let weight = select(0.0, exp(scores[n * GROUP + h] - new_largest), seen);
                scores[n * GROUP + h] = weight;
                totals[h] += weight;
            }
        }
        for (var n = 0u; n < LOADS; n++) {
            for (var j = 0u; j < LANE_QUADS; j++) {
                let value = unpack_quad(values_ahead[n * LANE_QUADS + j]);
                for (var h = 0u; h < GROUP; h++) {
                    sums[h * LANE_QUADS + j] += scores[n * GROUP + h] * value;
                }
            }
        }
        load_values(thread, kv_head, at + CHUNK, range.end);
    }

    // The positions of a subgroup, then the subgroups.
    for (var h = 0u; h < GROUP; h++) {
        for (var half = LANES; half < 32u; half *= 2u) {
            let other = subgroupShuffleXor(largest[h], half);
            let new_largest = max(largest[h], other);
            let shrink = exp(largest[h] - new_largest);
            largest[h] = new_largest;
            totals[h] *= shrink;
            totals[h] += subgroupShuffleXor(totals[h], half);
            for (var j = 0u; j < LANE_QUADS; j++) {
                let shrunk = sums[h * LANE_QUADS + j] * shrink;
                sums[h * LANE_QUADS + j] = shrunk + subgroupShuffleXor(shrunk, half);
            }
        }
        if lane < LANES {
            for (var j = 0u; j < LANE_QUADS; j++) {
                merged[(subgroup * GROUP + h) * QUADS + j * LANES + lane] = sums[h * LANE_QUADS + j];
            }
        }
        if lane == 0u {
            merged_totals[subgroup * GROUP + h] = vec2<f32>(largest[h], totals[h]);
        }
    }
    workgroupBarrier();
    for (var item = thread; item < GROUP * QUADS; item += WG) {
        let h = item / QUADS;
        var most = UNSEEN;
        for (var s = 0u; s < SUBGROUPS; s++) {
            most = max(most, merged_totals[s * GROUP + h].x);
        }
        var sum = vec4<f32>(0.0);
        var total = 0.0;
        for (var s = 0u; s < SUBGROUPS; s++) {
            let factor = exp(merged_totals[s * GROUP + h].x - most);
            total += factor * merged_totals[s * GROUP + h].y;
            sum += factor * merged[(s * GROUP + h) * QUADS + item % QUADS];
        }
        let out = ((row * params.num_attention_heads + kv_head * GROUP + h) * params.splits + piece) * (HEAD_DIM + 2u);
        if item % QUADS == 0u {
            partials[out] = most;
            partials[out + 1u] = total;
        }
        let d = out + 2u + item % QUADS * 4u;
        partials[d] = sum.x;
        partials[d + 1u] = sum.y;
        partials[d + 2u] = sum.z;
        partials[d + 3u] = sum.w;
    }
}
