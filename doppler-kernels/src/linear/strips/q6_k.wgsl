// 210 bytes a block of 256: 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, f16 d. A strip is 16 bytes of bit
// pairs: 16 elements in the lowest, and those 32, 64 and 96 further in the others. The first two have their nibbles in the low
// halves of two times 16 bytes, the others in the high halves of the same. Scales are of 16 elements.
struct Raw {
    q: array<vec4<u32>, 2>,
    bits: vec4<u32>,
    next: vec3<u32>,    // the words behind those
    scales: vec3<u32>,  // words that hold eight, of which every other one is of this strip
    d: u32,
    upper: u32,         // 1 if the block begins in the middle of a word
}

// Four sixteens of int8: weight = scale * quant.
struct Weights {
    quants: array<vec4<u32>, 4>,
    scales: vec4<f32>,
}

// The activations of a strip: quants, and the scales of their blocks.
struct Activations {
    quants: array<vec4<u32>, 4>,
    scales: vec4<f32>,
}

fn load_strip(row: u32, strip: u32) -> Raw {
    let byte = (row * (STRIPS / 4u) + strip / 4u) * 210u;
    let upper = byte / 2u & 1u;
    let at = byte / 4u;
    // Which half of the block, and which of its 32 elements.
    let part = strip / 2u & 1u;
    let half = strip & 1u;
    let q = at + 16u * part + 4u * half;
    let bits = at + 32u + 8u * part + 4u * half;
    let scales = at + 48u + 2u * part;
    let next = vec3<u32>(weight[q + 4u], weight[q + 12u], weight[bits + 4u]);
    let scale = vec3<u32>(weight[scales], weight[scales + 1u], weight[scales + 2u]);
    return Raw(array(words4(q), words4(q + 8u)), words4(bits), next, scale, weight[at + 52u], upper);
}

fn unpack_strip(raw: Raw, strip: u32) -> Weights {
    const NIBBLE = vec4<u32>(0x3C3C3C3Cu);
    const PAIR = vec4<u32>(0xC0C0C0C0u);
    let a = bytes_from(raw.q[0], raw.next.x, raw.upper);
    let b = bytes_from(raw.q[1], raw.next.y, raw.upper);
    // Four times the weight's quant less 32 is an int8 whose upper two bits are the pair with its upper bit inverted.
    let pairs = bytes_from(raw.bits, raw.next.z, raw.upper) ^ vec4<u32>(0xAAAAAAAAu);
    let quants = array(
        ((a << vec4<u32>(2u)) & NIBBLE) | ((pairs << vec4<u32>(6u)) & PAIR),
        ((b << vec4<u32>(2u)) & NIBBLE) | ((pairs << vec4<u32>(4u)) & PAIR),
        ((a >> vec4<u32>(2u)) & NIBBLE) | ((pairs << vec4<u32>(2u)) & PAIR),
        ((b >> vec4<u32>(2u)) & NIBBLE) | (pairs & PAIR),
    );
    let s = raw.scales;
    let eight = select(s.xy, (s.xy >> vec2<u32>(16u)) | (s.yz << vec2<u32>(16u)), raw.upper == 1u);
    let first = bitcast<vec2<i32>>(eight << vec2<u32>(24u - 8u * (strip & 1u))) >> vec2<u32>(24u);
    let second = bitcast<vec2<i32>>(eight << vec2<u32>(8u - 8u * (strip & 1u))) >> vec2<u32>(24u);
    let scales = vec4<f32>(vec4<i32>(first.x, second.x, first.y, second.y));
    return Weights(quants, 0.25 * half_of(raw.d, raw.upper) * scales);
}

// Those of a row that begins at `start`; all zero unless `inside`.
fn activations(strip: u32, start: u32, inside: bool) -> Activations {
    let at = start + strip / 2u * 8u + (strip & 1u);
    let infos = start + 4u * STRIPS + strip / 2u * 2u;
    let scales = bitcast<vec4<f32>>(vec4<u32>(x[infos].xz, x[infos + 1u].xz));
    return Activations(array(x[at], x[at + 2u], x[at + 4u], x[at + 6u]), select(vec4<f32>(0.0), scales, inside));
}

fn add_dot(sum: f32, w: Weights, x: Activations) -> f32 {
    let first = x.scales.x * f32(dot16(w.quants[0], x.quants[0]));
    let second = x.scales.y * f32(dot16(w.quants[1], x.quants[1]));
    let third = x.scales.z * f32(dot16(w.quants[2], x.quants[2]));
    let fourth = x.scales.w * f32(dot16(w.quants[3], x.quants[3]));
    return sum + w.scales.x * first + w.scales.y * second + w.scales.z * third + w.scales.w * fourth;
}
