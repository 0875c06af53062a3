@group(0) @binding(1) var<storage, read_write> y: array<f32>;     // [rows, num_attention_heads * head_dim]

// Element `i` of rows of `cols`.
fn put(thread: u32, value: f32, cols: u32, i: u32, valid: bool) {
    if valid {
        y[i] = value;
    }
}
