// The branch as it is.
@group(0) @binding(5) var<uniform> params: Params;

fn branch_factor(inv: Inv, row: u32) -> f32 {
    return params.branch_scale;
}

fn joined(at: u32, i: u32, factor: f32) -> vec4<f32> {
    let h = hidden[at] + factor * branch_at(at);
    hidden[at] = h;
    return h;
}
