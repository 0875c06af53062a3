// The new key and value of one row, which are made beside its queries.

// A barrier must follow.
fn take_new(thread: u32, kv_head: u32) {
    load_new_value(thread, kv_head);
}

// Puts the new position, which a tile from `at` on ends with, in its place there and in the cache.
fn place_new(thread: u32, kv_head: u32, at: u32, count: u32, fresh: u32) {
    for (var i = thread; i < QUADS; i += WG) {
        tile[(fresh - at) * PITCH + i] = new_key_quad(i);
    }
    for (var i = 0u; i < PER; i++) {
        let quad = new_value_quad((thread % ITEMS + i * WG) % QUADS);
        put_value(thread, i, fresh - at, quad);
    }
    write_cache(thread, kv_head, fresh);
}
