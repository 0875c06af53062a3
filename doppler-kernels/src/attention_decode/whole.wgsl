// All positions of one head a workgroup. LANES consecutive invocations share a position, each with four of its quads, and keep
// sums of their own until the end; four positions are written out, since what a loop indexes is kept in memory.

const LANE_QUADS: u32 = 4u;
const LANES: u32 = QUADS / LANE_QUADS;
// Positions of one load of a workgroup, and of all four.
const POSITIONS: u32 = WG / LANES;
const CHUNK: u32 = 4u * POSITIONS;
// Sums that are left when those of four positions are put together.
const SLICES: u32 = POSITIONS / 4u;

// The queries of the group, of which one is used, and what is new; at the end, in their place, the sums of positions.
var<workgroup> new_heads: array<vec4<f32>, max((GROUP + 2u * NEW_ROWS) * QUADS, POSITIONS * QUADS)>;
// The largest score, and the sum of the weights.
var<workgroup> merged_totals: array<vec2<f32>, POSITIONS>;

struct Quads {
    a: Quad,
    b: Quad,
    c: Quad,
    d: Quad,
}

fn load_keys(thread: u32, kv_head: u32, position: u32, end: u32) -> Quads {
    let head = min(position, end - 1u) * params.num_key_value_heads + kv_head;
    let i = thread % LANES;
    return Quads(
        load_key(head, i),
        load_key(head, LANES + i),
        load_key(head, 2u * LANES + i),
        load_key(head, 3u * LANES + i),
    );
}

fn load_values(thread: u32, kv_head: u32, position: u32, end: u32) -> Quads {
    let head = min(position, end - 1u) * params.num_key_value_heads + kv_head;
    let i = thread % LANES;
    return Quads(
        load_value(head, i),
        load_value(head, LANES + i),
        load_value(head, 2u * LANES + i),
        load_value(head, 3u * LANES + i),
    );
}

// The `index`-th new key or value, behind the head `first`, if there is such.
fn with_new(quads: Quads, first: u32, thread: u32, index: u32, count: u32) -> Quads {
    if index >= count {
        return quads;
    }
    let h = first + index;
    let i = thread % LANES;
    return Quads(
        new_quad(h, i),
        new_quad(h, LANES + i),
        new_quad(h, 2u * LANES + i),
        new_quad(h, 3u * LANES + i),
    );
}

// The sums over the lanes that share a position; each of them gets them.
fn lane_sum(v: vec4<f32>) -> vec4<f32> {
    var sum = v;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}

fn dot_quads(q: mat4x4<f32>, k: Quads) -> f32 {
    return dot(q[0], unpack_quad(k.a)) + dot(q[1], unpack_quad(k.b)) + dot(q[2], unpack_quad(k.c))
        + dot(q[3], unpack_quad(k.d));
}

fn weighed(weight: f32, v: Quads) -> mat4x4<f32> {
    return mat4x4<f32>(
        weight * unpack_quad(v.a),
        weight * unpack_quad(v.b),
        weight * unpack_quad(v.c),
        weight * unpack_quad(v.d),
    );
}

fn largest_of(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    if ROWS > 1u {
        row = group.z;
    }
    let kv_head = group.x / GROUP;
    let own_head = group.x % GROUP;
    let range = piece_of(0u);
    // What comes from memory is asked for before anything is waited for.
    let end = max(range.end, 1u);
    let own = range.begin + thread / LANES;
    var k0 = load_keys(thread, kv_head, own, end);
    var k1 = load_keys(thread, kv_head, own + POSITIONS, end);
    var k2 = load_keys(thread, kv_head, own + 2u * POSITIONS, end);
    var k3 = load_keys(thread, kv_head, own + 3u * POSITIONS, end);
    var v0 = load_values(thread, kv_head, own, end);
    var v1 = load_values(thread, kv_head, own + POSITIONS, end);
    var v2 = load_values(thread, kv_head, own + 2u * POSITIONS, end);
    var v3 = load_values(thread, kv_head, own + 3u * POSITIONS, end);
    let fresh = first_new(range);
    // Each by 32 invocations.
    if NEW_ROWS > 1u {
        let own_values = values_of_rows(thread, kv_head, range, fresh);
        for (var first = 0u; first <= NEW_ROWS; first += WG / 32u) {
            let i = first + thread / 32u;
            turn_of_rows(select(GROUP + i - 1u, own_head, i == 0u), kv_head, thread % 32u, range, fresh);
        }
        keep_values(thread, own_values);
    } else if thread < 32u {
        turn_head(own_head, kv_head, thread, own_head);
    } else if thread < 64u {
        turn_head(GROUP, kv_head, thread - 32u, GROUP);
    } else if thread < 96u {
        take_value(kv_head, thread - 64u);
    }
    workgroupBarrier();
    if own_head == 0u && holds(range, fresh, row) {
        let head = (fresh + row) * params.num_key_value_heads + kv_head;
        for (var i = thread; i < QUADS; i += WG) {
            store_key(head, i, new_quad(GROUP + row, i));
            store_value(head, i, new_quad(GROUP + NEW_ROWS + row, i));
        }
    }
    let q_at = own_head * QUADS + thread % LANES;
    let q = mat4x4<f32>(
        new_heads[q_at],
        new_heads[q_at + LANES],
        new_heads[q_at + 2u * LANES],
        new_heads[q_at + 3u * LANES],
    );
    var largest = UNSEEN;
    var total = 0.0;
    var sums = mat4x4<f32>();
    for (var chunk = range.begin; chunk < range.end; chunk += CHUNK) {
        let at = vec4<u32>(chunk + thread / LANES) + vec4<u32>(0u, POSITIONS, 2u * POSITIONS, 3u * POSITIONS);
        // New positions end where the context does.
        if fresh < min(chunk + CHUNK, range.end) {
            let count = range.end - fresh;
            let index = at - vec4<u32>(fresh);
            k0 = with_new(k0, GROUP, thread, index.x, count);
            k1 = with_new(k1, GROUP, thread, index.y, count);
            k2 = with_new(k2, GROUP, thread, index.z, count);
            k3 = with_new(k3, GROUP, thread, index.w, count);
            v0 = with_new(v0, GROUP + NEW_ROWS, thread, index.x, count);
            v1 = with_new(v1, GROUP + NEW_ROWS, thread, index.y, count);
            v2 = with_new(v2, GROUP + NEW_ROWS, thread, index.z, count);
            v3 = with_new(v3, GROUP + NEW_ROWS, thread, index.w, count);
        }
        let dots = lane_sum(vec4<f32>(dot_quads(q, k0), dot_quads(q, k1), dot_quads(q, k2), dot_quads(q, k3)));
        let next = at + vec4<u32>(CHUNK);
        k0 = load_keys(thread, kv_head, next.x, end);
        k1 = load_keys(thread, kv_head, next.y, end);
        k2 = load_keys(thread, kv_head, next.z, end);
        k3 = load_keys(thread, kv_head, next.w, end);
        let seen = at < vec4<u32>(range.end);
        let all = vec4<f32>(capped(dots.x), capped(dots.y), capped(dots.z), capped(dots.w));
        let scores = select(vec4<f32>(UNSEEN), all, seen);
        let new_largest = max(largest, largest_of(scores));
        let factor = exp(largest - new_largest);
        let weights = select(vec4<f32>(0.0), exp(scores - new_largest), seen);
        largest = new_largest;
        total = total * factor + weights.x + weights.y + weights.z + weights.w;
        sums = sums * factor + weighed(weights.x, v0) + weighed(weights.y, v1) + weighed(weights.z, v2)
            + weighed(weights.w, v3);
        v0 = load_values(thread, kv_head, next.x, end);
        v1 = load_values(thread, kv_head, next.y, end);
        v2 = load_values(thread, kv_head, next.z, end);
        v3 = load_values(thread, kv_head, next.w, end);
    }
    workgroupBarrier();
    let place = thread / LANES * QUADS + thread % LANES;
    new_heads[place] = sums[0];
    new_heads[place + LANES] = sums[1];
    new_heads[place + 2u * LANES] = sums[2];
    new_heads[place + 3u * LANES] = sums[3];
    if thread % LANES == 0u {
        merged_totals[thread / LANES] = vec2<f32>(largest, total);
    }
    workgroupBarrier();
    // Four become one, which as many invocations as a head has quads make.
    let item = thread % QUADS;
    let slice = thread / QUADS;
    let t0 = merged_totals[4u * slice];
    let t1 = merged_totals[4u * slice + 1u];
    let t2 = merged_totals[4u * slice + 2u];
    let t3 = merged_totals[4u * slice + 3u];
    let tops = vec4<f32>(t0.x, t1.x, t2.x, t3.x);
    let most = largest_of(tops);
    let factors = exp(tops - vec4<f32>(most));
    let first = 4u * slice * QUADS + item;
    let sum = factors.x * new_heads[first] + factors.y * new_heads[first + QUADS] + factors.z * new_heads[first + 2u * QUADS]
        + factors.w * new_heads[first + 3u * QUADS];
    workgroupBarrier();
    new_heads[thread] = sum;
    if item == 0u {
        merged_totals[slice] = vec2<f32>(most, dot(factors, vec4<f32>(t0.y, t1.y, t2.y, t3.y)));
    }
    workgroupBarrier();
    var value = 0.0;
    if thread < HEAD_DIM {
        var top = UNSEEN;
        for (var s = 0u; s < SLICES; s++) {
            top = max(top, merged_totals[s].x);
        }
        var weight = 0.0;
        for (var s = 0u; s < SLICES; s++) {
            let slice_factor = exp(merged_totals[s].x - top);
            weight += slice_factor * merged_totals[s].y;
            value += slice_factor * new_heads[s * QUADS + thread / 4u][thread % 4u];
        }
        value /= weight;
    }
    let cols = params.num_attention_heads * HEAD_DIM;
    write_a8(thread, value, cols, row, (group.x * HEAD_DIM + thread) / 32u, thread < HEAD_DIM);
}
