// Each subgroup makes 32 × 32 results.
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
    var c10 = coop_mat16x16<f32, C>();
    var c11 = coop_mat16x16<f32, C>();
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
            let a0 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[m * PITCH + k], PITCH);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            let a1 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[(m + 16u) * PITCH + k], PITCH);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
        }
    }
    let row = first_row + m;
    let feature = first_feature + n;
    write_block(c00, thread, group.z, row, feature);
    write_block(c01, thread, group.z, row, feature + 16u);
    write_block(c10, thread, group.z, row + 16u, feature);
    write_block(c11, thread, group.z, row + 16u, feature + 16u);
}
