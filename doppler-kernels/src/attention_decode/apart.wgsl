// The values of the new position in a buffer of their own.

fn projection(i: u32) -> f32 {
    return qkv[row * (params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM + i];
}

fn new_value(i: u32) -> f32 {
    return values[row * params.num_key_value_heads * HEAD_DIM + i];
}
