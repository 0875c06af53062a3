// The queries of new positions, and their keys and values into the cache: a key-value head of a position, with the query
// heads that share it, a workgroup.

@compute @workgroup_size(WG)
fn main(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let index = group.x + group.y * groups.x;
    if index >= params.rows * params.num_key_value_heads {
        return;
    }
    let kv_head = index % params.num_key_value_heads;
    row = index / params.num_key_value_heads;
    load_new_value(thread, kv_head);
    load_heads(thread, kv_head);
    let first = (row * params.num_attention_heads + kv_head * GROUP) * QUADS;
    for (var i = thread; i < GROUP * QUADS; i += WG) {
        q[first + i] = vec4<f32>(heads[4u * i], heads[4u * i + 1u], heads[4u * i + 2u], heads[4u * i + 3u]);
    }
    if start[0] + row < params.capacity {
        write_cache(thread, kv_head, start[0] + row);
    }
}
