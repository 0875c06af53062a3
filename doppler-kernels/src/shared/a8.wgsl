// Writing activations as int8 (a8_places.wgsl). Contains barriers: call in uniform control flow, with WG a multiple of 32.

var<workgroup> a8_values: array<f32, WG>;
var<workgroup> a8_sums: array<i32, WG>;

// Every 32 consecutive invocations hold the values of one block of row `row`; `block` is the invocation's own, written if
// `valid`.
fn write_a8(thread: u32, value: f32, cols: u32, row: u32, block: u32, valid: bool) {
    a8_values[thread] = value;
    workgroupBarrier();
    let first = thread & ~31u;
    let word = thread & 31u;
    let start = a8_row(cols, row);
    var largest = 0.0;
    if word < 8u {
        for (var i = 0u; i < 32u; i++) {
            largest = max(largest, abs(a8_values[first + i]));
        }
        // The least positive number instead of zero: an all-zero block divides by it.
        let inverse = 127.0 / max(largest, 1e-30);
        var quants = vec4<i32>(0);
        for (var i = 0u; i < 4u; i++) {
            quants[i] = i32(clamp(round(a8_values[first + 4u * word + i] * inverse), -127.0, 127.0));
        }
        a8_sums[thread] = quants.x + quants.y + quants.z + quants.w;
        if valid {
            y[start + a8_word(cols, block, word)] = a8_bytes(quants);
        }
    }
    workgroupBarrier();
    if valid && word == 0u {
        let low = a8_sums[first] + a8_sums[first + 1u] + a8_sums[first + 2u] + a8_sums[first + 3u];
        let high = a8_sums[first + 4u] + a8_sums[first + 5u] + a8_sums[first + 6u] + a8_sums[first + 7u];
        write_a8_info(cols, row, block, largest, low, high);
    }
}

// The same where every 8 consecutive invocations hold the quads of one block.
fn write_a8_quad(thread: u32, value: vec4<f32>, cols: u32, row: u32, block: u32, valid: bool) {
    let first = thread & ~7u;
    let quad = thread & 7u;
    let start = a8_row(cols, row);
    let size = abs(value);
    a8_values[thread] = max(max(size.x, size.y), max(size.z, size.w));
    workgroupBarrier();
    var largest = 0.0;
    for (var i = 0u; i < 8u; i++) {
        largest = max(largest, a8_values[first + i]);
    }
    let scaled = round(value * (127.0 / max(largest, 1e-30)));
    let quants = vec4<i32>(clamp(scaled, vec4<f32>(-127.0), vec4<f32>(127.0)));
    a8_sums[thread] = quants.x + quants.y + quants.z + quants.w;
    workgroupBarrier();
    if valid {
        y[start + a8_word(cols, block, quad)] = a8_bytes(quants);
    }
    if valid && quad == 0u {
        let low = a8_sums[first] + a8_sums[first + 1u] + a8_sums[first + 2u] + a8_sums[first + 3u];
        let high = a8_sums[first + 4u] + a8_sums[first + 5u] + a8_sums[first + 6u] + a8_sums[first + 7u];
        write_a8_info(cols, row, block, largest, low, high);
    }
    workgroupBarrier();
}

// The sum of squares of the block of 32 that this invocation belongs to; its first invocation gets it, if the block is `valid`.
fn block_energy(thread: u32, value: f32, valid: bool) -> f32 {
    workgroupBarrier();
    a8_values[thread] = value * value;
    workgroupBarrier();
    var sum = 0.0;
    if valid && (thread & 31u) == 0u {
        for (var i = 0u; i < 32u; i++) {
            sum += a8_values[thread + i];
        }
    }
    workgroupBarrier();
    return sum;
}
