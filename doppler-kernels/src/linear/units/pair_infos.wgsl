// Scale and sums of the blocks of both halves.
fn infos_of(unit: u32, start: u32) -> vec4<u32> {
    return x[start + unit / 2u];
}
