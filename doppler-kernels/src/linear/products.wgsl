// The dot products of a workgroup's RESULTS weight rows with its ROWS of ALL_ROWS rows of activations. A team has TOGETHER weight
// rows at a time, each lane a strip of all of them: 64 weights, which are unpacked once for all rows of activations, whose own
// strip is loaded once for TOGETHER of weights.
//
// Each format has `struct Raw`, `load_strip`, which only loads, so that several are in flight, `struct Weights` and
// `unpack_strip`; `struct Activations`, `activations`, `add_dot` and whether weights have OFFSETS, which sums of activations are
// for, are of the format or of several alike (`strips/pairs*.wgsl`). Activations come as `x_*.wgsl` has them.

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;          // [ALL_ROWS, in_features], A8

const STRIPS: u32 = IN_FEATURES / 64u;
// A row of activations, in 16 bytes: of each strip the four sixteens, in a plane each, and what is told of both blocks.
const ROW_PITCH: u32 = 5u * PLANE;

const LOW = vec4<u32>(0x0F0F0F0Fu);

var<workgroup> results: array<f32, RESULTS * ROWS>;
var<workgroup> norm_factors: array<f32, ROWS>;

fn dot16(w: vec4<u32>, q: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, q.x) + dot4I8Packed(w.y, q.y) + dot4I8Packed(w.z, q.z) + dot4I8Packed(w.w, q.w);
}

// The sum of a block's quants, from those of its halves.
fn block_sum(halves: u32) -> f32 {
    return f32((i32(halves << 16u) >> 16u) + (i32(halves) >> 16u));
}

// What is told of a strip's two blocks: of each its scale, and its scale times the sum of its quants.
fn told(infos: vec4<u32>) -> vec4<f32> {
    let scales = bitcast<vec2<f32>>(infos.xz);
    let sums = scales * vec2<f32>(block_sum(infos.y), block_sum(infos.w));
    return vec4<f32>(scales.x, sums.x, scales.y, sums.y);
}

// How many sums a team has at the end of a turn: of each row of activations, each of its weight rows.
const SUMS: u32 = TOGETHER * ROWS;

// The workgroup's first row.
fn first_row(inv: Inv) -> u32 {
    return select(inv.group.z * ROWS, 0u, ROWS == ALL_ROWS);
}

// A row of the workgroup, or the last one if it is beyond that.
fn row_of(inv: Inv, r: u32) -> u32 {
    let row = first_row(inv) + r;
    return select(min(row, ALL_ROWS - 1u), row, ALL_ROWS % ROWS == 0u);
}

// Whether the workgroup has such a row.
fn has_row(inv: Inv, r: u32) -> bool {
    return r < ROWS && first_row(inv) + r < ALL_ROWS;
}

// Whether every lane has a strip in every step: then nothing has to be kept in bounds.
const WHOLE: bool = STRIPS % LANES == 0u;

// This invocation's strip in a step, or any other if it has none.
fn strip_of(inv: Inv, step: u32) -> u32 {
    let strip = step * lane(inv).y + lane(inv).x;
    return select(min(strip, STRIPS - 1u), strip, WHOLE);
}

// `weight_row(i)` is the row behind result i, or any other where there is none. Ends with a barrier.
fn products(inv: Inv, first_feature: u32) {
    let team = team(inv);
    let lane = lane(inv);
    let steps = (STRIPS + lane.y - 1u) / lane.y;
    let turns = (RESULTS + team.y * TOGETHER - 1u) / (team.y * TOGETHER);
    for (var turn = 0u; turn < turns; turn++) {
        let first = (turn * team.y + team.x) * TOGETHER;
        var rows: array<u32, TOGETHER>;
        var raw: array<Raw, TOGETHER>;
        for (var t = 0u; t < TOGETHER; t++) {
            rows[t] = weight_row(first_feature, min(first + t, RESULTS - 1u));
            if AHEAD {
                raw[t] = load_strip(rows[t], strip_of(inv, 0u));
            }
        }
        // The first weights are on their way while the norm's factor is found.
        if turn == 0u {
            find_norm_factors(inv);
        }
        var sums: array<f32, SUMS>;
        for (var first_step = 0u; first_step < steps; first_step += CHUNK_STEPS) {
            if turn == 0u || steps > CHUNK_STEPS {
                take_activations(inv, first_step, turn + first_step > 0u);
            }
            for (var step = first_step; step < min(first_step + CHUNK_STEPS, steps); step++) {
                let strip = strip_of(inv, step);
                let inside = WHOLE || step * lane.y + lane.x < STRIPS;
                // Where there are many steps, a load too many costs less than a branch does.
                let goes_on = AHEAD && (steps > 2u || step + 1u < steps);
                let next = strip_of(inv, min(step + 1u, steps - 1u));
                var w: array<Weights, TOGETHER>;
                for (var t = 0u; t < TOGETHER; t++) {
                    if !AHEAD {
                        raw[t] = load_strip(rows[t], strip);
                    }
                    w[t] = unpack_strip(raw[t], strip);
                }
                for (var r = 0u; r < ROWS; r++) {
                    let own = activations(place_of_strip(strip, first_step), row_start(inv, r), inside);
                    for (var t = 0u; t < TOGETHER; t++) {
                        sums[r * TOGETHER + t] = add_dot(sums[r * TOGETHER + t], w[t], own);
                        // Those of the next step are asked for as soon as there is room.
                        if r == ROWS - 1u && goes_on {
                            raw[t] = load_strip(rows[t], next);
                        }
                    }
                }
            }
        }
        add_up(inv, first, sums);
    }
    workgroupBarrier();
}

// Keeps the i-th sum of a turn, which begins with result `first`.
fn keep(first: u32, i: u32, sum: f32) {
    let own = first + i % TOGETHER;
    if i < SUMS && own < RESULTS {
        results[i / TOGETHER * RESULTS + own] = sum;
    }
}

// The product of row r of the activations with weight row i of the workgroup.
fn result(r: u32, i: u32) -> f32 {
    return norm_factors[r] * results[r * RESULTS + i];
}
