// The dot products of a workgroup's RESULTS weight rows with all ROWS rows of activations on matrix units: each subgroup of 32
// lanes has its own columns, COLS at a time, of all RESULTS rows, and the sums of the subgroups are added up at the end.
// Columns of both tiles are in the order of the weights' units: 16 of a unit's first half, then 16 of its second.

const UNITS: u32 = IN_FEATURES / 32u;
// A row of activations in 16 bytes: 40 bytes for each 32 elements.
const ROW_PITCH: u32 = IN_FEATURES / 64u * 5u;
const SUBGROUPS: u32 = WG / 32u;
const TILES: u32 = RESULTS / 16u;
// Units of a step in a row, steps of the subgroup that has the most, and weight units of a step that a lane has.
const STEP_UNITS: u32 = COLS / 32u;
const ROUNDS: u32 = (UNITS + STEP_UNITS * SUBGROUPS - 1u) / (STEP_UNITS * SUBGROUPS);
const UNITS_PER: u32 = TILES * STEP_UNITS / 2u;
// Halves of units of activations that a lane has.
const HALVES_PER: u32 = (ROWS * STEP_UNITS * 2u + 31u) / 32u;
// A tile's row in fours, two more than it needs, so that rows begin at different banks.
const PITCH: u32 = COLS / 4u + 2u;

var<workgroup> w_tiles: array<vec4<f16>, SUBGROUPS * RESULTS * PITCH>;
// Rows from ROWS on hold nothing that counts: they decide columns of the sums that are not used.
var<workgroup> x_tiles: array<vec4<f16>, SUBGROUPS * 16u * PITCH>;
var<workgroup> sum_tiles: array<f32, SUBGROUPS * 256u>;
var<workgroup> results: array<f32, RESULTS * ROWS>;
// What brings a row of activations into f16, and what undoes that behind the product, with the factor of a norm.
var<workgroup> x_factors: array<f32, ROWS>;
var<workgroup> y_factors: array<f32, ROWS>;

var<private> w_next: array<Raw, UNITS_PER>;
var<private> x_next: array<vec4<u32>, HALVES_PER>;
var<private> x_scales: array<f32, HALVES_PER>;

// A subgroup has whole rows, whatever its size.
fn find_factors(inv: Inv) {
    for (var r = inv.subgroup; r < ROWS; r += inv.subgroups) {
        var scale = 0.0;
        // Two blocks' scales are in 16 bytes.
        for (var i = inv.lane; i < UNITS / 2u; i += inv.lanes) {
            let infos = bitcast<vec4<f32>>(x[r * ROW_PITCH + IN_FEATURES / 16u + i]);
            scale = max(scale, max(infos.x, infos.z));
        }
        let own = half_scale(127.0 * subgroupMax(scale));
        let norm = norm_factor(inv, r);
        if inv.lane == 0u {
            x_factors[r] = 1.0 / own;
            y_factors[r] = own * norm;
        }
    }
}

// Where the i-th weight unit of a lane is in a step: its row, and its place there.
fn weight_place(thread: u32, i: u32) -> vec2<u32> {
    let at = thread % 32u + 32u * i;
    return vec2<u32>(at / STEP_UNITS, at % STEP_UNITS);
}

// The row, the unit and the half of the i-th piece of activations of a lane.
fn half_place(thread: u32, i: u32) -> vec3<u32> {
    let at = thread % 32u + 32u * i;
    return vec3<u32>(at / (2u * STEP_UNITS), at / 2u % STEP_UNITS, at % 2u);
}

// Only asks for what a step needs.
fn load_weights(thread: u32, first_feature: u32, step: u32) {
    for (var i = 0u; i < UNITS_PER; i++) {
        let place = weight_place(thread, i);
        w_next[i] = load_unit(weight_row(first_feature, place.x), min(step * STEP_UNITS + place.y, UNITS - 1u));
    }
}

fn load_activations(thread: u32, step: u32) {
    for (var i = 0u; i < HALVES_PER; i++) {
        let place = half_place(thread, i);
        let unit = step * STEP_UNITS + place.y;
        let start = min(place.x, ROWS - 1u) * ROW_PITCH;
        let own = activations(min(unit, UNITS - 1u), start, unit < UNITS);
        x_next[i] = select(own.first, own.second, place.z == 1u);
        x_scales[i] = select(own.scales.x, own.scales.y, place.z == 1u);
    }
}

fn store_weight_half(own: Half, at: u32) {
    // Signed bytes are made unsigned first.
    const ZERO: f32 = 1024.0 + 128.0 * f32(SIGNED);
    let offset = own.offset - ZERO * own.scale;
    for (var j = 0u; j < 4u; j++) {
        w_tiles[at + j] = bytes_to_f16(own.quants[j] ^ (SIGNED * 0x80808080u), own.scale, offset);
    }
}

fn store_next(thread: u32, step: u32) {
    let subgroup = thread / 32u;
    for (var i = 0u; i < UNITS_PER; i++) {
        let place = weight_place(thread, i);
        let own = unpack_unit(w_next[i], min(step * STEP_UNITS + place.y, UNITS - 1u));
        let to = (subgroup * RESULTS + place.x) * PITCH + place.y * 8u;
        store_weight_half(own.first, to);
        store_weight_half(own.second, to + 4u);
    }
    for (var i = 0u; i < HALVES_PER; i++) {
        let place = half_place(thread, i);
        if place.x < ROWS {
            // Zero beyond the last column, as its scale is.
            let scale = x_scales[i] * x_factors[place.x];
            let to = (subgroup * 16u + place.x) * PITCH + place.y * 8u + place.z * 4u;
            for (var j = 0u; j < 4u; j++) {
                x_tiles[to + j] = bytes_to_f16(x_next[i][j] ^ 0x80808080u, scale, -1152.0 * scale);
            }
        }
    }
}

// Adds the subgroups' sums for the t-th 16 results up. Contains barriers: call in uniform control flow.
fn add_up(sums: coop_mat16x16<f32, C>, thread: u32, t: u32) {
    workgroupBarrier();
    coopStore(sums, &sum_tiles[thread / 32u * 256u], 16u);
    workgroupBarrier();
    for (var i = thread; i < 16u * ROWS; i += WG) {
        var sum = 0.0;
        for (var s = 0u; s < SUBGROUPS; s++) {
            sum += sum_tiles[s * 256u + i];
        }
        results[i / 16u * RESULTS + t * 16u + i % 16u] = y_factors[i / 16u] * sum;
    }
}

// `weight_row(i)` is the row behind result i, or any other where there is none. Ends with a barrier.
fn products(inv: Inv, first_feature: u32) {
    let subgroup = inv.thread / 32u;
    load_weights(inv.thread, first_feature, subgroup);
    load_activations(inv.thread, subgroup);
    find_factors(inv);
    // An array of matrices would be kept in memory; those beyond the last tile are never touched.
    var sums_0 = coop_mat16x16<f32, C>();
    var sums_1 = coop_mat16x16<f32, C>();
    var sums_2 = coop_mat16x16<f32, C>();
    var sums_3 = coop_mat16x16<f32, C>();
    for (var round = 0u; round < ROUNDS; round++) {
        let step = round * SUBGROUPS + subgroup;
        workgroupBarrier();
        store_next(inv.thread, step);
        workgroupBarrier();
        if round + 1u < ROUNDS {
            load_weights(inv.thread, first_feature, step + SUBGROUPS);
            load_activations(inv.thread, step + SUBGROUPS);
        }
        let w = subgroup * RESULTS * PITCH;
        for (var k = 0u; k < COLS / 4u; k += 4u) {
            let b = coopLoad<coop_mat16x16<f16, B>>(&x_tiles[subgroup * 16u * PITCH + k], PITCH);
            let a0 = coopLoadT<coop_mat16x16<f16, A>>(&w_tiles[w + k], PITCH);
            sums_0 = coopMultiplyAdd(a0, b, sums_0);
            if TILES > 1u {
                let a1 = coopLoadT<coop_mat16x16<f16, A>>(&w_tiles[w + 16u * PITCH + k], PITCH);
                sums_1 = coopMultiplyAdd(a1, b, sums_1);
            }
            if TILES > 2u {
                let a2 = coopLoadT<coop_mat16x16<f16, A>>(&w_tiles[w + 32u * PITCH + k], PITCH);
                sums_2 = coopMultiplyAdd(a2, b, sums_2);
                let a3 = coopLoadT<coop_mat16x16<f16, A>>(&w_tiles[w + 48u * PITCH + k], PITCH);
                sums_3 = coopMultiplyAdd(a3, b, sums_3);
            }
        }
    }
    add_up(sums_0, inv.thread, 0u);
    if TILES > 1u { add_up(sums_1, inv.thread, 1u); }
    if TILES > 2u {
        add_up(sums_2, inv.thread, 2u);
        add_up(sums_3, inv.thread, 3u);
    }
    workgroupBarrier();
}

// The product of row r of the activations with weight row i of the workgroup.
fn result(r: u32, i: u32) -> f32 {
    return results[r * RESULTS + i];
}
