// A team is LANES consecutive invocations, 32 at most, where 32 of those are within one subgroup. Every number is a constant, so
// that loops unroll.
struct Inv {
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
}

// Strips are asked for a step ahead: such devices have registers for it.
const AHEAD: bool = true;

// This invocation's team, and how many there are.
fn team(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread / LANES, WG / LANES);
}

// This invocation's place in its team, and how many there are.
fn lane(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread % LANES, LANES);
}

// The sum over as many consecutive invocations, 32 at most, though a subgroup may be larger.
fn sum_of(v: f32, lanes: u32) -> f32 {
    var sum = v;
    for (var half = lanes / 2u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}

fn team_sum(inv: Inv, v: f32) -> f32 {
    return sum_of(v, LANES);
}

// Invocations that add up a row's energies: which group of them this one is in, how many there are, its place and their number.
fn adders(inv: Inv) -> vec4<u32> {
    return vec4<u32>(inv.thread / 32u, WG / 32u, inv.thread % 32u, 32u);
}

fn adders_sum(inv: Inv, v: f32) -> f32 {
    return sum_of(v, 32u);
}
