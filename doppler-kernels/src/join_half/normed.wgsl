// The branch through a norm of its own.
@group(0) @binding(5) var<storage, read> branch_weight: array<vec4<f32>>;  // [QUADS]
@group(0) @binding(6) var<uniform> params: Params;

fn branch_factor(inv: Inv, row: u32) -> f32 {
    var squares = 0.0;
    for (var step = 0u; step < STEPS; step++) {
        let i = step * WG + inv.lane;
        if i < QUADS {
            let b = branch_at(row * QUADS + i);
            squares += dot(b, b);
        }
    }
    return params.branch_scale / sqrt(reduce_sum(inv, squares) / f32(IN_FEATURES) + params.eps);
}

fn joined(at: u32, i: u32, factor: f32) -> vec4<f32> {
    let h = hidden[at] + factor * branch_at(at) * branch_weight[i];
    hidden[at] = h;
    return h;
}
