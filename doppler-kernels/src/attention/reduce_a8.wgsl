@group(0) @binding(1) var<storage, read_write> y: array<u32>;     // [rows, num_attention_heads * head_dim], A8

// Element `i` of rows of `cols`. Contains barriers.
fn put(thread: u32, value: f32, cols: u32, i: u32, valid: bool) {
    write_a8(thread, value, cols, i / cols, i % cols / 32u, valid);
}
