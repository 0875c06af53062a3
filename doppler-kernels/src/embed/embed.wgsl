// y[r] = scale * weight[ids[r]], for the ids whose rows lie in this part of the table. An invocation makes 32 columns.

struct Params {
    rows: u32,
    in_features: u32,      // hidden_size, under the name that the loaders expect
    vocab_start: u32,
    out_features: u32,     // rows of `weight`, likewise
    vocab_size: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;         // [rows]
@group(0) @binding(1) var<storage, read> weight: array<u32>;      // [vocab_rows, hidden_size], packed
@group(0) @binding(2) var<storage, read_write> y: array<f32>;     // [rows, hidden_size]
@group(0) @binding(3) var<uniform> params: Params;

var<private> w: array<vec4<f32>, 8>;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let chunks = (params.in_features + 31u) / 32u;
    let index = (group.x + group.y * groups.x) * 64u + lane;
    let row = index / chunks;
    let chunk = index % chunks;
    if row >= params.rows {
        return;
    }
    let id = ids[row];
    let unknown = id >= params.vocab_size;
    if unknown {
        // The first part speaks up: no token may pass as another.
        if params.vocab_start != 0u {
            return;
        }
    } else if id < params.vocab_start || id - params.vocab_start >= params.out_features {
        return;
    } else {
        load_chunk(id - params.vocab_start, chunk);
    }
    // A NaN that no compiler folds away.
    let nan = bitcast<f32>(0x7FC00000u | select(0u, 1u, unknown));
    for (var i = 0u; i < 32u; i++) {
        let k = chunk * 32u + i;
        if k < params.in_features {
            y[row * params.in_features + k] = select(params.scale * w[i / 4u][i % 4u], nan, unknown);
        }
    }
}
