// The scale of a row in f16: the power of two that brings its largest magnitude to 1024 ... 2048.
fn half_scale(largest: f32) -> f32 {
    // The power of two below the largest, from its exponent.
    let power = bitcast<f32>(bitcast<u32>(largest) & 0x7F800000u) / 1024.0;
    return select(1.0, power, largest > 1e-30);
}
