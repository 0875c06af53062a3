// Writing activations as int8 (`A8`), as a8.wgsl does, where 32 consecutive invocations are lanes of one subgroup: through
// registers, without barriers.

// Every 32 consecutive invocations hold the values of one block of row `row`; `block` is the invocation's own, written if
// `valid`.
fn write_a8(thread: u32, value: f32, cols: u32, row: u32, block: u32, valid: bool) {
    let lane = thread & 31u;
    let start = row * (cols / 32u) * 10u;
    var largest = abs(value);
    for (var half = 16u; half > 0u; half /= 2u) {
        largest = max(largest, subgroupShuffleXor(largest, half));
    }
    // The least positive number instead of zero: an all-zero block divides by it.
    let quant = i32(clamp(round(value * (127.0 / max(largest, 1e-30))), -127.0, 127.0));
    var sum = quant;
    for (var half = 8u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    let upper = subgroupShuffleXor(sum, 16u);
    // Bytes of four neighbours come together in the first of them.
    var word = u32(quant & 255) << (8u * (lane & 3u));
    word |= subgroupShuffleXor(word, 1u);
    word |= subgroupShuffleXor(word, 2u);
    if valid && (lane & 3u) == 0u {
        y[start + (block % 2u * 2u + lane / 16u) * (cols / 16u) + block / 2u * 4u + lane / 4u % 4u] = word;
    }
    if valid && lane == 0u {
        let info = start + cols / 4u + block * 2u;
        y[info] = bitcast<u32>(largest / 127.0);
        y[info + 1u] = (u32(sum) & 65535u) | (u32(upper) << 16u);
    }
}

// The sum of squares of the block of 32 that this invocation belongs to; its first invocation gets it.
fn block_energy(thread: u32, value: f32) -> f32 {
    var sum = value * value;
    for (var half = 16u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}
