// The values of the new positions in a buffer of their own, all in partial sums.

fn projection(i: u32) -> f32 {
    let cols = (params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM;
    var sum = qkv[row * cols + i];
    for (var part = 1u; part < PARTS; part++) {
        sum += qkv[(part * params.rows + row) * cols + i];
    }
    return sum;
}

fn new_value(i: u32) -> f32 {
    let cols = params.num_key_value_heads * HEAD_DIM;
    var sum = values[row * cols + i];
    for (var part = 1u; part < VALUE_PARTS; part++) {
        sum += values[(part * params.rows + row) * cols + i];
    }
    return sum;
}
