// The new keys and values of several rows, each straight from what was projected: a workgroup makes all that it sees, and writes
// its own row's to the cache.

// Sums of squares of each new key.
var<workgroup> key_squares: array<f32, NEW_ROWS * 16u>;

// A barrier must follow.
fn take_new(thread: u32, kv_head: u32) {
    if QK_NORM == 0u {
        return;
    }
    let own_row = row;
    for (var i = thread; i < NEW_ROWS * 16u; i += WG) {
        row = i / 16u;
        var sum = 0.0;
        for (var d = i & 15u; d < HEAD_DIM; d += 16u) {
            let x = projected(GROUP, kv_head, d);
            sum += x * x;
        }
        key_squares[i] = sum;
    }
    row = own_row;
}

// An element of the key of `row` after its norm, whose factor is given.
fn normed_key(kv_head: u32, d: u32, factor: f32) -> f32 {
    var x = projected(GROUP, kv_head, d);
    if QK_NORM != 0u {
        x *= factor * vectors[bias_len() + HEAD_DIM + d];
    }
    return x;
}

// And after rotation.
fn turned_key(kv_head: u32, d: u32, factor: f32) -> f32 {
    const HALF: u32 = ROTARY_DIM / 2u;
    let x = normed_key(kv_head, d, factor);
    if d >= ROTARY_DIM {
        return x;
    }
    let first = d < HALF;
    let partner = select(d - HALF, d + HALF, first);
    let other = normed_key(kv_head, partner, factor);
    let turn = table[(start[0] + row) * HALF + min(d, partner)];
    return x * turn.x + select(other, -other, first) * turn.y;
}

fn row_key(kv_head: u32, i: u32) -> vec4<f32> {
    var factor = 1.0;
    if QK_NORM != 0u {
        var sum = 0.0;
        for (var j = 0u; j < 16u; j++) {
            sum += key_squares[row * 16u + j];
        }
        factor = inverseSqrt(sum / f32(HEAD_DIM) + params.eps);
    }
    let d = 4u * i;
    return vec4<f32>(
        turned_key(kv_head, d, factor),
        turned_key(kv_head, d + 1u, factor),
        turned_key(kv_head, d + 2u, factor),
        turned_key(kv_head, d + 3u, factor),
    );
}

// A quad of the key of `row` as the cache gives it back.
fn row_key_quad(kv_head: u32, i: u32) -> Quad {
    var largest = 0.0;
    for (var j = 0u; j < BLOCK && BLOCK > 1u; j++) {
        largest = max(largest, magnitude(row_key(kv_head, i / BLOCK * BLOCK + j)));
    }
    return pack_quad(row_key(kv_head, i), largest);
}

// The same of its value.
fn row_value_quad(kv_head: u32, i: u32) -> Quad {
    var largest = 0.0;
    for (var j = 0u; j < BLOCK && BLOCK > 1u; j++) {
        largest = max(largest, magnitude(projected_value(kv_head, i / BLOCK * BLOCK + j)));
    }
    return pack_quad(projected_value(kv_head, i), largest);
}

// Puts the new positions, which a tile from `at` on ends with, in their places there, and the row's own in the cache.
fn place_new(thread: u32, kv_head: u32, at: u32, count: u32, fresh: u32) {
    let own_row = row;
    let own_head = (fresh + own_row) * params.num_key_value_heads + kv_head;
    let first = max(fresh, at) - at;
    for (var i = thread; i < (count - first) * QUADS; i += WG) {
        let t = first + i / QUADS;
        row = at + t - fresh;
        let quad = row_key_quad(kv_head, i % QUADS);
        tile[t * PITCH + i % QUADS] = quad;
        if row == own_row {
            store_key(own_head, i % QUADS, quad);
        }
    }
    for (var t = first; t < count; t++) {
        if t % SLICES != thread / ITEMS {
            continue;
        }
        row = at + t - fresh;
        for (var i = 0u; i < PER; i++) {
            let item = thread % ITEMS + i * WG;
            let quad = row_value_quad(kv_head, item % QUADS);
            put_value(thread, i, t, quad);
            if row == own_row && item < QUADS {
                store_value(own_head, item, quad);
            }
        }
    }
    row = own_row;
}
