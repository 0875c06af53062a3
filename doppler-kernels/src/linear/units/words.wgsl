@group(0) @binding(1) var<storage, read> weight: array<u32>;           // [out_features, in_features], packed

// Formats whose blocks begin at any half-word are loaded in whole words and shifted when they are used, not when they are
// loaded: a lane that waits for one load asks for no other. Without branches, for the same reason.

fn words4(at: u32) -> vec4<u32> {
    return vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
}

fn half_word_on(low: vec4<u32>, next: u32) -> vec4<u32> {
    return (low >> vec4<u32>(16u)) | (vec4<u32>(low.yzw, next) << vec4<u32>(16u));
}

// 16 bytes behind two others, which begin in the upper half of `low` if `upper`, else at its beginning; `next` is the word behind
// `low`.
fn bytes_behind(low: vec4<u32>, next: u32, upper: u32) -> vec4<u32> {
    return select(half_word_on(low, next), vec4<u32>(low.yzw, next), upper == 1u);
}

fn half_of(word: u32, upper: u32) -> f32 {
    return unpack2x16float(word >> (16u * upper)).x;
}

// Four words of four bits each, as bit 4 of each byte: bits 0 ... 15 of `bits`.
fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}
