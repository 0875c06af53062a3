// The heads of a new position in workgroup memory.

// The queries of the group, then the new key.
var<workgroup> heads: array<f32, (GROUP + 1u) * HEAD_DIM>;
var<workgroup> new_values: array<vec4<f32>, QUADS>;
var<workgroup> squares: array<f32, (GROUP + 1u) * 16u>;

// Divides each head by its root mean square, times the weight of its norm.
fn norm_heads(thread: u32, kv_head: u32) {
    for (var i = thread; i < (GROUP + 1u) * 16u; i += WG) {
        var sum = 0.0;
        for (var d = i & 15u; d < HEAD_DIM; d += 16u) {
            let x = projected(i / 16u, kv_head, d);
            sum += x * x;
        }
        squares[i] = sum;
    }
    workgroupBarrier();
}

// What an element is multiplied with by the norm of its head.
fn norm_factor(h: u32, d: u32) -> f32 {
    var sum = 0.0;
    for (var j = 0u; j < 16u; j++) {
        sum += squares[h * 16u + j];
    }
    return inverseSqrt(sum / f32(HEAD_DIM) + params.eps) * vectors[bias_len() + select(0u, HEAD_DIM, h == GROUP) + d];
}

fn load_heads(thread: u32, kv_head: u32) {
    if QK_NORM != 0u {
        norm_heads(thread, kv_head);
    }
    let position = start[0] + row;
    // Pairs that rotate, then what does not.
    const HALF: u32 = ROTARY_DIM / 2u;
    for (var i = thread; i < (GROUP + 1u) * HALF; i += WG) {
        let h = i / max(HALF, 1u);
        let d = i % max(HALF, 1u);
        let turn = table[position * HALF + d];
        var a = projected(h, kv_head, d);
        var b = projected(h, kv_head, d + HALF);
        if QK_NORM != 0u {
            a *= norm_factor(h, d);
            b *= norm_factor(h, d + HALF);
        }
        heads[h * HEAD_DIM + d] = a * turn.x - b * turn.y;
        heads[h * HEAD_DIM + d + HALF] = b * turn.x + a * turn.y;
    }
    const REST: u32 = HEAD_DIM - ROTARY_DIM;
    for (var i = thread; i < (GROUP + 1u) * REST; i += WG) {
        let h = i / max(REST, 1u);
        let d = ROTARY_DIM + i % max(REST, 1u);
        var x = projected(h, kv_head, d);
        if QK_NORM != 0u {
            x *= norm_factor(h, d);
        }
        heads[h * HEAD_DIM + d] = x;
    }
    workgroupBarrier();
}

fn new_key(i: u32) -> vec4<f32> {
    let at = GROUP * HEAD_DIM + 4u * i;
    return vec4<f32>(heads[at], heads[at + 1u], heads[at + 2u], heads[at + 3u]);
}

// A quad of the new key as the cache gives it back.
fn new_key_quad(i: u32) -> Quad {
    var largest = 0.0;
    for (var j = 0u; j < BLOCK; j++) {
        largest = max(largest, magnitude(new_key(i / BLOCK * BLOCK + j)));
    }
    return pack_quad(new_key(i), largest);
}

// The same of the new value.
fn new_value_quad(i: u32) -> Quad {
    var largest = 0.0;
    for (var j = 0u; j < BLOCK; j++) {
        largest = max(largest, magnitude(new_values[i / BLOCK * BLOCK + j]));
    }
    return pack_quad(new_values[i], largest);
}

// The new value into workgroup memory; a barrier must follow.
fn load_new_value(thread: u32, kv_head: u32) {
    for (var i = thread; i < QUADS; i += WG) {
        new_values[i] = projected_value(kv_head, i);
    }
}

fn write_cache(thread: u32, kv_head: u32, position: u32) {
    let head = position * params.num_key_value_heads + kv_head;
    for (var i = thread; i < QUADS; i += WG) {
        store_key(head, i, new_key_quad(i));
        store_value(head, i, new_value_quad(i));
    }
}
