// Queries, keys and values of the new position in one buffer.

fn projection(i: u32) -> f32 {
    return qkv[row * (params.num_attention_heads + 2u * params.num_key_value_heads) * HEAD_DIM + i];
}

fn new_value(i: u32) -> f32 {
    return projection((params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM + i);
}
