// Puts the pieces of a split attention together: WG / SLICES output elements a workgroup, the pieces of each shared by SLICES
// invocations.

struct Params {
    rows: u32,
    num_attention_heads: u32,
    head_dim: u32,
    splits: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;    // [rows, num_attention_heads, splits, head_dim + 2]
@group(0) @binding(2) var<uniform> params: Params;

const ELEMENTS: u32 = WG / SLICES;

var<workgroup> slice_largest: array<f32, WG>;
var<workgroup> slice_totals: array<f32, WG>;
var<workgroup> slice_sums: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let cols = params.num_attention_heads * params.head_dim;
    let i = (group.x + group.y * groups.x) * ELEMENTS + thread % ELEMENTS;
    let valid = i < params.rows * cols;
    let pitch = params.head_dim + 2u;
    let first = min(i, params.rows * cols - 1u) / params.head_dim * params.splits * pitch;
    let d = i % params.head_dim;
    var largest = -1e30;
    var total = 0.0;
    var sum = 0.0;
    for (var s = thread / ELEMENTS; s < params.splits; s += 4u * SLICES) {
        // Four pieces in flight.
        var score = vec4<f32>(-1e30);
        var weight = vec4<f32>(0.0);
        var value = vec4<f32>(0.0);
        for (var j = 0u; j < 4u; j++) {
            let piece = s + j * SLICES;
            if piece < params.splits {
                score[j] = partials[first + piece * pitch];
                weight[j] = partials[first + piece * pitch + 1u];
                value[j] = partials[first + piece * pitch + 2u + d];
            }
        }
        let new_largest = max(largest, max(max(score.x, score.y), max(score.z, score.w)));
        let shrink = exp(largest - new_largest);
        let factor = exp(score - vec4<f32>(new_largest));
        total = total * shrink + dot(factor, weight);
        sum = sum * shrink + dot(factor, value);
        largest = new_largest;
    }
    slice_largest[thread] = largest;
    slice_totals[thread] = total;
    slice_sums[thread] = sum;
    workgroupBarrier();
    var result = 0.0;
    if thread < ELEMENTS {
        for (var s = 1u; s < SLICES; s++) {
            largest = max(largest, slice_largest[thread + s * ELEMENTS]);
        }
        total = 0.0;
        sum = 0.0;
        for (var s = 0u; s < SLICES; s++) {
            let factor = exp(slice_largest[thread + s * ELEMENTS] - largest);
            total += factor * slice_totals[thread + s * ELEMENTS];
            sum += factor * slice_sums[thread + s * ELEMENTS];
        }
        result = sum / total;
    }
    put(thread, result, cols, i, valid && thread < ELEMENTS);
}
