// Writing activations as int8 (`A8`), as a8.wgsl does, where 32 consecutive invocations are lanes of one subgroup: through
// registers, without barriers. `valid` is the same in all 32.

// Every 32 consecutive invocations hold the values of one block of row `row`; `block` is the invocation's own, written if
// `valid`.
fn write_a8(thread: u32, value: f32, cols: u32, row: u32, block: u32, valid: bool) {
    if !valid {
        return;
    }
    let lane = thread & 31u;
    let start = a8_row(cols, row);
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
    if (lane & 3u) == 0u {
        y[start + a8_word(cols, block, lane / 4u)] = word;
    }
    if lane == 0u {
        write_a8_info(cols, row, block, largest, sum, upper);
    }
}

// The same where every 8 consecutive invocations hold the quads of one block.
fn write_a8_quad(thread: u32, value: vec4<f32>, cols: u32, row: u32, block: u32, valid: bool) {
    let quad = thread & 7u;
    let start = a8_row(cols, row);
    let size = abs(value);
    var largest = max(max(size.x, size.y), max(size.z, size.w));
    for (var half = 4u; half > 0u; half /= 2u) {
        largest = max(largest, subgroupShuffleXor(largest, half));
    }
    let scaled = round(value * (127.0 / max(largest, 1e-30)));
    let quants = vec4<i32>(clamp(scaled, vec4<f32>(-127.0), vec4<f32>(127.0)));
    var sum = quants.x + quants.y + quants.z + quants.w;
    sum += subgroupShuffleXor(sum, 2u);
    sum += subgroupShuffleXor(sum, 1u);
    let upper = subgroupShuffleXor(sum, 4u);
    if valid {
        y[start + a8_word(cols, block, quad)] = a8_bytes(quants);
    }
    if valid && quad == 0u {
        write_a8_info(cols, row, block, largest, sum, upper);
    }
}

// The sum of squares of the block of 32 that this invocation belongs to; its first invocation gets it, if the block is `valid`.
fn block_energy(thread: u32, value: f32, valid: bool) -> f32 {
    if !valid {
        return 0.0;
    }
    var sum = value * value;
    for (var half = 16u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}
