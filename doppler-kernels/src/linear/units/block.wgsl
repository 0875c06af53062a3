// A unit is a block.
fn place_of(unit: u32) -> Place {
    return Place(2u * unit, 2u * unit + 1u);
}
