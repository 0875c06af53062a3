// hidden[r] = scale * weight[ids[r]]; y = hidden * norm_weight in blocks of int8; energy = the sum of hidden^2 over each block.
// 8 blocks a workgroup: an invocation unpacks one, then each has one element.

struct Params {
    rows: u32,
    in_features: u32,      // hidden_size, under the name that the loaders expect
    out_features: u32,     // vocab_size, likewise
    scale: f32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;              // [rows]
@group(0) @binding(1) var<storage, read> weight: array<u32>;           // [vocab_size, hidden_size], packed
@group(0) @binding(2) var<storage, read> norm_weight: array<f32>;      // [hidden_size]
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;     // [rows, hidden_size]
@group(0) @binding(4) var<storage, read_write> y: array<u32>;          // [rows, hidden_size], A8
@group(0) @binding(5) var<storage, read_write> energy: array<f32>;     // [rows, hidden_size / 32]
@group(0) @binding(6) var<uniform> params: Params;

var<private> w: array<vec4<f32>, 8>;
// Blocks of 32, one element more apart, so that they begin at different banks.
var<workgroup> values: array<f32, WG / 32u * 33u>;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * WG;
    let cols = params.in_features;
    let own = first + thread * 32u;
    if thread < WG / 32u && own < params.rows * cols {
        let id = ids[own / cols];
        let unknown = id >= params.out_features;
        if !unknown {
            load_chunk(id, own % cols / 32u);
        }
        // A NaN that no compiler folds away: no token may pass as another.
        let nan = bitcast<f32>(0x7FC00000u | select(0u, 1u, unknown));
        for (var i = 0u; i < 32u; i++) {
            values[thread * 33u + i] = select(params.scale * w[i / 4u][i % 4u], nan, unknown);
        }
    }
    workgroupBarrier();
    let at = first + thread;
    let valid = at < params.rows * cols;
    var value = 0.0;
    if valid {
        value = values[thread / 32u * 33u + thread % 32u];
        hidden[at] = value;
    }
    write_a8(thread, value * norm_weight[at % cols], cols, at / cols, at % cols / 32u, valid);
    let block = block_energy(thread, value, valid);
    if valid && (thread & 31u) == 0u {
        energy[at / 32u] = block;
    }
}
