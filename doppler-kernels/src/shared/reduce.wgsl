// Reductions over a one-dimensional workgroup of WG invocations (a power of two), portable.
// Every invocation gets the result. Contains barriers: call in uniform control flow.

struct Inv {
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
}

var<workgroup> reduce_partial: array<f32, WG>;

fn reduce_sum(inv: Inv, x: f32) -> f32 {
    reduce_partial[inv.lane] = x;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if inv.lane < half {
            reduce_partial[inv.lane] += reduce_partial[inv.lane + half];
        }
        workgroupBarrier();
    }
    let total = reduce_partial[0];
    workgroupBarrier();
    return total;
}

fn reduce_max(inv: Inv, x: f32) -> f32 {
    reduce_partial[inv.lane] = x;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if inv.lane < half {
            reduce_partial[inv.lane] = max(reduce_partial[inv.lane], reduce_partial[inv.lane + half]);
        }
        workgroupBarrier();
    }
    let largest = reduce_partial[0];
    workgroupBarrier();
    return largest;
}
