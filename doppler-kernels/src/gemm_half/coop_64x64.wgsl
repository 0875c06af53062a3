// Each subgroup makes 64 × 64 results.

// 16 rows of 64 and 8 more, so that rows begin at different banks.
const C_PITCH: u32 = 72u;
const C_TILE: u32 = 16u * C_PITCH;

// Writes 16 × 64 results, through the subgroup's part of `c_tile`. Contains barriers: call in uniform control flow.
fn write_blocks(
    c0: coop_mat16x16<f32, C>,
    c1: coop_mat16x16<f32, C>,
    c2: coop_mat16x16<f32, C>,
    c3: coop_mat16x16<f32, C>,
    thread: u32,
    part: u32,
    first_row: u32,
    first_feature: u32,
) {
    let own = thread / 32u * C_TILE;
    workgroupBarrier();
    coopStoreT(c0, &c_tile[own], C_PITCH);
    coopStoreT(c1, &c_tile[own + 16u], C_PITCH);
    coopStoreT(c2, &c_tile[own + 32u], C_PITCH);
    coopStoreT(c3, &c_tile[own + 48u], C_PITCH);
    workgroupBarrier();
    let feature = first_feature + thread % 32u;
    for (var i = 0u; i < 16u; i++) {
        let row = first_row + i;
        let to = (part * params.rows + row) * params.y_stride + params.y_offset + feature;
        let at = own + i * C_PITCH + thread % 32u;
        if row < params.rows && feature < params.out_features {
            y[to] = scale[row] * c_tile[at];
        }
        if row < params.rows && feature + 32u < params.out_features {
            y[to + 32u] = scale[row] * c_tile[at + 32u];
        }
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first_row = group.y * TM;
    let first_feature = group.x * TN;
    let subgroup = thread / 32u;
    let m = subgroup % (TM / 64u) * 64u;
    let n = subgroup / (TM / 64u) * SN;
    var c00 = coop_mat16x16<f32, C>();
    var c01 = coop_mat16x16<f32, C>();
    var c02 = coop_mat16x16<f32, C>();
    var c03 = coop_mat16x16<f32, C>();
    var c10 = coop_mat16x16<f32, C>();
    var c11 = coop_mat16x16<f32, C>();
    var c12 = coop_mat16x16<f32, C>();
    var c13 = coop_mat16x16<f32, C>();
    var c20 = coop_mat16x16<f32, C>();
    var c21 = coop_mat16x16<f32, C>();
    var c22 = coop_mat16x16<f32, C>();
    var c23 = coop_mat16x16<f32, C>();
    var c30 = coop_mat16x16<f32, C>();
    var c31 = coop_mat16x16<f32, C>();
    var c32 = coop_mat16x16<f32, C>();
    var c33 = coop_mat16x16<f32, C>();
    let steps = steps_of(group.z, groups.z);
    find_rows(thread, first_row);
    load_next(thread, first_feature, steps.x);
    for (var step = steps.x; step < steps.y; step++) {
        workgroupBarrier();
        store_next(thread, step);
        workgroupBarrier();
        if step + 1u < steps.y {
            load_next(thread, first_feature, step + 1u);
        }
        for (var k = 0u; k < STEP; k += 4u) {
            let b0 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[n * PITCH + k], PITCH);
            let b1 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[(n + 16u) * PITCH + k], PITCH);
            let b2 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[(n + 32u) * PITCH + k], PITCH);
            let b3 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[(n + 48u) * PITCH + k], PITCH);
            let a0 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[m * PITCH + k], PITCH);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c02 = coopMultiplyAdd(a0, b2, c02);
            c03 = coopMultiplyAdd(a0, b3, c03);
            let a1 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(m + 16u) * PITCH + k], PITCH);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            c12 = coopMultiplyAdd(a1, b2, c12);
            c13 = coopMultiplyAdd(a1, b3, c13);
            let a2 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(m + 32u) * PITCH + k], PITCH);
            c20 = coopMultiplyAdd(a2, b0, c20);
            c21 = coopMultiplyAdd(a2, b1, c21);
            c22 = coopMultiplyAdd(a2, b2, c22);
            c23 = coopMultiplyAdd(a2, b3, c23);
            let a3 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(m + 48u) * PITCH + k], PITCH);
            c30 = coopMultiplyAdd(a3, b0, c30);
            c31 = coopMultiplyAdd(a3, b1, c31);
            c32 = coopMultiplyAdd(a3, b2, c32);
            c33 = coopMultiplyAdd(a3, b3, c33);
        }
    }
    let row = first_row + m;
    let feature = first_feature + n;
    write_blocks(c00, c01, c02, c03, thread, group.z, row, feature);
    write_blocks(c10, c11, c12, c13, thread, group.z, row + 16u, feature);
    write_blocks(c20, c21, c22, c23, thread, group.z, row + 32u, feature);
    write_blocks(c30, c31, c32, c33, thread, group.z, row + 48u, feature);
}
