// Bytes 0 and 2 of a word as the lowest bits of two numbers in f16 that begin at 1024: cheaper than to convert integers.
fn pair(word: u32) -> vec2<f32> {
    return unpack2x16float((word & 0x00FF00FFu) | 0x64006400u);
}

// scale * byte + offset, of bytes that come with 1024 more.
fn bytes_to_f16(bytes: u32, scale: f32, offset: f32) -> vec4<f16> {
    return vec4<f16>(scale * vec4<f32>(pair(bytes), pair(bytes >> 8u)).xzyw + vec4<f32>(offset));
}
