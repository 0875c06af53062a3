@group(0) @binding(1) var<storage, read> weight: array<u32>;           // [out_features, in_features], packed

// 16 bytes from a 2-byte boundary.
fn bytes16(byte: u32) -> vec4<u32> {
    let at = byte >> 2u;
    let low = vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
    if (byte & 2u) == 0u {
        return low;
    }
    let high = vec4<u32>(low.yzw, weight[at + 4u]);
    return (low >> vec4<u32>(16u)) | (high << vec4<u32>(16u));
}

fn half_at(byte: u32) -> f32 {
    return unpack2x16float(weight[byte >> 2u] >> ((byte & 2u) * 8u)).x;
}

fn word_at(byte: u32) -> u32 {
    let low = weight[byte >> 2u];
    if (byte & 2u) == 0u {
        return low;
    }
    return (low >> 16u) | (weight[(byte >> 2u) + 1u] << 16u);
}

// Four words of four bits each, as bit 4 of each byte: bits 0 ... 15 of `bits`.
fn fifth_bits(bits: u32) -> vec4<u32> {
    let nibbles = (vec4<u32>(bits) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    return ((nibbles * 0x00204081u) & vec4<u32>(0x01010101u)) << vec4<u32>(4u);
}
