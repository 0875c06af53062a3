// Scale and sums of the blocks of both halves.
fn infos_of(unit: u32, start: u32) -> vec4<u32> {
    let pair = x[start + unit / 2u];
    let own = select(pair.xy, pair.zw, (unit & 1u) == 1u);
    return vec4<u32>(own, own);
}
