@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>;     // [out_features, in_features], packed

// The scales and minima of sub-blocks 2j and 2j + 1 of a k-quant block, from its first 16 bytes.
fn scales_k(header: vec4<u32>, j: u32) {
    let d = unpack2x16float(header.x);
    let shift = 16u * (j & 1u);
    let a = header.y >> shift;
    let b = header.z >> shift;
    let c = header.w >> shift;
    var scale = a & 0x3F3Fu;
    var minimum = b & 0x3F3Fu;
    if j >= 2u {
        scale = (c & 0x0F0Fu) | ((a >> 2u) & 0x3030u);
        minimum = ((c >> 4u) & 0x0F0Fu) | ((b >> 2u) & 0x3030u);
    }
    first_half.scale = d.x * f32(scale & 255u);
    first_half.offset = -d.y * f32(minimum & 255u);
    second_half.scale = d.x * f32(scale >> 8u);
    second_half.offset = -d.y * f32(minimum >> 8u);
}
