// A unit is half of each of two consecutive blocks.
fn place_of(unit: u32) -> Place {
    let first = (unit / 2u) * 4u + (unit & 1u);
    return Place(first, first + 2u);
}
