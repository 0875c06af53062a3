// A team is LANES consecutive invocations.
struct Inv {
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
}

var<workgroup> team_values: array<f32, WG>;

// Strips are asked for when they are needed: what is kept for a step costs more on devices with few registers.
const AHEAD: bool = false;

// This invocation's team, and how many there are.
fn team(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread / LANES, WG / LANES);
}

// This invocation's place in its team, and how many there are.
fn lane(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread % LANES, LANES);
}

// Lane 0 gets the sum. Contains barriers: call in uniform control flow.
fn team_sum(inv: Inv, v: f32) -> f32 {
    team_values[inv.thread] = v;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if inv.thread % LANES < half {
            team_values[inv.thread] += team_values[inv.thread + half];
        }
        workgroupBarrier();
    }
    let total = team_values[inv.thread];
    workgroupBarrier();
    return total;
}

// Invocations that add up a row's energies: which group of them this one is in, how many there are, its place and their number.
fn adders(inv: Inv) -> vec4<u32> {
    return vec4<u32>(team(inv), lane(inv));
}

// Contains barriers: call in uniform control flow.
fn adders_sum(inv: Inv, v: f32) -> f32 {
    return team_sum(inv, v);
}
