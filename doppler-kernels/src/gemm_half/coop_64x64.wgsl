// Each subgroup makes 64 × 64 results.
@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first_row = group.y * TM;
    let first_feature = group.x * TN;
    let subgroup = thread / 32u;
    let m = subgroup % (TM / SM) * SM;
    let n = subgroup / (TM / SM) * SN;
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
    write_block(c00, thread, group.z, row, feature);
    write_block(c01, thread, group.z, row, feature + 16u);
    write_block(c02, thread, group.z, row, feature + 32u);
    write_block(c03, thread, group.z, row, feature + 48u);
    write_block(c10, thread, group.z, row + 16u, feature);
    write_block(c11, thread, group.z, row + 16u, feature + 16u);
    write_block(c12, thread, group.z, row + 16u, feature + 32u);
    write_block(c13, thread, group.z, row + 16u, feature + 48u);
    write_block(c20, thread, group.z, row + 32u, feature);
    write_block(c21, thread, group.z, row + 32u, feature + 16u);
    write_block(c22, thread, group.z, row + 32u, feature + 32u);
    write_block(c23, thread, group.z, row + 32u, feature + 48u);
    write_block(c30, thread, group.z, row + 48u, feature);
    write_block(c31, thread, group.z, row + 48u, feature + 16u);
    write_block(c32, thread, group.z, row + 48u, feature + 32u);
    write_block(c33, thread, group.z, row + 48u, feature + 48u);
}
