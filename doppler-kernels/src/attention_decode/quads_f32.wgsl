// The cache in f32, four elements at a time.
alias Quad = vec4<f32>;
alias Stored = Quad;
// Quads that are rounded together.
const BLOCK: u32 = 1u;

fn unpack_quad(quad: Quad) -> vec4<f32> {
    return quad;
}

fn pack_quad(value: vec4<f32>, largest: f32) -> Quad {
    return value;
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
