// Many rows: a workgroup of 256 makes a tile of TILE × TILE results, each invocation 4 × 4 of them, in steps of 32 columns
// staged in workgroup memory. Of several workgroups along z each makes the sums over its part of the columns.

const TILE: u32 = 64u;

var<workgroup> x_tile: array<f32, 2048>;        // [32, TILE]
var<workgroup> weight_tile: array<f32, 2048>;   // [32, TILE]

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first_feature = group.x * TILE;
    let first_row = group.y * TILE;
    let tx = lane % 16u;
    let ty = lane / 16u;
    var sums: array<vec4<f32>, 4>;
    let chunks = (params.in_features + 31u) / 32u;
    // Parts are of whole blocks of 256.
    let part = ((chunks + 7u) / 8u + groups.z - 1u) / groups.z * 8u;
    for (var chunk = group.z * part; chunk < min((group.z + 1u) * part, chunks); chunk++) {
        // 64 rows × 8 vectors of activations, two for each invocation.
        for (var v = lane; v < 512u; v += 256u) {
            let row = v % TILE;
            var values = vec4<f32>(0.0);
            if first_row + row < params.rows {
                values = x4(first_row + row, chunk * 8u + v / TILE);
            }
            for (var c = 0u; c < 4u; c++) {
                x_tile[(v / TILE * 4u + c) * TILE + row] = values[c];
            }
        }
        // 64 chunks of weights, one for each of the first 64 invocations.
        if lane < TILE {
            let valid = first_feature + lane < params.out_features;
            if valid {
                load_chunk(first_feature + lane, chunk);
            }
            for (var i = 0u; i < 8u; i++) {
                for (var c = 0u; c < 4u; c++) {
                    weight_tile[(4u * i + c) * TILE + lane] = select(0.0, w[i][c], valid);
                }
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < 32u; k++) {
            let at = k * TILE + tx * 4u;
            let b = vec4<f32>(weight_tile[at], weight_tile[at + 1u], weight_tile[at + 2u], weight_tile[at + 3u]);
            let row_at = k * TILE + ty * 4u;
            for (var i = 0u; i < 4u; i++) {
                sums[i] += x_tile[row_at + i] * b;
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + ty * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let feature = first_feature + tx * 4u + j;
            if row < params.rows && feature < params.out_features {
                y[(group.z * params.rows + row) * params.y_stride + params.y_offset + feature] = sums[i][j];
            }
        }
    }
}
