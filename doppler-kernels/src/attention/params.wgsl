struct Params {
    rows: u32,
    num_attention_heads: u32,
    num_key_value_heads: u32,
    capacity: u32,
    window: u32,       // positions that a row sees, itself included; 0: all
    scale: f32,
    softcap: f32,      // 0: none
    splits: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;           // [rows, num_attention_heads, HEAD_DIM]
@group(0) @binding(3) var<storage, read> start: array<u32>;       // [1]
@group(0) @binding(5) var<uniform> params: Params;

// A score that no finite input reaches: of a position that a row does not see.
const UNSEEN: f32 = -1e30;

fn capped(dot: f32) -> f32 {
    let score = dot * params.scale;
    if params.softcap == 0.0 {
        return score;
    }
    // tanh of large arguments overflows on some drivers.
    return params.softcap * tanh(clamp(score / params.softcap, -15.0, 15.0));
}

// The first position that a row at `position` sees.
fn first_seen(position: u32) -> u32 {
    return select(0u, position + 1u - params.window, params.window != 0u && position >= params.window);
}

// Where the pairs of a head's row in the cache begin.
fn kv_row(position: u32, kv_head: u32) -> u32 {
    return (position * params.num_key_value_heads + kv_head) * (HEAD_DIM / 2u);
}
