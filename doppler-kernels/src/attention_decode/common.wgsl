// A new position: bias, norm of heads and rotation of the heads that share a key-value head, and which piece of the context
// a workgroup attends to.

struct Params {
    num_attention_heads: u32,
    num_key_value_heads: u32,
    capacity: u32,
    window: u32,       // positions that are seen, the new one included; 0: all
    splits: u32,
    scale: f32,
    softcap: f32,      // 0: none
    eps: f32,
    rows: u32,
}

const QUADS: u32 = HEAD_DIM / 4u;
const UNSEEN: f32 = -1e30;

// The new position among those that follow `start`.
var<private> row: u32;

// Where head `h` of `heads` begins in `qkv`.
fn source(h: u32, kv_head: u32) -> u32 {
    return select(kv_head * GROUP + h, params.num_attention_heads + kv_head, h == GROUP) * HEAD_DIM;
}

// Offsets in `vectors`: the biases of q, k and v, then the norms of query and key heads.
fn bias_len() -> u32 {
    return BIAS * (params.num_attention_heads + 2u * params.num_key_value_heads) * HEAD_DIM;
}

// An element of the queries of the group, or of the new key, as the projection gave it.
fn projected(h: u32, kv_head: u32, d: u32) -> f32 {
    let at = source(h, kv_head) + d;
    var x = projection(at);
    if BIAS != 0u {
        x += vectors[at];
    }
    return x;
}

// A quad of the new value as the projection gave it.
fn projected_value(kv_head: u32, i: u32) -> vec4<f32> {
    let d = kv_head * HEAD_DIM + 4u * i;
    var x = vec4<f32>(new_value(d), new_value(d + 1u), new_value(d + 2u), new_value(d + 3u));
    if BIAS != 0u {
        let at = (params.num_attention_heads + params.num_key_value_heads) * HEAD_DIM + d;
        x += vec4<f32>(vectors[at], vectors[at + 1u], vectors[at + 2u], vectors[at + 3u]);
    }
    return x;
}

fn capped(dot: f32) -> f32 {
    let score = dot * params.scale;
    if SOFTCAP == 0u {
        return score;
    }
    // tanh of large arguments overflows on some drivers.
    return params.softcap * tanh(clamp(score / params.softcap, -15.0, 15.0));
}

fn magnitude(x: vec4<f32>) -> f32 {
    let size = abs(x);
    return max(max(size.x, size.y), max(size.z, size.w));
}

struct Piece {
    position: u32,  // the new one
    begin: u32,
    end: u32,
}

fn piece_of(piece: u32) -> Piece {
    let position = min(start[0] + row, params.capacity - 1u);
    let first = select(0u, position + 1u - params.window, params.window != 0u && position >= params.window);
    let splits = select(params.splits, 1u, ONE_PIECE != 0u);
    let length = (position + 1u - first + splits - 1u) / splits;
    let begin = min(first + piece * length, position + 1u);
    return Piece(position, begin, min(begin + length, position + 1u));
}
