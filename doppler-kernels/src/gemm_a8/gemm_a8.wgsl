// A workgroup of 256 makes TILE × TILE results, each invocation 4 × 4 of them, 64 columns a step: of each row of activations
// and of weights two blocks of 32 in workgroup memory, as int8. The next step's are on their way while these are used.

struct Params {
    rows: u32,
    out_features: u32,
    in_features: u32,
    y_stride: u32,
    y_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;          // [rows, in_features], A8
@group(0) @binding(2) var<storage, read_write> y: array<f32>;          // [rows, y_stride]
@group(0) @binding(3) var<uniform> params: Params;

const TILE: u32 = 64u;
const STEPS: u32 = IN_FEATURES / 64u;
// A row of activations in 16 bytes: of each 64 elements the four sixteens, in a plane each, and what is told of both blocks.
const ROW_PITCH: u32 = IN_FEATURES / 64u * 5u;
// A step of a row is four sixteens, of which block b has 2b and 2b + 1. Sixteens of a row lie PITCH apart, at different banks.
const PITCH: u32 = TILE + 2u;

var<workgroup> x_quants: array<vec4<u32>, 4u * PITCH>;
var<workgroup> w_quants: array<vec4<u32>, 4u * PITCH>;

// What an invocation loads of a step: the first half of them one unit of weights each, the others one block of activations.
var<private> w_next: Raw;
var<private> x_next: array<vec4<u32>, 2>;
var<private> info_next: vec2<u32>;

fn load_next(thread: u32, first_row: u32, first_feature: u32, step: u32) {
    if thread < 2u * TILE {
        w_next = load_unit(min(first_feature + thread / 2u, params.out_features - 1u), 2u * step + thread % 2u);
    } else {
        let start = min(first_row + thread / 2u - TILE, params.rows - 1u) * ROW_PITCH;
        let place = block_place(step, thread % 2u);
        // Planes of sixteens.
        let sixteen = start + place % 4u * STEPS + place / 4u;
        x_next[0] = x[sixteen];
        x_next[1] = x[sixteen + STEPS];
        let infos = x[start + IN_FEATURES / 16u + place / 4u];
        info_next = select(infos.xy, infos.zw, (place & 2u) != 0u);
    }
}

fn store_next(thread: u32, step: u32) {
    if thread < 2u * TILE {
        let unit = 2u * step + thread % 2u;
        let place = place_of(unit);
        let own = unpack_unit(w_next, unit);
        store_weights(own.first, sixteen_of(place.first), thread / 2u);
        store_weights(own.second, sixteen_of(place.second), thread / 2u);
    } else {
        let block = thread % 2u;
        let row = thread / 2u - TILE;
        x_quants[2u * block * PITCH + row] = x_next[0];
        x_quants[(2u * block + 1u) * PITCH + row] = x_next[1];
        let sums = vec2<f32>(f32(i32(info_next.y << 16u) >> 16u), f32(i32(info_next.y) >> 16u));
        store_info(block * TILE + row, bitcast<f32>(info_next.x), sums);
    }
}

// The same sixteen of four rows of weights.
struct Four {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

fn four(sixteen: u32, tx: u32) -> Four {
    let at = sixteen * PITCH + tx;
    return Four(w_quants[at], w_quants[at + 16u], w_quants[at + 32u], w_quants[at + 48u]);
}

fn dot16(w: vec4<u32>, q: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, q.x) + dot4I8Packed(w.y, q.y) + dot4I8Packed(w.z, q.z) + dot4I8Packed(w.w, q.w);
}

fn dots(w: Four, q: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot16(w.a, q), dot16(w.b, q), dot16(w.c, q), dot16(w.d, q));
}

fn write_row(sums: vec4<f32>, row: u32, first_feature: u32) {
    if row >= params.rows {
        return;
    }
    for (var j = 0u; j < 4u; j++) {
        let feature = first_feature + 16u * j;
        if feature < params.out_features {
            y[row * params.y_stride + params.y_offset + feature] = sums[j];
        }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let first_row = group.y * TILE;
    let first_feature = group.x * TILE;
    let tx = thread % 16u;
    let ty = thread / 16u;
    // Written out: what a loop indexes may be kept in memory.
    var a = vec4<f32>();
    var b = vec4<f32>();
    var c = vec4<f32>();
    var d = vec4<f32>();
    load_next(thread, first_row, first_feature, 0u);
    for (var step = 0u; step < STEPS; step++) {
        workgroupBarrier();
        store_next(thread, step);
        workgroupBarrier();
        if step + 1u < STEPS {
            load_next(thread, first_row, first_feature, step + 1u);
        }
        for (var block = 0u; block < 2u; block++) {
            let w = weights(block, tx);
            a += products(w, block, ty);
            b += products(w, block, ty + 16u);
            c += products(w, block, ty + 32u);
            d += products(w, block, ty + 48u);
        }
    }
    let row = first_row + ty;
    let feature = first_feature + tx;
    write_row(a, row, feature);
    write_row(b, row + 16u, feature);
    write_row(c, row + 32u, feature);
    write_row(d, row + 48u, feature);
}
