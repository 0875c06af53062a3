// The cache in f32, four elements at a time.
alias Quad = vec4<f32>;

fn unpack_quad(quad: Quad) -> vec4<f32> {
    return quad;
}

fn pack_quad(value: vec4<f32>) -> Quad {
    return value;
}
