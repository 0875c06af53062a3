// The dot products of a workgroup's RESULTS weight rows with all ROWS rows of activations. A team has TOGETHER weight rows at
// a time, each lane one unit of all of them: activations are loaded once for TOGETHER units.

const UNITS: u32 = IN_FEATURES / 32u;
// A row of activations in 16 bytes: 40 bytes for each 32 elements.
const ROW_PITCH: u32 = IN_FEATURES / 64u * 5u;

// What each slice of a team makes of a product.
var<workgroup> results: array<f32, RESULTS * ROWS * SLICES>;
var<workgroup> norm_factors: array<f32, ROWS>;

// Only asks for weights: the t-th of this invocation's n-th step.
fn load_own(inv: Inv, first_feature: u32, n: u32, t: u32) -> Raw {
    let own = (n / steps(inv) * team(inv).y + team(inv).x) * TOGETHER + t;
    let unit = n % steps(inv) * lane(inv).y + lane(inv).x;
    return load_unit(weight_row(first_feature, min(own, RESULTS - 1u)), min(unit, UNITS - 1u));
}

// Steps that a row takes.
fn steps(inv: Inv) -> u32 {
    return (UNITS + lane(inv).y - 1u) / lane(inv).y;
}

// `weight_row(i)` is the row behind result i, or any other where there is none. Ends with a barrier.
fn products(inv: Inv, first_feature: u32) {
    let team = team(inv);
    let lane = lane(inv);
    let steps = steps(inv);
    let passes = (RESULTS + team.y * TOGETHER - 1u) / (team.y * TOGETHER);
    // The first weights are on their way while the norm's factor is found.
    var raw: array<Raw, TOGETHER>;
    for (var t = 0u; t < TOGETHER; t++) {
        raw[t] = load_own(inv, first_feature, 0u, t);
    }
    find_norm_factors(inv);
    var sums: array<f32, TOGETHER * ROWS>;
    for (var n = 0u; n < passes * steps; n++) {
        let unit = n % steps * lane.y + lane.x;
        let at = min(unit, UNITS - 1u);
        for (var r = 0u; r < ROWS; r++) {
            let x = activations(at, r * ROW_PITCH, unit < UNITS);
            for (var t = 0u; t < TOGETHER; t++) {
                sums[r * TOGETHER + t] += dot_unit(unpack_unit(raw[t], at), x);
                // The next are asked for as soon as there is room, and before sums are put together.
                if r == ROWS - 1u && n + 1u < passes * steps {
                    raw[t] = load_own(inv, first_feature, n + 1u, t);
                }
            }
        }
        if n % steps == steps - 1u {
            for (var i = 0u; i < TOGETHER * ROWS; i++) {
                let sum = slice_sum(inv, sums[i]);
                sums[i] = 0.0;
                let own = (n / steps * team.y + team.x) * TOGETHER + i % TOGETHER;
                if own < RESULTS && lane.x % SLICE == 0u {
                    results[(i / TOGETHER * RESULTS + own) * SLICES + lane.x / SLICE] = sum;
                }
            }
        }
    }
    workgroupBarrier();
}

// The product of row r of the activations with weight row i of the workgroup.
fn result(r: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += results[(r * RESULTS + i) * SLICES + slice];
    }
    return norm_factors[r] * sum;
}
