// A team is LANES invocations, 32 at most, where 32 consecutive ones are within one subgroup. Every number is a constant, so that
// loops unroll.
struct Inv {
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
}

// Strips are asked for a step ahead: such devices have registers for it.
const AHEAD: bool = true;

// Two teams have lanes by turns: neighbours, which ask for the same activations of workgroup memory, are given them at once.
const SPREAD: u32 = min(32u / LANES, 2u);

// This invocation's team, and how many there are.
fn team(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread / (SPREAD * LANES) * SPREAD + inv.thread % SPREAD, WG / LANES);
}

// This invocation's place in its team, and how many there are.
fn lane(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.thread / SPREAD % LANES, LANES);
}

// The sums of a turn, and zeros, so that they can be halved.
const PADDED: u32 = 1u << (32u - countLeadingZeros(SUMS - 1u));

// A lane gives half of its sums to another one and takes that one's other half, so that `left` are left and several cost hardly
// more than one; or it adds its only sum, if none would be left. Returns by how much its first sum is a later one.
fn exchange(own: ptr<function, array<f32, PADDED>>, lane: u32, half: u32, left: u32) -> u32 {
    if left == 0u {
        (*own)[0] += subgroupShuffleXor((*own)[0], SPREAD * half);
        return 0u;
    }
    let upper = (lane & half) != 0u;
    for (var i = 0u; i < left; i++) {
        let given = select((*own)[i + left], (*own)[i], upper);
        (*own)[i] = select((*own)[i], (*own)[i + left], upper) + subgroupShuffleXor(given, SPREAD * half);
    }
    return select(0u, left, upper);
}

// Adds up a turn's sums over the lanes of a team and keeps them.
fn add_up(inv: Inv, first: u32, sums: array<f32, SUMS>) {
    let lane = lane(inv).x;
    var given = sums;
    var own: array<f32, PADDED>;
    for (var i = 0u; i < SUMS; i++) {
        own[i] = given[i];
    }
    // Written out, as only loops of a constant length leave sums in registers. Teams are of four at least.
    var at = exchange(&own, lane, LANES / 2u, PADDED / 2u) + exchange(&own, lane, LANES / 4u, PADDED / 4u);
    if LANES >= 8u {
        at += exchange(&own, lane, LANES / 8u, PADDED / 8u);
    }
    if LANES >= 16u {
        at += exchange(&own, lane, LANES / 16u, PADDED / 16u);
    }
    if LANES >= 32u {
        at += exchange(&own, lane, LANES / 32u, PADDED / 32u);
    }
    if lane % max(LANES / PADDED, 1u) == 0u {
        for (var i = 0u; i < max(PADDED / LANES, 1u); i++) {
            keep(first, at + i, own[i]);
        }
    }
}

// Invocations that add up a row's energies: which group of them this one is in, how many there are, its place and their number.
fn adders(inv: Inv) -> vec4<u32> {
    return vec4<u32>(inv.thread / 32u, WG / 32u, inv.thread % 32u, 32u);
}

fn adders_sum(inv: Inv, v: f32) -> f32 {
    var sum = v;
    for (var half = 16u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}
