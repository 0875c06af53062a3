// A group's heads are whole, and end in blocks of int8; they take the place of the queries, which are used no more.

fn put_item(item: u32, kv_head: u32, piece: u32, largest: f32, total: f32, sum: vec4<f32>) {
    let head = sum / total;
    heads[4u * item] = head.x;
    heads[4u * item + 1u] = head.y;
    heads[4u * item + 2u] = head.z;
    heads[4u * item + 3u] = head.w;
}

// Contains barriers: call in uniform control flow, and behind one.
fn finish(thread: u32, kv_head: u32) {
    const LEN: u32 = GROUP * HEAD_DIM;
    for (var first = 0u; first < LEN; first += WG) {
        let i = first + thread;
        let at = min(i, LEN - 1u);
        let cols = params.num_attention_heads * HEAD_DIM;
        write_a8(thread, heads[at], cols, row, (kv_head * LEN + at) / 32u, i < LEN);
    }
}
