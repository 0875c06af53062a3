// BQ rows of queries of one head a workgroup, a subgroup of 32 lanes for each 16 of them, on matrix units. Softmax weights are
// told from a reference of each row, its largest score when that was last raised: sums, which only matrix units can touch, are
// corrected in the few tiles that pass it by more than f16 bears.

struct Params {
    rows: u32,
    num_attention_heads: u32,
    num_key_value_heads: u32,
    capacity: u32,
    window: u32,       // positions that a row sees, itself included; 0: all
    scale: f32,
    softcap: f32,      // 0: none
    splits: u32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;          // [rows, num_attention_heads, HEAD_DIM / 4]
@group(0) @binding(3) var<storage, read> start: array<u32>;            // [1]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;    // [rows, num_attention_heads, HEAD_DIM / 4]
@group(0) @binding(5) var<uniform> params: Params;

// Positions of a tile.
const BK: u32 = 32u;
const SUBGROUPS: u32 = BQ / 16u;
const WG: u32 = 32u * SUBGROUPS;
const QUADS: u32 = HEAD_DIM / 4u;
// Rows of tiles in fours, two more than they need, so that rows begin at different banks.
const PITCH: u32 = QUADS + 2u;
const P_PITCH: u32 = BK / 4u + 2u;
const S_PITCH: u32 = BK / 4u + 2u;
const BLOCKS: u32 = HEAD_DIM / 16u;
const UNSEEN: f32 = -1e30;
// By what a score may pass its row's reference: weights reach exp(8), far from the 65 504 of f16.
const SLACK: f32 = 8.0;

var<workgroup> q_tile: array<vec4<f16>, BQ * PITCH>;
var<workgroup> kv_tile: array<vec4<f16>, BK * PITCH>;
var<workgroup> p_tile: array<vec4<f16>, BQ * P_PITCH>;
// Scores of 16 rows, or 16 × 16 results, for each subgroup.
var<workgroup> s_tile: array<vec4<f32>, BQ * S_PITCH>;
// Whether a row of the workgroup passed its reference.
var<workgroup> passed: u32;

fn load_queries(thread: u32, first_row: u32, head: u32) {
    for (var i = thread; i < BQ * QUADS; i += WG) {
        let row = min(first_row + i / QUADS, params.rows - 1u);
        let x = q[(row * params.num_attention_heads + head) * QUADS + i % QUADS] * params.scale;
        q_tile[i / QUADS * PITCH + i % QUADS] = vec4<f16>(clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
    }
}

// Keys and values of a tile on their way, in registers.
const PER: u32 = BK * QUADS / WG;
var<private> keys: array<vec4<f16>, PER>;
var<private> values: array<vec4<f16>, PER>;

// Where the i-th four of an invocation is in a tile.
fn place(thread: u32, i: u32) -> u32 {
    let four = thread + i * WG;
    return four / QUADS * PITCH + four % QUADS;
}

// Beyond the end the last position stands in: its scores are not used.
fn cached_head(thread: u32, i: u32, at: u32, end: u32, kv_head: u32) -> u32 {
    return min(at + (thread + i * WG) / QUADS, end - 1u) * params.num_key_value_heads + kv_head;
}

fn load_keys(thread: u32, at: u32, end: u32, kv_head: u32) {
    for (var i = 0u; i < PER; i++) {
        keys[i] = key_quad(cached_head(thread, i, at, end, kv_head), (thread + i * WG) % QUADS);
    }
}

fn load_values(thread: u32, at: u32, end: u32, kv_head: u32) {
    for (var i = 0u; i < PER; i++) {
        values[i] = value_quad(cached_head(thread, i, at, end, kv_head), (thread + i * WG) % QUADS);
    }
}

fn store_keys(thread: u32) {
    for (var i = 0u; i < PER; i++) {
        kv_tile[place(thread, i)] = keys[i];
    }
}

fn store_values(thread: u32) {
    for (var i = 0u; i < PER; i++) {
        kv_tile[place(thread, i)] = values[i];
    }
}

// Scores of a subgroup's 16 rows with the tile's keys, into its part of `s_tile`.
fn find_scores(subgroup: u32) {
    var left = coop_mat16x16<f32, C>();
    var right = coop_mat16x16<f32, C>();
    for (var d = 0u; d < QUADS; d += 4u) {
        let a = coopLoadT<coop_mat16x16<f16, A>>(&q_tile[subgroup * 16u * PITCH + d], PITCH);
        let b0 = coopLoad<coop_mat16x16<f16, B>>(&kv_tile[d], PITCH);
        let b1 = coopLoad<coop_mat16x16<f16, B>>(&kv_tile[16u * PITCH + d], PITCH);
        left = coopMultiplyAdd(a, b0, left);
        right = coopMultiplyAdd(a, b1, right);
    }
    coopStoreT(left, &s_tile[subgroup * 16u * S_PITCH], S_PITCH);
    coopStoreT(right, &s_tile[subgroup * 16u * S_PITCH + 4u], S_PITCH);
}

// Adds the 16 positions from `t` on to the d-th 16 columns of the results.
fn add_values(sums: coop_mat16x16<f32, C>, weights: coop_mat16x16<f16, A>, t: u32, d: u32) -> coop_mat16x16<f32, C> {
    let b = coopLoadT<coop_mat16x16<f16, B>>(&kv_tile[t * PITCH + d * 4u], PITCH);
    return coopMultiplyAdd(weights, b, sums);
}

// Where 8 of 16 × 16 results of the subgroup are that this lane has: of row `thread % 32 / 2`.
fn own_results(thread: u32) -> u32 {
    return (thread / 32u * 16u + thread % 32u / 2u) * S_PITCH + thread % 2u * 2u;
}

// Puts 16 columns of a subgroup's rows where its lanes can read them. Contains barriers: call in uniform control flow.
fn show(sums: coop_mat16x16<f32, C>, thread: u32) {
    workgroupBarrier();
    coopStoreT(sums, &s_tile[thread / 32u * 16u * S_PITCH], S_PITCH);
    workgroupBarrier();
}

// Each row times its lanes' factor. Contains barriers: call in uniform control flow.
fn corrected(sums: coop_mat16x16<f32, C>, thread: u32, factor: f32) -> coop_mat16x16<f32, C> {
    show(sums, thread);
    let own = own_results(thread);
    s_tile[own] *= factor;
    s_tile[own + 1u] *= factor;
    workgroupBarrier();
    return coopLoadT<coop_mat16x16<f32, C>>(&s_tile[thread / 32u * 16u * S_PITCH], S_PITCH);
}

// Writes the d-th 16 columns of a subgroup's rows. Contains barriers: call in uniform control flow.
fn write_sums(sums: coop_mat16x16<f32, C>, thread: u32, out_row: u32, head: u32, d: u32, total: f32) {
    show(sums, thread);
    if out_row < params.rows {
        let own = own_results(thread);
        let at = (out_row * params.num_attention_heads + head) * QUADS + d * 4u + thread % 2u * 2u;
        y[at] = s_tile[own] / total;
        y[at + 1u] = s_tile[own + 1u] / total;
    }
}

// Scores of four positions as softmax takes them.
fn scores(row: u32, quad: u32, at: u32, first: u32, last: u32) -> vec4<f32> {
    let s = s_tile[row * S_PITCH + quad];
    var capped = s;
    if SOFTCAP != 0u {
        capped = params.softcap * tanh(clamp(s / params.softcap, vec4<f32>(-15.0), vec4<f32>(15.0)));
    }
    let position = vec4<u32>(at + 4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(UNSEEN), capped, (position >= vec4<u32>(first)) & (position <= vec4<u32>(last)));
}

fn largest_of(s: vec4<f32>) -> f32 {
    return max(max(s.x, s.y), max(s.z, s.w));
}

// Leaves the softmax weights of four positions, and gives their sum.
fn weigh(s: vec4<f32>, reference: f32, row: u32, quad: u32) -> f32 {
    // A row that has seen nothing has a reference as low as its scores.
    let weights = vec4<f16>(select(exp(s - reference), vec4<f32>(0.0), s <= vec4<f32>(UNSEEN)));
    p_tile[row * P_PITCH + quad] = weights;
    let rounded = vec4<f32>(weights);
    return rounded.x + rounded.y + rounded.z + rounded.w;
}

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let head = group.x;
    // The last rows see the most and take the longest: they begin first.
    let first_row = (groups.y - 1u - group.y) * BQ;
    let kv_head = head / (params.num_attention_heads / params.num_key_value_heads);
    let subgroup = thread / 32u;
    // Two lanes share a row, each with every second four of positions.
    let row = subgroup * 16u + thread % 32u / 2u;
    let side = thread % 2u;
    let last = start[0] + min(first_row + row, params.rows - 1u);
    let first = select(0u, last + 1u - params.window, params.window != 0u && last >= params.window);
    // What any row of the tile sees.
    let end = min(start[0] + min(first_row + BQ, params.rows), params.capacity);
    let least = start[0] + first_row;
    let begin = select(0u, least + 1u - params.window, params.window != 0u && least >= params.window) / BK * BK;

    load_queries(thread, first_row, head);
    load_keys(thread, begin, end, kv_head);
    var reference = UNSEEN;
    var total = 0.0;
    // An array of matrices would be kept in memory; those beyond the head's size are never touched.
    var sums_0 = coop_mat16x16<f32, C>();
    var sums_1 = coop_mat16x16<f32, C>();
    var sums_2 = coop_mat16x16<f32, C>();
    var sums_3 = coop_mat16x16<f32, C>();
    var sums_4 = coop_mat16x16<f32, C>();
    var sums_5 = coop_mat16x16<f32, C>();
    var sums_6 = coop_mat16x16<f32, C>();
    var sums_7 = coop_mat16x16<f32, C>();
    var sums_8 = coop_mat16x16<f32, C>();
    var sums_9 = coop_mat16x16<f32, C>();
    var sums_10 = coop_mat16x16<f32, C>();
    var sums_11 = coop_mat16x16<f32, C>();
    var sums_12 = coop_mat16x16<f32, C>();
    var sums_13 = coop_mat16x16<f32, C>();
    var sums_14 = coop_mat16x16<f32, C>();
    var sums_15 = coop_mat16x16<f32, C>();
    for (var at = begin; at < end; at += BK) {
        workgroupBarrier();
        store_keys(thread);
        if thread == 0u {
            passed = 0u;
        }
        workgroupBarrier();
        load_values(thread, at, end, kv_head);
        load_keys(thread, at + BK, end, kv_head);
        find_scores(subgroup);
        workgroupBarrier();
        store_values(thread);
        let s0 = scores(row, side, at, first, last);
        let s1 = scores(row, side + 2u, at, first, last);
        let s2 = scores(row, side + 4u, at, first, last);
        let s3 = scores(row, side + 6u, at, first, last);
        let own = max(max(largest_of(s0), largest_of(s1)), max(largest_of(s2), largest_of(s3)));
        let largest = max(own, subgroupShuffleXor(own, 1u));
        if largest > reference + SLACK {
            passed = 1u;
        }
        if workgroupUniformLoad(&passed) != 0u {
            let raised = max(reference, largest);
            let factor = exp(reference - raised);
            reference = raised;
            total *= factor;
            if at != begin {
                sums_0 = corrected(sums_0, thread, factor);
                if BLOCKS > 1u { sums_1 = corrected(sums_1, thread, factor); }
                if BLOCKS > 2u { sums_2 = corrected(sums_2, thread, factor); }
                if BLOCKS > 3u { sums_3 = corrected(sums_3, thread, factor); }
                if BLOCKS > 4u { sums_4 = corrected(sums_4, thread, factor); }
                if BLOCKS > 5u { sums_5 = corrected(sums_5, thread, factor); }
                if BLOCKS > 6u { sums_6 = corrected(sums_6, thread, factor); }
                if BLOCKS > 7u { sums_7 = corrected(sums_7, thread, factor); }
                if BLOCKS > 8u { sums_8 = corrected(sums_8, thread, factor); }
                if BLOCKS > 9u { sums_9 = corrected(sums_9, thread, factor); }
                if BLOCKS > 10u { sums_10 = corrected(sums_10, thread, factor); }
                if BLOCKS > 11u { sums_11 = corrected(sums_11, thread, factor); }
                if BLOCKS > 12u { sums_12 = corrected(sums_12, thread, factor); }
                if BLOCKS > 13u { sums_13 = corrected(sums_13, thread, factor); }
                if BLOCKS > 14u { sums_14 = corrected(sums_14, thread, factor); }
                if BLOCKS > 15u { sums_15 = corrected(sums_15, thread, factor); }
            }
        }
        total += weigh(s0, reference, row, side) + weigh(s1, reference, row, side + 2u)
            + weigh(s2, reference, row, side + 4u) + weigh(s3, reference, row, side + 6u);
        workgroupBarrier();
        for (var t = 0u; t < BK; t += 16u) {
            let weights = coopLoadT<coop_mat16x16<f16, A>>(&p_tile[subgroup * 16u * P_PITCH + t / 4u], P_PITCH);
            sums_0 = add_values(sums_0, weights, t, 0u);
            if BLOCKS > 1u { sums_1 = add_values(sums_1, weights, t, 1u); }
            if BLOCKS > 2u { sums_2 = add_values(sums_2, weights, t, 2u); }
            if BLOCKS > 3u { sums_3 = add_values(sums_3, weights, t, 3u); }
            if BLOCKS > 4u { sums_4 = add_values(sums_4, weights, t, 4u); }
            if BLOCKS > 5u { sums_5 = add_values(sums_5, weights, t, 5u); }
            if BLOCKS > 6u { sums_6 = add_values(sums_6, weights, t, 6u); }
            if BLOCKS > 7u { sums_7 = add_values(sums_7, weights, t, 7u); }
            if BLOCKS > 8u { sums_8 = add_values(sums_8, weights, t, 8u); }
            if BLOCKS > 9u { sums_9 = add_values(sums_9, weights, t, 9u); }
            if BLOCKS > 10u { sums_10 = add_values(sums_10, weights, t, 10u); }
            if BLOCKS > 11u { sums_11 = add_values(sums_11, weights, t, 11u); }
            if BLOCKS > 12u { sums_12 = add_values(sums_12, weights, t, 12u); }
            if BLOCKS > 13u { sums_13 = add_values(sums_13, weights, t, 13u); }
            if BLOCKS > 14u { sums_14 = add_values(sums_14, weights, t, 14u); }
            if BLOCKS > 15u { sums_15 = add_values(sums_15, weights, t, 15u); }
        }
    }
    total += subgroupShuffleXor(total, 1u);
    let out_row = first_row + row;
    write_sums(sums_0, thread, out_row, head, 0u, total);
    if BLOCKS > 1u { write_sums(sums_1, thread, out_row, head, 1u, total); }
    if BLOCKS > 2u { write_sums(sums_2, thread, out_row, head, 2u, total); }
    if BLOCKS > 3u { write_sums(sums_3, thread, out_row, head, 3u, total); }
    if BLOCKS > 4u { write_sums(sums_4, thread, out_row, head, 4u, total); }
    if BLOCKS > 5u { write_sums(sums_5, thread, out_row, head, 5u, total); }
    if BLOCKS > 6u { write_sums(sums_6, thread, out_row, head, 6u, total); }
    if BLOCKS > 7u { write_sums(sums_7, thread, out_row, head, 7u, total); }
    if BLOCKS > 8u { write_sums(sums_8, thread, out_row, head, 8u, total); }
    if BLOCKS > 9u { write_sums(sums_9, thread, out_row, head, 9u, total); }
    if BLOCKS > 10u { write_sums(sums_10, thread, out_row, head, 10u, total); }
    if BLOCKS > 11u { write_sums(sums_11, thread, out_row, head, 11u, total); }
    if BLOCKS > 12u { write_sums(sums_12, thread, out_row, head, 12u, total); }
    if BLOCKS > 13u { write_sums(sums_13, thread, out_row, head, 13u, total); }
    if BLOCKS > 14u { write_sums(sums_14, thread, out_row, head, 14u, total); }
    if BLOCKS > 15u { write_sums(sums_15, thread, out_row, head, 15u, total); }
}
