// A unit is 32 weights of a row, as two halves of 16 with a scale and an offset each: what one lane takes at a time.
// `load_unit(row, unit)` fills them from the packed weights; each format has its own.

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;          // [ROWS, in_features], A8: 3 a block

struct Half {
    quants: vec4<u32>,  // 16 int8
    scale: f32,
    offset: f32,        // weight = scale * quant + offset
    block: u32,         // which of a row's activations
    half: u32,
}

var<private> first_half: Half;
var<private> second_half: Half;

fn dot_half(w: Half, x_first: u32) -> f32 {
    let at = (x_first + w.block) * 3u;
    let q = x[at + w.half];
    let info = x[at + 2u];
    let sum = i32(info.y << (16u - 16u * w.half)) >> 16u;
    let dot = dot4I8Packed(w.quants.x, q.x) + dot4I8Packed(w.quants.y, q.y)
        + dot4I8Packed(w.quants.z, q.z) + dot4I8Packed(w.quants.w, q.w);
    return bitcast<f32>(info.x) * (w.scale * f32(dot) + w.offset * f32(sum));
}

fn set_halves(block: u32) {
    first_half.block = block;
    first_half.half = 0u;
    second_half.block = block;
    second_half.half = 1u;
}

fn set_scales(scale: f32, offset: f32) {
    first_half.scale = scale;
    first_half.offset = offset;
    second_half.scale = scale;
    second_half.offset = offset;
}

const NIBBLES = vec4<u32>(0x0F0F0F0Fu);
