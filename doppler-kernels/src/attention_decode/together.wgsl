// Queries, keys and values of the new position in one buffer.

// Where the row begins in `qkv`.
fn row_begin() -> u32 {
    return row * (params.num_attention_heads + 2u * params.num_key_value_heads) * HEAD_DIM;
}

fn new_value(i: u32) -> f32 {
    return qkv[row_begin() + (params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM + i];
}
