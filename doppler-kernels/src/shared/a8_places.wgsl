// Where things of int8 activations (`A8`) are: a row of `cols` elements is cols / 4 words of quants, then for each block of 32
// its scale and the sums of both halves. Of each 64 quants the four sixteens are in four planes, one behind the other. The
// binding `y: array<u32>` takes them.

fn a8_row(cols: u32, row: u32) -> u32 {
    return row * (cols / 32u) * 10u;
}

// A word of the eight that a block's quants are, from the beginning of the row on.
fn a8_word(cols: u32, block: u32, word: u32) -> u32 {
    return (block % 2u * 2u + word / 4u) * (cols / 16u) + block / 2u * 4u + word % 4u;
}

// Writes what is told of a block: its largest magnitude as a scale, and the sums of the quants of its halves.
fn write_a8_info(cols: u32, row: u32, block: u32, largest: f32, low: i32, high: i32) {
    let at = a8_row(cols, row) + cols / 4u + block * 2u;
    y[at] = bitcast<u32>(largest / 127.0);
    y[at + 1u] = (u32(low) & 65535u) | (u32(high) << 16u);
}

// Four quants as a word.
fn a8_bytes(quants: vec4<i32>) -> u32 {
    let bytes = vec4<u32>(quants) & vec4<u32>(255u);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
