// Scale and sums of the blocks of both halves.
fn infos_of(unit: u32, start: u32) -> vec4<u32> {
    let at = start + (unit / 4u) * 2u;
    let first = x[at];
    let second = x[at + 1u];
    return select(vec4<u32>(first.xy, second.xy), vec4<u32>(first.zw, second.zw), (unit & 2u) != 0u);
}
