// Keys and values from memory into registers, where 32 consecutive invocations are a subgroup: LANES of these share a position,
// each with LANE_QUADS of its quads, and every subgroup keeps sums of its own until the end. Heads come in fours, so that what
// a lane keeps of them are matrices; positions are written out, since what a loop indexes is kept in memory: two, or with FOUR
// four, which long pieces want. Between two steps other kernels run, so that instructions come from far away: fewer start sooner.

const LANES: u32 = min(QUADS, 32u);
const LANE_QUADS: u32 = QUADS / LANES;
const FOURS: u32 = (GROUP + 3u) / 4u;
const SUBGROUPS: u32 = WG / 32u;
// Positions of one load of a workgroup, and of all that are written out.
const POSITIONS: u32 = SUBGROUPS * 32u / LANES;
const CHUNK: u32 = (2u + 2u * FOUR) * POSITIONS;

// Heads that are turned, each by a subgroup; of one row, its value as well.
const TURNED: u32 = GROUP + select(NEW_ROWS, 2u, NEW_ROWS == 1u);
// The heads that subgroups keep at the end come behind those; several rows leave them no room, and they take their place.
const FIRST_MERGED: u32 = select(GROUP + 2u * NEW_ROWS, 0u, NEW_ROWS > 1u);

var<workgroup> new_heads: array<vec4<f32>, max(GROUP + 2u * NEW_ROWS, FIRST_MERGED + SUBGROUPS * GROUP) * QUADS>;
// The largest score of a head in a subgroup, and the sum of its weights.
var<workgroup> merged_totals: array<vec2<f32>, SUBGROUPS * GROUP>;

// A lane's queries: of four heads and a quad, a column for each element.
var<private> q: array<mat4x4<f32>, FOURS * LANE_QUADS>;
// And its sums: a column for each head.
var<private> sums: array<mat4x4<f32>, FOURS * LANE_QUADS>;
var<private> largest: array<vec4<f32>, FOURS>;
var<private> totals: array<vec4<f32>, FOURS>;

alias Quads = array<Quad, LANE_QUADS>;
alias Scores = array<vec4<f32>, FOURS>;

fn load_keys(thread: u32, kv_head: u32, position: u32, end: u32) -> Quads {
    let head = min(position, end - 1u) * params.num_key_value_heads + kv_head;
    var quads: Quads;
    for (var j = 0u; j < LANE_QUADS; j++) {
        quads[j] = load_key(head, j * LANES + thread % LANES);
    }
    return quads;
}

fn load_values(thread: u32, kv_head: u32, position: u32, end: u32) -> Quads {
    let head = min(position, end - 1u) * params.num_key_value_heads + kv_head;
    var quads: Quads;
    for (var j = 0u; j < LANE_QUADS; j++) {
        quads[j] = load_value(head, j * LANES + thread % LANES);
    }
    return quads;
}

// The sums over the lanes that share a position; each of them gets them.
fn lane_sum(v: vec4<f32>) -> vec4<f32> {
    var sum = v;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}

// A head's quad of the queries; zeros where four heads are more than the group has.
fn query(h: u32, i: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), new_heads[min(h, GROUP - 1u) * QUADS + i], h < GROUP);
}

fn take_queries(thread: u32) {
    for (var f = 0u; f < FOURS; f++) {
        largest[f] = vec4<f32>(UNSEEN);
        for (var j = 0u; j < LANE_QUADS; j++) {
            let i = j * LANES + thread % LANES;
            let heads = mat4x4<f32>(query(4u * f, i), query(4u * f + 1u, i), query(4u * f + 2u, i), query(4u * f + 3u, i));
            q[f * LANE_QUADS + j] = transpose(heads);
        }
    }
}

// Scores of a position for all heads, the same in all lanes that share it.
fn scores_of(keys: Quads, seen: bool) -> Scores {
    var scores: Scores;
    for (var f = 0u; f < FOURS; f++) {
        var sum = vec4<f32>(0.0);
        for (var j = 0u; j < LANE_QUADS; j++) {
            sum += q[f * LANE_QUADS + j] * unpack_quad(keys[j]);
        }
        let score = lane_sum(sum);
        let all = vec4<f32>(capped(score.x), capped(score.y), capped(score.z), capped(score.w));
        scores[f] = select(vec4<f32>(UNSEEN), all, seen);
    }
    return scores;
}

// Makes room for larger scores.
fn raise_largest(a: Scores, b: Scores, c: Scores, d: Scores) {
    for (var f = 0u; f < FOURS; f++) {
        let new_largest = max(largest[f], max(max(a[f], b[f]), max(c[f], d[f])));
        shrink(f, new_largest);
    }
}

fn shrink(f: u32, new_largest: vec4<f32>) {
    let factor = exp(largest[f] - new_largest);
    largest[f] = new_largest;
    totals[f] *= factor;
    for (var j = 0u; j < LANE_QUADS; j++) {
        let s = sums[f * LANE_QUADS + j];
        sums[f * LANE_QUADS + j] = mat4x4<f32>(s[0] * factor.x, s[1] * factor.y, s[2] * factor.z, s[3] * factor.w);
    }
}

fn add_values(scores: Scores, values: Quads, seen: bool) {
    for (var f = 0u; f < FOURS; f++) {
        let weights = select(vec4<f32>(0.0), exp(scores[f] - largest[f]), seen);
        totals[f] += weights;
        for (var j = 0u; j < LANE_QUADS; j++) {
            let v = unpack_quad(values[j]);
            let s = sums[f * LANE_QUADS + j];
            sums[f * LANE_QUADS + j] = mat4x4<f32>(
                s[0] + weights.x * v,
                s[1] + weights.y * v,
                s[2] + weights.z * v,
                s[3] + weights.w * v,
            );
        }
    }
}

// The `index`-th new key or value, behind the head `first`, if there is such.
fn with_new(quads: Quads, first: u32, thread: u32, index: u32, count: u32) -> Quads {
    var changed = quads;
    if index < count {
        let h = first + select(index, 0u, NEW_ROWS == 1u);
        for (var j = 0u; j < LANE_QUADS; j++) {
            changed[j] = new_quad(h, j * LANES + thread % LANES);
        }
    }
    return changed;
}

// The positions of a subgroup put together, then into workgroup memory.
fn merge(thread: u32) {
    for (var f = 0u; f < FOURS; f++) {
        for (var half = LANES; half < 32u; half *= 2u) {
            shrink(f, max(largest[f], subgroupShuffleXor(largest[f], half)));
            totals[f] += subgroupShuffleXor(totals[f], half);
            for (var j = 0u; j < LANE_QUADS; j++) {
                let s = sums[f * LANE_QUADS + j];
                sums[f * LANE_QUADS + j] = s + mat4x4<f32>(
                    subgroupShuffleXor(s[0], half),
                    subgroupShuffleXor(s[1], half),
                    subgroupShuffleXor(s[2], half),
                    subgroupShuffleXor(s[3], half),
                );
            }
        }
        keep(thread, f, 0u, largest[f].x, totals[f].x);
        keep(thread, f, 1u, largest[f].y, totals[f].y);
        keep(thread, f, 2u, largest[f].z, totals[f].z);
        keep(thread, f, 3u, largest[f].w, totals[f].w);
    }
}

// What the subgroup has of the h-th of four heads.
fn keep(thread: u32, f: u32, h: u32, most: f32, total: f32) {
    let lane = thread % 32u;
    if 4u * f + h >= GROUP {
        return;
    }
    let own = thread / 32u * GROUP + 4u * f + h;
    for (var j = 0u; j < LANE_QUADS; j++) {
        let s = sums[f * LANE_QUADS + j];
        let head = select(select(s[0], s[1], h == 1u), select(s[2], s[3], h == 3u), h >= 2u);
        if lane < LANES {
            new_heads[(FIRST_MERGED + own) * QUADS + j * LANES + lane] = head;
        }
    }
    if lane == 0u {
        merged_totals[own] = vec2<f32>(most, total);
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    if ROWS > 1u {
        row = group.z;
    }
    let kv_head = group.x;
    let piece = group.y;
    let range = piece_of(piece);
    let subgroup = thread / 32u;
    // What comes from memory is asked for before anything is waited for.
    let end = max(range.end, 1u);
    let own = range.begin + thread / LANES;
    var k0 = load_keys(thread, kv_head, own, end);
    var k1 = load_keys(thread, kv_head, own + POSITIONS, end);
    var k2: Quads;
    var k3: Quads;
    var v0 = load_values(thread, kv_head, own, end);
    var v1 = load_values(thread, kv_head, own + POSITIONS, end);
    var v2: Quads;
    var v3: Quads;
    if FOUR != 0u {
        k2 = load_keys(thread, kv_head, own + 2u * POSITIONS, end);
        k3 = load_keys(thread, kv_head, own + 3u * POSITIONS, end);
        v2 = load_values(thread, kv_head, own + 2u * POSITIONS, end);
        v3 = load_values(thread, kv_head, own + 3u * POSITIONS, end);
    }
    let fresh = first_new(range);
    var own_values: array<vec4<f32>, VALUES_EACH>;
    if NEW_ROWS > 1u {
        own_values = values_of_rows(thread, kv_head, range, fresh);
    }
    // Loops here have as many rounds as constants say: those that begin at an invocation's own place are unrolled in vain.
    for (var first = 0u; first < TURNED; first += SUBGROUPS) {
        let h = first + subgroup;
        if NEW_ROWS > 1u {
            turn_of_rows(h, kv_head, thread % 32u, range, fresh);
        } else if h < GROUP + NEW_ROWS {
            turn_head(h, kv_head, thread % 32u, h);
        } else if h < GROUP + 2u * NEW_ROWS {
            take_value(kv_head, thread % 32u);
        }
    }
    if NEW_ROWS > 1u {
        keep_values(thread, own_values);
    }
    workgroupBarrier();
    if NEW_ROWS != 0u && holds(range, fresh, row) {
        let head = (fresh + row) * params.num_key_value_heads + kv_head;
        // A head is no more than that.
        if thread < QUADS {
            store_key(head, thread, new_quad(GROUP + row, thread));
            store_value(head, thread, new_quad(GROUP + NEW_ROWS + row, thread));
        }
    }
    take_queries(thread);
    for (var chunk = range.begin; chunk < range.end; chunk += CHUNK) {
        let at = chunk + thread / LANES;
        let p1 = at + POSITIONS;
        let p2 = at + 2u * POSITIONS;
        let p3 = at + 3u * POSITIONS;
        // New positions end where the piece does.
        if fresh < min(chunk + CHUNK, range.end) {
            let count = select(range.end - fresh, 1u, NEW_ROWS == 1u);
            k0 = with_new(k0, GROUP, thread, at - fresh, count);
            k1 = with_new(k1, GROUP, thread, p1 - fresh, count);
            v0 = with_new(v0, GROUP + NEW_ROWS, thread, at - fresh, count);
            v1 = with_new(v1, GROUP + NEW_ROWS, thread, p1 - fresh, count);
            if FOUR != 0u {
                k2 = with_new(k2, GROUP, thread, p2 - fresh, count);
                k3 = with_new(k3, GROUP, thread, p3 - fresh, count);
                v2 = with_new(v2, GROUP + NEW_ROWS, thread, p2 - fresh, count);
                v3 = with_new(v3, GROUP + NEW_ROWS, thread, p3 - fresh, count);
            }
        }
        let s0 = scores_of(k0, at < range.end);
        let s1 = scores_of(k1, p1 < range.end);
        var s2 = s0;
        var s3 = s1;
        if FOUR != 0u {
            s2 = scores_of(k2, p2 < range.end);
            s3 = scores_of(k3, p3 < range.end);
            k2 = load_keys(thread, kv_head, p2 + CHUNK, end);
            k3 = load_keys(thread, kv_head, p3 + CHUNK, end);
        }
        k0 = load_keys(thread, kv_head, at + CHUNK, end);
        k1 = load_keys(thread, kv_head, p1 + CHUNK, end);
        raise_largest(s0, s1, s2, s3);
        add_values(s0, v0, at < range.end);
        add_values(s1, v1, p1 < range.end);
        v0 = load_values(thread, kv_head, at + CHUNK, end);
        v1 = load_values(thread, kv_head, p1 + CHUNK, end);
        if FOUR != 0u {
            add_values(s2, v2, p2 < range.end);
            add_values(s3, v3, p3 < range.end);
            v2 = load_values(thread, kv_head, p2 + CHUNK, end);
            v3 = load_values(thread, kv_head, p3 + CHUNK, end);
        }
    }
    if NEW_ROWS > 1u {
        workgroupBarrier();
    }
    merge(thread);
    workgroupBarrier();
    for (var first = 0u; first < GROUP * QUADS; first += WG) {
        let item = first + thread;
        if item >= GROUP * QUADS {
            break;
        }
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
            sum += factor * new_heads[(FIRST_MERGED + s * GROUP + h) * QUADS + item % QUADS];
        }
        put_item(item, kv_head, piece, most, total, sum);
    }
    finish(thread, kv_head);
}
