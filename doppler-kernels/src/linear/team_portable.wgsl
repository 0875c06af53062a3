// A team is 16 consecutive invocations.
struct Inv {
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
}

const SLICE: u32 = 16u;
const SLICES: u32 = 1u;

var<workgroup> team_values: array<f32, WG>;

// This invocation's team, and how many there are.
fn team(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread / 16u, WG / 16u);
}

// This invocation's place in its team, and how many there are.
fn lane(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread % 16u, 16u);
}

// Lane 0 gets the sum. Contains barriers: call in uniform control flow.
fn slice_sum(inv: Inv, v: f32) -> f32 {
    team_values[inv.thread] = v;
    workgroupBarrier();
    for (var half = 8u; half > 0u; half /= 2u) {
        if (inv.thread & 15u) < half {
            team_values[inv.thread] += team_values[inv.thread + half];
        }
        workgroupBarrier();
    }
    let total = team_values[inv.thread];
    workgroupBarrier();
    return total;
}

// Whether this invocation takes part in what one team does for all: every one, because of the barriers.
fn sums_norm(inv: Inv) -> bool {
    return true;
}
