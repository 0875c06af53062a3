// The cache in f16, four elements at a time.
alias Quad = vec2<u32>;

fn unpack_quad(quad: Quad) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y));
}

fn pack_quad(value: vec4<f32>) -> Quad {
    // Beyond the range of f16 the largest value is stored, never infinity.
    let v = clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}
