// 144 bytes a block of 256: f16 d and dmin, 12 bytes of scales and minima, 128 bytes of nibbles. A strip is 32 of those bytes:
// sub-block 2j in the low nibbles, sub-block 2j + 1 in the high ones.
struct Raw {
    header: vec4<u32>,
    q: array<vec4<u32>, 2>,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let at = (row * (STRIPS / 4u) + strip / 4u) * 9u;
    let q = at + 1u + 2u * (strip & 3u);
    return Raw(weight[at], array(weight[q], weight[q + 1u]));
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    let infos = scales_k(raw.header, strip & 3u);
    return Weights(
        array(raw.q[0] & LOW, raw.q[1] & LOW),
        array((raw.q[0] >> vec4<u32>(4u)) & LOW, (raw.q[1] >> vec4<u32>(4u)) & LOW),
        infos.xz,
        infos.yw,
    );
}
