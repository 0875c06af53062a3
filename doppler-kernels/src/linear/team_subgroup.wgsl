// A team is up to LANES consecutive lanes of a subgroup of any size, or all of it.
struct Inv {
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
}

// Strips are asked for when they are needed: what is kept for a step costs more on devices with few registers.
const AHEAD: bool = false;

// This invocation's team, and how many there are.
fn team(inv: Inv) -> vec2<u32> {
    let lanes = min(LANES, inv.lanes);
    let teams = inv.lanes / lanes;
    return vec2<u32>(inv.subgroup * teams + inv.lane / lanes, inv.subgroups * teams);
}

// This invocation's place in its team, and how many there are.
fn lane(inv: Inv) -> vec2<u32> {
    let lanes = min(LANES, inv.lanes);
    return vec2<u32>(inv.lane % lanes, lanes);
}

fn team_sum(inv: Inv, v: f32) -> f32 {
    var sum = v;
    for (var half = min(LANES, inv.lanes) / 2u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}

// Invocations that add up a row's energies: which group of them this one is in, how many there are, its place and their number.
fn adders(inv: Inv) -> vec4<u32> {
    return vec4<u32>(inv.subgroup, inv.subgroups, inv.lane, inv.lanes);
}

fn adders_sum(inv: Inv, v: f32) -> f32 {
    return subgroupAdd(v);
}
