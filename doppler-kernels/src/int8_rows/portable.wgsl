// y = x in blocks of int8: a block an invocation, so that nothing has to be shared.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;          // [rows, cols]

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let blocks = params.cols / 32u;
    let at = (group.x + group.y * groups.x) * WG + thread;
    if at >= params.rows * blocks {
        return;
    }
    var largest = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i++) {
        largest = max(largest, abs(x[at * 8u + i]));
    }
    let magnitude = max(max(largest.x, largest.y), max(largest.z, largest.w));
    // The least positive number instead of zero: an all-zero block divides by it.
    let inverse = 127.0 / max(magnitude, 1e-30);
    let row = at / blocks;
    let block = at % blocks;
    let start = a8_row(params.cols, row);
    var sums = vec2<i32>(0);
    for (var i = 0u; i < 8u; i++) {
        let quants = vec4<i32>(clamp(round(x[at * 8u + i] * inverse), vec4<f32>(-127.0), vec4<f32>(127.0)));
        let sum = quants.x + quants.y + quants.z + quants.w;
        sums += select(vec2<i32>(0, sum), vec2<i32>(sum, 0), i < 4u);
        y[start + a8_word(params.cols, block, i)] = a8_bytes(quants);
    }
    write_a8_info(params.cols, row, block, magnitude, sums.x, sums.y);
}
