// The 6-bit scale and minimum of sub-block j, from the 12 bytes that start at word `at`.
fn scale_min_k(at: u32, j: u32) -> vec2<f32> {
    let shift = (j & 3u) * 8u;
    let a = weight[at] >> shift;
    let b = weight[at + 1u] >> shift;
    if j < 4u {
        return vec2<f32>(f32(a & 63u), f32(b & 63u));
    }
    let c = weight[at + 2u] >> shift;
    return vec2<f32>(f32((c & 15u) | ((a >> 2u) & 48u)), f32(((c >> 4u) & 15u) | ((b >> 2u) & 48u)));
}
