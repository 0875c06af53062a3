// A tile of TM × TN results a workgroup on matrix units: each subgroup of 32 lanes makes SM × SN of them from f16 tiles in
// workgroup memory, COLS columns at a time; the next tiles are on their way while these are used.
// A workgroup's z is its part of the columns.
// Columns of both tiles are in the order of the weights' units: 16 of a unit's first half, then 16 of its second. `load_weights` asks for a step's weights, `store_weights` puts them into `b_tile`.

@group(0) @binding(0) var<storage, read> x: array<vec4<f16>>;          // [rows, in_features / 4]

// A step's columns in fours, and a tile's row with two fours more, so that rows begin at different banks.
const STEP: u32 = COLS / 4u;
const PITCH: u32 = STEP + 2u;
const WG: u32 = 32u * (TM / SM) * (TN / SN);
const A_PER: u32 = TM * STEP / WG;
const UNITS: u32 = IN_FEATURES / 32u;
// Units of a step in a row, and those that an invocation loads.
const ROW_UNITS: u32 = COLS / 32u;
const B_PER: u32 = TN * ROW_UNITS / WG;

var<workgroup> a_tile: array<vec4<f16>, TM * PITCH>;
var<workgroup> b_tile: array<vec4<f16>, TN * PITCH>;
var<workgroup> c_tile: array<f32, WG / 32u * 256u>;

// Where the rows that an invocation loads begin in `x`: found once, since a step waits for whole numbers, too.
var<private> a_rows: array<u32, A_PER>;
var<private> a_next: array<vec4<f16>, A_PER>;

fn find_rows(thread: u32, first_row: u32) {
    for (var i = 0u; i < A_PER; i++) {
        a_rows[i] = min(first_row + (thread + i * WG) / STEP, params.rows - 1u) * (IN_FEATURES / 4u);
    }
}

fn load_next(thread: u32, first_feature: u32, step: u32) {
    let four = thread % STEP;
    let place = place_of(min(step * ROW_UNITS + four / 8u, UNITS - 1u));
    let column = select(place.first, place.second, four % 8u >= 4u) * 4u + four % 4u;
    for (var i = 0u; i < A_PER; i++) {
        a_next[i] = x[a_rows[i] + column];
    }
    load_weights(thread, first_feature, step);
}

fn store_next(thread: u32, step: u32) {
    for (var i = 0u; i < A_PER; i++) {
        let at = thread + i * WG;
        a_tile[at / STEP * PITCH + at % STEP] = a_next[i];
    }
    store_weights(thread, step);
}

// The first step of a part, and the one behind its last: parts are of whole blocks of 256 columns.
fn steps_of(part: u32, parts: u32) -> vec2<u32> {
    const STEPS: u32 = (UNITS + ROW_UNITS - 1u) / ROW_UNITS;
    const BLOCKS: u32 = (IN_FEATURES + 255u) / 256u;
    let steps = (BLOCKS + parts - 1u) / parts * (256u / COLS);
    return min(vec2<u32>(part * steps, (part + 1u) * steps), vec2<u32>(STEPS));
}

// Writes 16 × 16 results, through the subgroup's part of `c_tile`. Contains barriers: call in uniform control flow.
fn write_block(block: coop_mat16x16<f32, C>, thread: u32, part: u32, first_row: u32, first_feature: u32) {
    let own = thread / 32u * 256u;
    workgroupBarrier();
    coopStoreT(block, &c_tile[own], 16u);
    workgroupBarrier();
    for (var i = thread % 32u; i < 256u; i += 32u) {
        let row = first_row + i / 16u;
        let feature = first_feature + i % 16u;
        if row < params.rows && feature < params.out_features {
            y[(part * params.rows + row) * params.y_stride + params.y_offset + feature] = scale[row] * c_tile[own + i];
        }
    }
}
