// A team is a subgroup.
struct Inv {
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) team: u32,
    @builtin(num_subgroups) teams: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
}

fn team(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.team, inv.teams);
}

fn lane(inv: Inv) -> vec2<u32> {
    return vec2<u32>(inv.lane, inv.lanes);
}

fn team_sum(inv: Inv, v: f32) -> f32 {
    return subgroupAdd(v);
}
