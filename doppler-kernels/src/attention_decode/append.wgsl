// The keys and values of new positions into the cache, a key-value head of a position a workgroup.

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    row = group.y;
    load_new_value(thread, group.x);
    load_heads(thread, group.x);
    if start[0] + row < params.capacity {
        write_cache(thread, group.x, start[0] + row);
    }
}
