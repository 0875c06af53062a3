// 176 bytes a block of 256: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit j of byte i belongs to element i of
// sub-block j.
struct Raw {
    header: vec4<u32>,
    bits: array<vec4<u32>, 2>,
    q: array<vec4<u32>, 2>,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let at = (row * (STRIPS / 4u) + strip / 4u) * 11u;
    let q = at + 3u + 2u * (strip & 3u);
    return Raw(weight[at], array(weight[at + 1u], weight[at + 2u]), array(weight[q], weight[q + 1u]));
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    const BIT = vec4<u32>(0x10101010u);
    let infos = scales_k(raw.header, strip & 3u);
    let shift = vec4<u32>(2u * (strip & 3u));
    let a = raw.bits[0] >> shift;
    let b = raw.bits[1] >> shift;
    let low = array((raw.q[0] & LOW) | ((a << vec4<u32>(4u)) & BIT), (raw.q[1] & LOW) | ((b << vec4<u32>(4u)) & BIT));
    let high_a = ((raw.q[0] >> vec4<u32>(4u)) & LOW) | ((a << vec4<u32>(3u)) & BIT);
    let high_b = ((raw.q[1] >> vec4<u32>(4u)) & LOW) | ((b << vec4<u32>(3u)) & BIT);
    return Weights(low, array(high_a, high_b), infos.xz, infos.yw);
}
