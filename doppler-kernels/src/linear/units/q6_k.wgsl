// Rows of planes, see layout.rs. A unit is 16 bytes of nibbles: 16 elements in the low ones, and those 64 further in the high
// ones; the pairs of bits of a strip are of two units.
struct Raw {
    q: vec4<u32>,
    pairs: vec4<u32>,
    scales: u32,
    d: u32,
}

fn load_unit(row: u32, unit: u32) -> Raw {
    const BLOCKS: u32 = IN_FEATURES / 256u;
    const STRIPS: u32 = 4u * BLOCKS;
    let first = row / 8u * (105u * BLOCKS);
    let at = first + row % 8u * (13u * BLOCKS);
    // Behind the rows of the group, which are eight but perhaps in the last one.
    let rows = min(8u, params.out_features - row / 8u * 8u);
    let half = row % 8u * BLOCKS + unit / 8u;
    let d = weight[first + rows * (13u * BLOCKS) + half / 8u][half / 2u % 4u] >> (16u * (half & 1u));
    let strip = unit / 4u * 2u + (unit & 1u);
    let q = weight[at + (unit & 2u) / 2u * STRIPS + strip];
    return Raw(q, weight[at + 2u * STRIPS + strip], weight[at + 3u * STRIPS + strip / 4u][strip & 3u], d);
}

fn unpack_unit(raw: Raw, unit: u32) -> Unit {
    let pairs = raw.pairs >> vec4<u32>(unit & 2u);
    let pair = vec4<u32>(0x03030303u);
    let low = (raw.q & NIBBLES) | ((pairs & pair) << vec4<u32>(4u));
    let high = ((raw.q >> vec4<u32>(4u)) & NIBBLES) | (((pairs >> vec4<u32>(4u)) & pair) << vec4<u32>(4u));
    let own = vec4<f32>(unpack4xI8(raw.scales >> (4u * (unit & 2u))));
    let scales = unpack2x16float(raw.d).x * own.xz;
    return Unit(Half(low, scales.x, -32.0 * scales.x), Half(high, scales.y, -32.0 * scales.y));
}

fn place_of(unit: u32) -> Place {
    let first = (unit / 4u) * 8u + (unit & 3u);
    return Place(first, first + 4u);
}
