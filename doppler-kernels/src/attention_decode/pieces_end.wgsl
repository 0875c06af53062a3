// A group's heads end as a piece that is put together with others.

fn put_item(item: u32, kv_head: u32, piece: u32, largest: f32, total: f32, sum: vec4<f32>) {
    let h = item / QUADS;
    let out = ((row * params.num_attention_heads + kv_head * GROUP + h) * params.splits + piece) * (HEAD_DIM + 2u);
    if item % QUADS == 0u {
        partials[out] = largest;
        partials[out + 1u] = total;
    }
    let d = out + 2u + item % QUADS * 4u;
    partials[d] = sum.x;
    partials[d + 1u] = sum.y;
    partials[d + 2u] = sum.z;
    partials[d + 3u] = sum.w;
}

fn finish(thread: u32, kv_head: u32) {}
