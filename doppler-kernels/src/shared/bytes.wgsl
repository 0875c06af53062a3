// Unaligned reads of the packed weight bytes: blocks of 18, 22 and 34 bytes start at 2-byte boundaries.

fn word_at(byte: u32) -> u32 {
    let shift = (byte & 3u) * 8u;
    let low = weight[byte >> 2u];
    if shift == 0u {
        return low;
    }
    return (low >> shift) | (weight[(byte >> 2u) + 1u] << (32u - shift));
}

fn half_at(byte: u32) -> f32 {
    return unpack2x16float(weight[byte >> 2u] >> ((byte & 2u) * 8u)).x;
}
