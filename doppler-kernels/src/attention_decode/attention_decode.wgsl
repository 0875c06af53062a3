// One new position: bias, norm of heads, rotation, writing of the cache, and attention of the heads that share a key-value
// head over one piece of the context.

struct Params {
    num_attention_heads: u32,
    num_key_value_heads: u32,
    capacity: u32,
    window: u32,       // positions that are seen, the new one included; 0: all
    rotary_dim: u32,   // 0: no rotation
    splits: u32,
    scale: f32,
    softcap: f32,      // 0: none
    eps: f32,
}

const QUADS: u32 = HEAD_DIM / 4u;
// A quad more, so that the rows of a tile begin at different banks.
const PITCH: u32 = QUADS + 1u;
// Each item is four output elements of one head.
const ITEMS: u32 = GROUP * QUADS;
const UNSEEN: f32 = -1e30;

// The queries of the group, then the new key.
var<workgroup> heads: array<f32, (GROUP + 1u) * HEAD_DIM>;
var<workgroup> squares: array<f32, (GROUP + 1u) * 16u>;
var<workgroup> tile: array<Quad, TILE * PITCH>;
var<workgroup> scores: array<f32, GROUP * TILE>;
var<workgroup> merged: array<vec4<f32>, MERGED>;
var<workgroup> merged_totals: array<f32, MERGED>;

// Where head `h` of `heads` begins in `qkv`.
fn source(h: u32, kv_head: u32) -> u32 {
    return select(kv_head * GROUP + h, params.num_attention_heads + kv_head, h == GROUP) * HEAD_DIM;
}

// Offsets in `vectors`: the biases of q, k and v, then the norms of query and key heads.
fn bias_len() -> u32 {
    return BIAS * (params.num_attention_heads + 2u * params.num_key_value_heads) * HEAD_DIM;
}

fn load_heads(thread: u32, kv_head: u32) {
    for (var i = thread; i < (GROUP + 1u) * HEAD_DIM; i += WG) {
        let origin = source(i / HEAD_DIM, kv_head) + i % HEAD_DIM;
        var x = qkv[origin];
        if BIAS != 0u {
            x += vectors[origin];
        }
        heads[i] = x;
    }
    workgroupBarrier();
    if QK_NORM != 0u {
        for (var i = thread; i < (GROUP + 1u) * 16u; i += WG) {
            var sum = 0.0;
            for (var d = i & 15u; d < HEAD_DIM; d += 16u) {
                let x = heads[i / 16u * HEAD_DIM + d];
                sum += x * x;
            }
            squares[i] = sum;
        }
        workgroupBarrier();
        for (var i = thread; i < (GROUP + 1u) * HEAD_DIM; i += WG) {
            let h = i / HEAD_DIM;
            var sum = 0.0;
            for (var j = 0u; j < 16u; j++) {
                sum += squares[h * 16u + j];
            }
            let weight = vectors[bias_len() + select(0u, HEAD_DIM, h == GROUP) + i % HEAD_DIM];
            heads[i] *= inverseSqrt(sum / f32(HEAD_DIM) + params.eps) * weight;
        }
        workgroupBarrier();
    }
    let half = params.rotary_dim / 2u;
    for (var i = thread; i < (GROUP + 1u) * half; i += WG) {
        let at = i / half * HEAD_DIM + i % half;
        let turn = table[start[0] * half + i % half];
        let a = heads[at];
        let b = heads[at + half];
        heads[at] = a * turn.x - b * turn.y;
        heads[at + half] = b * turn.x + a * turn.y;
    }
    workgroupBarrier();
}

fn capped(dot: f32) -> f32 {
    let score = dot * params.scale;
    if params.softcap == 0.0 {
        return score;
    }
    // tanh of large arguments overflows on some drivers.
    return params.softcap * tanh(clamp(score / params.softcap, -15.0, 15.0));
}

// Invocations beyond the items take other positions of a tile: slices of it.
const SLICES: u32 = max(WG / ITEMS, 1u);

// Keys and values of a tile on their way, in registers.
var<private> keys: array<Quad, KEYS>;
var<private> values_ahead: array<Quad, PER * VALUES>;

fn load_keys(thread: u32, kv_head: u32, at: u32, end: u32) {
    for (var i = 0u; i < KEYS; i++) {
        let quad = thread + i * WG;
        let position = at + quad / QUADS;
        if quad < TILE * QUADS && position < end {
            keys[i] = k[(position * params.num_key_value_heads + kv_head) * QUADS + quad % QUADS];
        }
    }
}

fn load_values(thread: u32, kv_head: u32, at: u32, end: u32) {
    for (var i = 0u; i < PER; i++) {
        let item = thread % ITEMS + i * WG;
        for (var j = 0u; j < VALUES; j++) {
            let position = at + thread / ITEMS + j * SLICES;
            if position < end && item < ITEMS {
                values_ahead[i * VALUES + j] =
                    v[(position * params.num_key_value_heads + kv_head) * QUADS + item % QUADS];
            }
        }
    }
}

fn new_key_quad(i: u32) -> Quad {
    let at = GROUP * HEAD_DIM + 4u * i;
    return pack_quad(vec4<f32>(heads[at], heads[at + 1u], heads[at + 2u], heads[at + 3u]));
}

fn new_value_quad(kv_head: u32, i: u32) -> Quad {
    let d = kv_head * HEAD_DIM + 4u * i;
    var x = vec4<f32>(new_value(d), new_value(d + 1u), new_value(d + 2u), new_value(d + 3u));
    if BIAS != 0u {
        let at = (params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM + d;
        x += vec4<f32>(vectors[at], vectors[at + 1u], vectors[at + 2u], vectors[at + 3u]);
    }
    return pack_quad(x);
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let kv_head = group.x;
    let piece = group.y;
    let position = min(start[0], params.capacity - 1u);
    let first = select(0u, position + 1u - params.window, params.window != 0u && position >= params.window);
    let length = (position + 1u - first + params.splits - 1u) / params.splits;
    let begin = min(first + piece * length, position + 1u);
    let end = min(begin + length, position + 1u);

    // Everything that comes from memory is asked for before anything is waited for.
    load_keys(thread, kv_head, begin, end);
    load_values(thread, kv_head, begin, end);
    var new_value_quads: array<Quad, PER>;
    for (var i = 0u; i < PER; i++) {
        new_value_quads[i] = new_value_quad(kv_head, (thread % ITEMS + i * WG) % QUADS);
    }
    load_heads(thread, kv_head);
    if begin <= position && position < end {
        let row = (position * params.num_key_value_heads + kv_head) * QUADS;
        for (var i = thread; i < QUADS; i += WG) {
            k[row + i] = new_key_quad(i);
            v[row + i] = new_value_quad(kv_head, i);
        }
    }

    let slice = thread / ITEMS;
    var sums: array<vec4<f32>, PER>;
    var totals: array<f32, PER>;
    var largest: array<f32, PER>;
    for (var i = 0u; i < PER; i++) {
        largest[i] = UNSEEN;
    }
    for (var at = begin; at < end; at += TILE) {
        let count = min(TILE, end - at);
        for (var i = 0u; i < KEYS; i++) {
            let quad = thread + i * WG;
            if quad < count * QUADS {
                // The new position is not in memory yet, as far as this workgroup can see.
                var value = keys[i];
                if at + quad / QUADS == position {
                    value = new_key_quad(quad % QUADS);
                }
                tile[quad / QUADS * PITCH + quad % QUADS] = value;
            }
        }
        workgroupBarrier();
        load_keys(thread, kv_head, at + TILE, end);
        for (var i = thread; i < GROUP * TILE; i += WG) {
            let h = i / TILE;
            let t = i % TILE;
            var score = UNSEEN;
            if t < count {
                var dot4 = vec4<f32>(0.0);
                for (var d = 0u; d < QUADS; d++) {
                    let q = h * HEAD_DIM + 4u * d;
                    dot4 += vec4<f32>(heads[q], heads[q + 1u], heads[q + 2u], heads[q + 3u])
                        * unpack_quad(tile[t * PITCH + d]);
                }
                score = capped(dot4.x + dot4.y + dot4.z + dot4.w);
            }
            scores[i] = score;
        }
        workgroupBarrier();
        if slice < SLICES {
            for (var i = 0u; i < PER; i++) {
                let item = thread % ITEMS + i * WG;
                if item < ITEMS {
                    let h = item / QUADS;
                    var new_largest = largest[i];
                    for (var t = 0u; t < TILE; t++) {
                        new_largest = max(new_largest, scores[h * TILE + t]);
                    }
                    let shrink = exp(largest[i] - new_largest);
                    largest[i] = new_largest;
                    var sum = sums[i] * shrink;
                    var total = totals[i] * shrink;
                    for (var j = 0u; j < VALUES; j++) {
                        let t = slice + j * SLICES;
                        if t < count {
                            var value = values_ahead[i * VALUES + j];
                            if at + t == position {
                                value = new_value_quads[i];
                            }
                            let weight = exp(scores[h * TILE + t] - new_largest);
                            total += weight;
                            sum += weight * unpack_quad(value);
                        }
                    }
                    sums[i] = sum;
                    totals[i] = total;
                }
            }
        }
        load_values(thread, kv_head, at + TILE, end);
    }
    // Slices share the largest score, so that their sums just add up.
    workgroupBarrier();
    for (var i = 0u; i < PER; i++) {
        if MERGED > 1u {
            merged[thread] = sums[i];
            merged_totals[thread] = totals[i];
            workgroupBarrier();
        }
        let item = thread + i * WG;
        if slice == 0u && item < ITEMS {
            var sum = sums[i];
            var total = totals[i];
            for (var s = 1u; s < SLICES && MERGED > 1u; s++) {
                sum += merged[thread + s * ITEMS];
                total += merged_totals[thread + s * ITEMS];
            }
            let h = item / QUADS;
            let out = ((kv_head * GROUP + h) * params.splits + piece) * (HEAD_DIM + 2u);
            if item % QUADS == 0u {
                partials[out] = largest[i];
                partials[out + 1u] = total;
            }
            let d = out + 2u + item % QUADS * 4u;
            partials[d] = sum.x;
            partials[d + 1u] = sum.y;
            partials[d + 2u] = sum.z;
            partials[d + 3u] = sum.w;
        }
        workgroupBarrier();
    }
}
