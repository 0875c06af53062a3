// A unit is 32 weights of a row, as two halves of 16 with a scale and an offset each: what tiles of many rows are made of. Each
// format has `struct Raw`, `load_unit`, which only loads, so that several are in flight, and `unpack_unit`, which fills the
// halves.

struct Half {
    quants: vec4<u32>,  // 16 int8
    scale: f32,
    offset: f32,        // weight = scale * quant + offset
}

struct Unit {
    first: Half,
    second: Half,
}

// Where a unit's activations are, in units of 16 elements from the beginning of a row.
struct Place {
    first: u32,
    second: u32,
}

const NIBBLES = vec4<u32>(0x0F0F0F0Fu);
