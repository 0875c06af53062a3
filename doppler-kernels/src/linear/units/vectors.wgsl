@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>;     // [out_features, in_features], packed

// Scale and offset of sub-blocks 2j and 2j + 1 of a k-quant block, from its first 16 bytes.
fn scales_k(header: vec4<u32>, j: u32) -> vec4<f32> {
    let d = unpack2x16float(header.x);
    let shift = 16u * (j & 1u);
    let a = header.y >> shift;
    let b = header.z >> shift;
    let c = header.w >> shift;
    let scale = select(a & 0x3F3Fu, (c & 0x0F0Fu) | ((a >> 2u) & 0x3030u), j >= 2u);
    let minimum = select(b & 0x3F3Fu, ((c >> 4u) & 0x0F0Fu) | ((b >> 2u) & 0x3030u), j >= 2u);
    return vec4<f32>(
        d.x * f32(scale & 255u),
        -d.y * f32(minimum & 255u),
        d.x * f32(scale >> 8u),
        -d.y * f32(minimum >> 8u),
    );
}
