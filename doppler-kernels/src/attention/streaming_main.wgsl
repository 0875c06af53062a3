@group(0) @binding(4) var<storage, read_write> y: array<f32>;     // [rows, num_attention_heads, HEAD_DIM]

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let head = group.x;
    let row = group.y;
    let query = row * params.num_attention_heads + head;
    let position = start[0] + row;
    let kv_head = head / (params.num_attention_heads / params.num_key_value_heads);
    attend(lane, query, kv_head, first_seen(position), min(position + 1u, params.capacity));
    for (var i = 0u; i < PAIRS; i++) {
        let pair = lane + i * WG;
        if pair < HEAD_DIM / 2u {
            y[query * HEAD_DIM + 2u * pair] = sums[i].x / total;
            y[query * HEAD_DIM + 2u * pair + 1u] = sums[i].y / total;
        }
    }
}
