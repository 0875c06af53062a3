// The cache in f16, four elements at a time.
alias Quad = vec2<u32>;
alias Stored = Quad;
// Quads that are rounded together.
const BLOCK: u32 = 1u;

fn unpack_quad(quad: Quad) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y));
}

fn pack_quad(value: vec4<f32>, largest: f32) -> Quad {
    // Beyond the range of f16 the largest value is stored, never infinity.
    let v = clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}

fn load_key(head: u32, i: u32) -> Quad {
    return k[head * QUADS + i];
}

fn load_value(head: u32, i: u32) -> Quad {
    return v[head * QUADS + i];
}

fn store_key(head: u32, i: u32, quad: Quad) {
    k[head * QUADS + i] = quad;
}

fn store_value(head: u32, i: u32, quad: Quad) {
    v[head * QUADS + i] = quad;
}
