// A branch in partial sums.
@group(0) @binding(0) var<storage, read_write> hidden: array<vec4<f32>>;   // [rows, QUADS]
@group(0) @binding(4) var<storage, read> branch: array<vec4<f32>>;         // [PARTS, rows, QUADS]

fn branch_at(at: u32) -> vec4<f32> {
    var sum = branch[at];
    for (var part = 1u; part < PARTS; part++) {
        sum += branch[part * params.rows * QUADS + at];
    }
    return sum;
}
