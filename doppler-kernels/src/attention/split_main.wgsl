// One of `splits` equal pieces of what a row sees; `reduce` puts them together.
@group(0) @binding(4) var<storage, read_write> partials: array<f32>;  // [rows, num_attention_heads, splits, HEAD_DIM + 2]

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let head = group.x;
    let piece = group.y;
    let row = group.z;
    let query = row * params.num_attention_heads + head;
    let position = start[0] + row;
    let kv_head = head / (params.num_attention_heads / params.num_key_value_heads);
    let first = first_seen(position);
    let end = min(position + 1u, params.capacity);
    let length = (end - first + params.splits - 1u) / params.splits;
    let begin = min(first + piece * length, end);
    attend(lane, query, kv_head, begin, min(begin + length, end));
    let at = (query * params.splits + piece) * (HEAD_DIM + 2u);
    if lane == 0u {
        partials[at] = largest;
        partials[at + 1u] = total;
    }
    for (var i = 0u; i < PAIRS; i++) {
        let pair = lane + i * WG;
        if pair < HEAD_DIM / 2u {
            partials[at + 2u + 2u * pair] = sums[i].x;
            partials[at + 3u + 2u * pair] = sums[i].y;
        }
    }
}
