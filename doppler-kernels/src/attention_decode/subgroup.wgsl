// Keys and values from memory into registers, where 32 consecutive invocations are a subgroup: LANES of these share a position,
// each with LANE_QUADS of its quads, and every subgroup keeps sums of its own until the end. Heads come in fours, so that what
// a lane keeps of them are matrices; positions are written out, since what a loop indexes is kept in memory: two, or with FOUR
// four, which long pieces want. Scores of all of them are added up over the lanes at once: a lane ends with one, of one position
// and one head, and asks others for theirs. Between two steps other kernels run, so that instructions come from far away: fewer
// start sooner.

const LANES: u32 = min(QUADS, 32u);
const LANE_QUADS: u32 = QUADS / LANES;
const FOURS: u32 = (GROUP + 3u) / 4u;
const SUBGROUPS: u32 = WG / 32u;
// Positions of one load of a workgroup, and of all that are written out.
const POSITIONS: u32 = SUBGROUPS * 32u / LANES;
const COUNT: u32 = 2u + 2u * FOUR;
const CHUNK: u32 = COUNT * POSITIONS;
// Lanes beside each other that have the same score; those of a position's four heads follow each other.
const ALIKE: u32 = LANES / (4u * COUNT);

// Heads that are turned, each by a subgroup; of one row, its value as well.
const TURNED: u32 = GROUP + select(NEW_ROWS, 2u, NEW_ROWS == 1u);
// New heads; at the end, in their place, what subgroups have of each: of common shapes two workgroups fit on a processor.
var<workgroup> new_heads: array<vec4<f32>, max(GROUP + 2u * NEW_ROWS, SUBGROUPS * GROUP) * QUADS>;
// The largest score of a head in a subgroup, and the sum of its weights.
var<workgroup> merged_totals: array<vec2<f32>, SUBGROUPS * GROUP>;

// A lane's queries: of four heads and a quad, a column for each element.
var<private> q: array<mat4x4<f32>, FOURS * LANE_QUADS>;
// And its sums: a column for each head.
var<private> sums: array<mat4x4<f32>, FOURS * LANE_QUADS>;
// Of the lane's own head of four, the largest score of the subgroup, and of its own position the sum of the weights.
var<private> largest: array<f32, FOURS>;
var<private> totals: array<f32, FOURS>;

alias Quads = array<Quad, LANE_QUADS>;
// Of each four heads the lane's own score, or its weight.
alias Scores = array<f32, FOURS>;

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
        largest[f] = UNSEEN;
        for (var j = 0u; j < LANE_QUADS; j++) {
            let i = j * LANES + thread % LANES;
            let heads = mat4x4<f32>(query(4u * f, i), query(4u * f + 1u, i), query(4u * f + 2u, i), query(4u * f + 3u, i));
            q[f * LANE_QUADS + j] = transpose(heads);
        }
    }
}

// What a lane adds to the scores of four heads at a position.
fn part_of_scores(f: u32, keys: Quads) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < LANE_QUADS; j++) {
        sum += q[f * LANE_QUADS + j] * unpack_quad(keys[j]);
    }
    return sum;
}

// A lane gives one of two sums to the lane `half` away and takes that one's other, so that each has half as many.
fn halved(thread: u32, lower: vec4<f32>, upper: vec4<f32>, half: u32) -> vec4<f32> {
    let own = (thread & half) != 0u;
    return select(lower, upper, own) + subgroupShuffleXor(select(upper, lower, own), half);
}

// The lane's own score of COUNT positions and four heads, from all lanes' parts.
fn own_score(thread: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> f32 {
    var sum: vec4<f32>;
    if FOUR != 0u {
        let even = halved(thread, a, c, LANES / 2u);
        let odd = halved(thread, b, d, LANES / 2u);
        sum = halved(thread, even, odd, LANES / 4u);
    } else {
        sum = halved(thread, a, b, LANES / 2u);
    }
    let second = (thread & (2u * ALIKE)) != 0u;
    let two = select(sum.xy, sum.zw, second) + subgroupShuffleXor(select(sum.zw, sum.xy, second), 2u * ALIKE);
    let odd = (thread & ALIKE) != 0u;
    var score = select(two.x, two.y, odd) + subgroupShuffleXor(select(two.y, two.x, odd), ALIKE);
    for (var half = ALIKE / 2u; half > 0u; half /= 2u) {
        score += subgroupShuffleXor(score, half);
    }
    return score;
}

// Of values that each lane has for its own score, that of a position and a head.
fn value_of(thread: u32, value: f32, position: u32, h: u32) -> f32 {
    return subgroupShuffle(value, thread % 32u / LANES * LANES + (4u * position + h) * ALIKE);
}

// The same of four heads.
fn values_of(thread: u32, value: f32, position: u32) -> vec4<f32> {
    return vec4<f32>(
        value_of(thread, value, position, 0u),
        value_of(thread, value, position, 1u),
        value_of(thread, value, position, 2u),
        value_of(thread, value, position, 3u),
    );
}

// Makes room for larger scores; each lane's own weight.
fn weight_of(thread: u32, f: u32, score: f32, seen: bool) -> f32 {
    let own = select(UNSEEN, capped(score), seen);
    var new_largest = max(largest[f], own);
    for (var half = 16u; half >= 4u * ALIKE; half /= 2u) {
        new_largest = max(new_largest, subgroupShuffleXor(new_largest, half));
    }
    let factor = exp(largest[f] - new_largest);
    let weight = select(0.0, exp(own - new_largest), seen);
    largest[f] = new_largest;
    totals[f] = totals[f] * factor + weight;
    let factors = values_of(thread, factor, 0u);
    for (var j = 0u; j < LANE_QUADS; j++) {
        let s = sums[f * LANE_QUADS + j];
        sums[f * LANE_QUADS + j] = mat4x4<f32>(s[0] * factors.x, s[1] * factors.y, s[2] * factors.z, s[3] * factors.w);
    }
    return weight;
}

fn add_values(thread: u32, weights: Scores, position: u32, values: Quads) {
    for (var f = 0u; f < FOURS; f++) {
        let w = values_of(thread, weights[f], position);
        for (var j = 0u; j < LANE_QUADS; j++) {
            let v = unpack_quad(values[j]);
            let s = sums[f * LANE_QUADS + j];
            sums[f * LANE_QUADS + j] = mat4x4<f32>(s[0] + w.x * v, s[1] + w.y * v, s[2] + w.z * v, s[3] + w.w * v);
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
    let lane = thread % 32u;
    for (var f = 0u; f < FOURS; f++) {
        for (var half = LANES; half < 32u; half *= 2u) {
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
        for (var half = 16u; half >= 4u * ALIKE; half /= 2u) {
            totals[f] += subgroupShuffleXor(totals[f], half);
        }
        keep(thread, f, 0u);
        keep(thread, f, 1u);
        keep(thread, f, 2u);
        keep(thread, f, 3u);
        let h = 4u * f + lane / ALIKE;
        if lane < 4u * ALIKE && lane % ALIKE == 0u && h < GROUP {
            merged_totals[thread / 32u * GROUP + h] = vec2<f32>(largest[f], totals[f]);
        }
    }
}

// What the subgroup has of the h-th of four heads.
fn keep(thread: u32, f: u32, h: u32) {
    let lane = thread % 32u;
    let own = thread / 32u * GROUP + 4u * f + h;
    if 4u * f + h < GROUP && lane < LANES {
        for (var j = 0u; j < LANE_QUADS; j++) {
            new_heads[own * QUADS + j * LANES + lane] = sums[f * LANE_QUADS + j][h];
        }
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
        var scores: Scores;
        for (var f = 0u; f < FOURS; f++) {
            let a = part_of_scores(f, k0);
            let b = part_of_scores(f, k1);
            if FOUR != 0u {
                scores[f] = own_score(thread, a, b, part_of_scores(f, k2), part_of_scores(f, k3));
            } else {
                scores[f] = own_score(thread, a, b, a, b);
            }
        }
        k0 = load_keys(thread, kv_head, at + CHUNK, end);
        k1 = load_keys(thread, kv_head, p1 + CHUNK, end);
        if FOUR != 0u {
            k2 = load_keys(thread, kv_head, p2 + CHUNK, end);
            k3 = load_keys(thread, kv_head, p3 + CHUNK, end);
        }
        let own_position = at + thread % LANES / (4u * ALIKE) * POSITIONS;
        var weights: Scores;
        for (var f = 0u; f < FOURS; f++) {
            weights[f] = weight_of(thread, f, scores[f], own_position < range.end);
        }
        add_values(thread, weights, 0u, v0);
        add_values(thread, weights, 1u, v1);
        v0 = load_values(thread, kv_head, at + CHUNK, end);
        v1 = load_values(thread, kv_head, p1 + CHUNK, end);
        if FOUR != 0u {
            add_values(thread, weights, 2u, v2);
            add_values(thread, weights, 3u, v3);
            v2 = load_values(thread, kv_head, p2 + CHUNK, end);
            v3 = load_values(thread, kv_head, p3 + CHUNK, end);
        }
    }
    workgroupBarrier();
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
            sum += factor * new_heads[(s * GROUP + h) * QUADS + item % QUADS];
        }
        put_item(item, kv_head, piece, most, total, sum);
    }
    finish(thread, kv_head);
}
