// The heads of new positions: each by a subgroup, into `new_heads`; the queries, then the new keys, then the new values.

// Of the values of several new rows, an invocation's share.
const VALUES_EACH: u32 = max((NEW_ROWS * QUADS + WG - 1u) / WG, 1u);

fn projected_quad(h: u32, kv_head: u32, i: u32) -> vec4<f32> {
    let d = 4u * i;
    return vec4<f32>(
        projected(h, kv_head, d),
        projected(h, kv_head, d + 1u),
        projected(h, kv_head, d + 2u),
        projected(h, kv_head, d + 3u),
    );
}

// What the quad is multiplied with by the norm of its head, but for the head's factor.
fn norm_weight(h: u32, i: u32) -> vec4<f32> {
    let at = bias_len() + select(0u, HEAD_DIM, h == GROUP) + 4u * i;
    return vec4<f32>(vectors[at], vectors[at + 1u], vectors[at + 2u], vectors[at + 3u]);
}

// A query or the new key after norm and rotation, into workgroup memory as the head `to`.
fn turn_head(h: u32, kv_head: u32, lane: u32, to: u32) {
    const HALF: u32 = ROTARY_DIM / 2u;
    var factor = 1.0;
    if QK_NORM != 0u {
        var sum = vec4<f32>(0.0);
        for (var j = 0u; j < LANE_QUADS; j++) {
            let x = projected_quad(h, kv_head, j * LANES + lane % LANES);
            sum += x * x;
        }
        sum = lane_sum(sum);
        factor = inverseSqrt((sum.x + sum.y + sum.z + sum.w) / f32(HEAD_DIM) + params.eps);
    }
    for (var first_quad = 0u; first_quad < QUADS; first_quad += 32u) {
        let i = first_quad + lane;
        if i >= QUADS {
            break;
        }
        var x = projected_quad(h, kv_head, i);
        if QK_NORM != 0u {
            x *= factor * norm_weight(h, i);
        }
        if 4u * i < ROTARY_DIM {
            let first = 4u * i < HALF;
            let partner = select(i - HALF / 4u, i + HALF / 4u, first);
            var other = projected_quad(h, kv_head, partner);
            if QK_NORM != 0u {
                other *= factor * norm_weight(h, partner);
            }
            let at = (start[0] + row) * HALF + 4u * min(i, partner);
            let a = table[at];
            let b = table[at + 1u];
            let c = table[at + 2u];
            let d = table[at + 3u];
            let cosines = vec4<f32>(a.x, b.x, c.x, d.x);
            let sines = vec4<f32>(a.y, b.y, c.y, d.y);
            x = x * cosines + select(other, -other, first) * sines;
        }
        new_heads[to * QUADS + i] = x;
    }
}

// The same of several rows: a query of `row`, or the key of any, if the piece holds its position.
fn turn_of_rows(h: u32, kv_head: u32, lane: u32, range: Piece, fresh: u32) {
    let own_row = row;
    if h >= GROUP {
        row = h - GROUP;
    }
    if h < GROUP || holds(range, fresh, row) {
        turn_head(min(h, GROUP), kv_head, lane, h);
    }
    row = own_row;
}

fn take_value(kv_head: u32, lane: u32) {
    for (var first_quad = 0u; first_quad < QUADS; first_quad += 32u) {
        let i = first_quad + lane;
        if i >= QUADS {
            break;
        }
        new_heads[(GROUP + 1u) * QUADS + i] = projected_value(kv_head, i);
    }
}

// An invocation's share of the values whose positions the piece holds: asked for before heads are turned, kept behind that.
fn values_of_rows(thread: u32, kv_head: u32, range: Piece, fresh: u32) -> array<vec4<f32>, VALUES_EACH> {
    var quads: array<vec4<f32>, VALUES_EACH>;
    let own_row = row;
    for (var j = 0u; j < VALUES_EACH; j++) {
        let i = thread + j * WG;
        row = i / QUADS;
        if holds(range, fresh, row) {
            quads[j] = projected_value(kv_head, i % QUADS);
        }
    }
    row = own_row;
    return quads;
}

fn keep_values(thread: u32, quads: array<vec4<f32>, VALUES_EACH>) {
    for (var j = 0u; j < VALUES_EACH; j++) {
        let i = thread + j * WG;
        if i < NEW_ROWS * QUADS {
            new_heads[(GROUP + NEW_ROWS) * QUADS + i] = quads[j];
        }
    }
}

// A quad of a new key or a new value as the cache gives it back.
fn new_quad(which: u32, i: u32) -> Quad {
    var largest = 0.0;
    for (var j = 0u; j < BLOCK; j++) {
        largest = max(largest, magnitude(new_heads[which * QUADS + i / BLOCK * BLOCK + j]));
    }
    return pack_quad(new_heads[which * QUADS + i], largest);
}
