// Reductions over a one-dimensional workgroup of WG invocations, through subgroup operations of any subgroup size.
// Every invocation gets the result. Contains barriers: call in uniform control flow.

struct Inv {
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
}

// One slot a subgroup; no device has subgroups narrower than 4.
var<workgroup> reduce_partial: array<f32, WG / 4u>;

fn reduce_sum(inv: Inv, x: f32) -> f32 {
    let sum = subgroupAdd(x);
    if inv.subgroups == 1u {
        return sum;
    }
    if inv.subgroup_lane == 0u {
        reduce_partial[inv.subgroup] = sum;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < inv.subgroups; i++) {
        total += reduce_partial[i];
    }
    workgroupBarrier();
    return total;
}

fn reduce_max(inv: Inv, x: f32) -> f32 {
    let largest = subgroupMax(x);
    if inv.subgroups == 1u {
        return largest;
    }
    if inv.subgroup_lane == 0u {
        reduce_partial[inv.subgroup] = largest;
    }
    workgroupBarrier();
    var total = reduce_partial[0];
    for (var i = 1u; i < inv.subgroups; i++) {
        total = max(total, reduce_partial[i]);
    }
    workgroupBarrier();
    return total;
}
