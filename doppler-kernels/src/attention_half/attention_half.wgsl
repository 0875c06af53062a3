// BQ rows of queries of one head a workgroup, a subgroup of 32 lanes for each 16 of them, on matrix units. Two passes over the
// keys: the first finds each row's largest score, so that the sums of the second need no correction on the way.

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
@group(0) @binding(4) var<storage, read_write> y: array<f32>;          // [rows, num_attention_heads, HEAD_DIM]
@group(0) @binding(5) var<uniform> params: Params;

// Positions of a tile.
const BK: u32 = 32u;
const SUBGROUPS: u32 = BQ / 16u;
const WG: u32 = 32u * SUBGROUPS;
const QUADS: u32 = HEAD_DIM / 4u;
// Rows of tiles in fours, two more than they need, so that rows begin at different banks.
const PITCH: u32 = QUADS + 2u;
const P_PITCH: u32 = BK / 4u + 2u;
const BLOCKS: u32 = HEAD_DIM / 16u;
const UNSEEN: f32 = -1e30;

var<workgroup> q_tile: array<vec4<f16>, BQ * PITCH>;
var<workgroup> kv_tile: array<vec4<f16>, BK * PITCH>;
var<workgroup> p_tile: array<vec4<f16>, BQ * P_PITCH>;
// Scores of 16 rows, or 16 × 16 results, for each subgroup.
var<workgroup> s_tile: array<f32, BQ * BK>;

fn load_queries(thread: u32, first_row: u32, head: u32) {
    for (var i = thread; i < BQ * QUADS; i += WG) {
        let row = min(first_row + i / QUADS, params.rows - 1u);
        let x = q[(row * params.num_attention_heads + head) * QUADS + i % QUADS] * params.scale;
        q_tile[i / QUADS * PITCH + i % QUADS] = vec4<f16>(clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
    }
}

fn load_keys(thread: u32, at: u32, end: u32, kv_head: u32) {
    for (var i = thread; i < BK * QUADS; i += WG) {
        // Beyond the end the last position stands in: its scores are not used.
        let position = min(at + i / QUADS, end - 1u);
        kv_tile[i / QUADS * PITCH + i % QUADS] =
            key_quad(position * params.num_key_value_heads + kv_head, i % QUADS);
    }
}

fn load_values(thread: u32, at: u32, end: u32, kv_head: u32) {
    for (var i = thread; i < BK * QUADS; i += WG) {
        let position = min(at + i / QUADS, end - 1u);
        kv_tile[i / QUADS * PITCH + i % QUADS] =
            value_quad(position * params.num_key_value_heads + kv_head, i % QUADS);
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
    coopStoreT(left, &s_tile[subgroup * 16u * BK], BK);
    coopStoreT(right, &s_tile[subgroup * 16u * BK + 16u], BK);
}

// A score as softmax takes it.
fn score(s: f32, position: u32, first: u32, last: u32) -> f32 {
    var capped = s;
    if params.softcap != 0.0 {
        capped = params.softcap * tanh(clamp(s / params.softcap, -15.0, 15.0));
    }
    return select(UNSEEN, capped, position >= first && position <= last);
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let head = group.x;
    let first_row = group.y * BQ;
    let kv_head = head / (params.num_attention_heads / params.num_key_value_heads);
    let subgroup = thread / 32u;
    // Two lanes share a row, each with every second position.
    let row = subgroup * 16u + thread % 32u / 2u;
    let side = thread % 2u;
    let last = start[0] + min(first_row + row, params.rows - 1u);
    let first = select(0u, last + 1u - params.window, params.window != 0u && last >= params.window);
    // What any row of the tile sees.
    let end = min(start[0] + min(first_row + BQ, params.rows), params.capacity);
    let least = start[0] + first_row;
    let begin = select(0u, least + 1u - params.window, params.window != 0u && least >= params.window) / BK * BK;

    load_queries(thread, first_row, head);
    var largest = UNSEEN;
    for (var at = begin; at < end; at += BK) {
        workgroupBarrier();
        load_keys(thread, at, end, kv_head);
        workgroupBarrier();
        find_scores(subgroup);
        workgroupBarrier();
        for (var t = side; t < BK; t += 2u) {
            largest = max(largest, score(s_tile[row * BK + t], at + t, first, last));
        }
    }
    largest = max(largest, subgroupShuffleXor(largest, 1u));

    var total = 0.0;
    var sums: array<coop_mat16x16<f32, C>, BLOCKS>;
    for (var d = 0u; d < BLOCKS; d++) {
        sums[d] = coop_mat16x16<f32, C>();
    }
    for (var at = begin; at < end; at += BK) {
        workgroupBarrier();
        load_keys(thread, at, end, kv_head);
        workgroupBarrier();
        find_scores(subgroup);
        workgroupBarrier();
        load_values(thread, at, end, kv_head);
        for (var t = 4u * side; t < BK; t += 8u) {
            var weights: vec4<f16>;
            for (var j = 0u; j < 4u; j++) {
                let s = score(s_tile[row * BK + t + j], at + t + j, first, last);
                weights[j] = f16(select(exp(s - largest), 0.0, s <= UNSEEN));
                total += f32(weights[j]);
            }
            p_tile[row * P_PITCH + t / 4u] = weights;
        }
        workgroupBarrier();
        for (var t = 0u; t < BK; t += 16u) {
            let a = coopLoadT<coop_mat16x16<f16, A>>(&p_tile[subgroup * 16u * P_PITCH + t / 4u], P_PITCH);
            for (var d = 0u; d < BLOCKS; d++) {
                let b = coopLoadT<coop_mat16x16<f16, B>>(&kv_tile[t * PITCH + d * 4u], PITCH);
                sums[d] = coopMultiplyAdd(a, b, sums[d]);
            }
        }
    }
    total += subgroupShuffleXor(total, 1u);
    let out_row = first_row + row;
    for (var d = 0u; d < BLOCKS; d++) {
        workgroupBarrier();
        coopStoreT(sums[d], &s_tile[subgroup * 256u], 16u);
        workgroupBarrier();
        if out_row < params.rows {
            for (var i = 0u; i < 8u; i++) {
                let col = 8u * side + i;
                let value = s_tile[row * 16u + col] / total;
                y[(out_row * params.num_attention_heads + head) * HEAD_DIM + d * 16u + col] = value;
            }
        }
    }
}
