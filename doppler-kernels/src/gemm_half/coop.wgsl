// A tile of TM × TN results a workgroup on matrix units: each subgroup of 32 lanes makes 64 × 32 of them from f16 tiles in
// workgroup memory, 64 columns at a time; the next tiles are on their way while these are used.
// `load_weights` asks for a step's weights, `store_weights` puts them into `b_tile`.

@group(0) @binding(0) var<storage, read> x: array<vec4<f16>>;          // [rows, in_features / 4]

// Columns of a step, in fours, and a tile's row with two fours more, so that rows begin at different banks.
const STEP: u32 = 16u;
const PITCH: u32 = 18u;
const SUBGROUPS: u32 = TM / 64u * (TN / 32u);
const WG: u32 = 32u * SUBGROUPS;
const A_PER: u32 = TM * STEP / WG;
// Pieces of 32 weights that an invocation loads.
const B_PER: u32 = TN * 2u / WG;

var<workgroup> a_tile: array<vec4<f16>, TM * PITCH>;
var<workgroup> b_tile: array<vec4<f16>, TN * PITCH>;
var<workgroup> c_tile: array<f32, SUBGROUPS * 256u>;

var<private> a_next: array<vec4<f16>, A_PER>;

fn load_next(thread: u32, first_row: u32, first_feature: u32, step: u32) {
    let fours = params.in_features / 4u;
    for (var i = 0u; i < A_PER; i++) {
        let at = thread + i * WG;
        let row = min(first_row + at / STEP, params.rows - 1u);
        let col = step * STEP + at % STEP;
        a_next[i] = x[row * fours + min(col, fours - 1u)];
    }
    load_weights(thread, first_feature, step);
}

fn store_next(thread: u32, step: u32) {
    for (var i = 0u; i < A_PER; i++) {
        let at = thread + i * WG;
        a_tile[at / STEP * PITCH + at % STEP] = a_next[i];
    }
    store_weights(thread, step);
}

// The 16 × 16 results that a subgroup put into its part of `c_tile`.
fn write_block(subgroup: u32, lane: u32, first_row: u32, first_feature: u32) {
    for (var i = lane; i < 256u; i += 32u) {
        let row = first_row + i / 16u;
        let feature = first_feature + i % 16u;
        if row < params.rows && feature < params.out_features {
            y[row * params.y_stride + params.y_offset + feature] = scale[row] * c_tile[subgroup * 256u + i];
        }
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let first_row = group.y * TM;
    let first_feature = group.x * TN;
    let subgroup = thread / 32u;
    let lane = thread % 32u;
    let m = subgroup % (TM / 64u) * 64u;
    let n = subgroup / (TM / 64u) * 32u;
    var c00 = coop_mat16x16<f32, C>();
    var c01 = coop_mat16x16<f32, C>();
    var c10 = coop_mat16x16<f32, C>();
    var c11 = coop_mat16x16<f32, C>();
    var c20 = coop_mat16x16<f32, C>();
    var c21 = coop_mat16x16<f32, C>();
    var c30 = coop_mat16x16<f32, C>();
    var c31 = coop_mat16x16<f32, C>();
    let steps = (params.in_features + 63u) / 64u;
    load_next(thread, first_row, first_feature, 0u);
    for (var step = 0u; step < steps; step++) {
        workgroupBarrier();
        store_next(thread, step);
        workgroupBarrier();
        if step + 1u < steps {
            load_next(thread, first_row, first_feature, step + 1u);
        }
        for (var k = 0u; k < STEP; k += 4u) {
            let b0 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[n * PITCH + k], PITCH);
            let b1 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[(n + 16u) * PITCH + k], PITCH);
            let a0 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[m * PITCH + k], PITCH);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            let a1 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(m + 16u) * PITCH + k], PITCH);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            let a2 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(m + 32u) * PITCH + k], PITCH);
            c20 = coopMultiplyAdd(a2, b0, c20);
            c21 = coopMultiplyAdd(a2, b1, c21);
            let a3 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(m + 48u) * PITCH + k], PITCH);
            c30 = coopMultiplyAdd(a3, b0, c30);
            c31 = coopMultiplyAdd(a3, b1, c31);
        }
    }
    let out = subgroup * 256u;
    let row = first_row + m;
    let feature = first_feature + n;
    coopStoreT(c00, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row, feature);
    workgroupBarrier();
    coopStoreT(c01, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row, feature + 16u);
    workgroupBarrier();
    coopStoreT(c10, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row + 16u, feature);
    workgroupBarrier();
    coopStoreT(c11, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row + 16u, feature + 16u);
    workgroupBarrier();
    coopStoreT(c20, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row + 32u, feature);
    workgroupBarrier();
    coopStoreT(c21, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row + 32u, feature + 16u);
    workgroupBarrier();
    coopStoreT(c30, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row + 48u, feature);
    workgroupBarrier();
    coopStoreT(c31, &c_tile[out], 16u);
    workgroupBarrier();
    write_block(subgroup, lane, row + 48u, feature + 16u);
}
