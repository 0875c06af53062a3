// The values of the new position in a buffer of their own.

// Where the row begins in `qkv`.
fn row_begin() -> u32 {
    return row * (params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM;
}

fn new_value(i: u32) -> f32 {
    return values[row * params.num_key_value_heads * HEAD_DIM + i];
}
