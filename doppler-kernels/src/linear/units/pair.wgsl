// A unit is half of each of two consecutive blocks.
fn place_of(unit: u32) -> Place {
    let first = (unit / 2u) * 4u + (unit & 1u);
    return Place(first, first + 2u);
}

// Scale and sums of the blocks of both halves.
fn infos_of(unit: u32, start: u32) -> vec4<u32> {
    return x[start + unit / 2u];
}
