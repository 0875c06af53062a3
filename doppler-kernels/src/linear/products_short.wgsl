// The dot products of a workgroup's RESULTS weight rows with all ROWS rows of activations, one weight row a team at a time:
// for short rows. A step is AHEAD units of every lane; the weights of a row's first step are asked for before the row before is summed up.

var<workgroup> results: array<f32, RESULTS * ROWS>;
var<workgroup> norm_factors: array<f32, ROWS>;

// `weight_row(i)` is the row behind result i, or any other where there is none. Ends with a barrier.
fn products(inv: Inv, first_feature: u32) {
    let units = params.in_features / 32u;
    // A row of activations in 16 bytes: 40 bytes for each 32 elements.
    let row_pitch = params.in_features / 64u * 5u;
    let team = team(inv);
    let lane = lane(inv);
    let per_step = AHEAD * lane.y;
    let steps = (units + per_step - 1u) / per_step;
    let rows = (RESULTS + team.y - 1u) / team.y;
    var raw: array<Raw, AHEAD>;
    let first_row = weight_row(first_feature, min(team.x, RESULTS - 1u));
    for (var a = 0u; a < AHEAD; a++) {
        raw[a] = load_unit(first_row, min(lane.x + a * lane.y, units - 1u));
    }
    find_norm_factors(inv);
    for (var n = 0u; n < rows; n++) {
        let i = n * team.y + team.x;
        var sums: array<f32, ROWS>;
        for (var step = 0u; step < steps; step++) {
            for (var a = 0u; a < AHEAD; a++) {
                let unit = step * per_step + lane.x + a * lane.y;
                let at = min(unit, units - 1u);
                let w = unpack_unit(raw[a], at);
                for (var r = 0u; r < ROWS; r++) {
                    sums[r] += select(0.0, dot_unit(w, at, r * row_pitch), unit < units);
                }
            }
            let last = step + 1u == steps;
            if !last || n + 1u < rows {
                let row = weight_row(first_feature, min(select(i, i + team.y, last), RESULTS - 1u));
                let first = select((step + 1u) * per_step, 0u, last) + lane.x;
                for (var a = 0u; a < AHEAD; a++) {
                    raw[a] = load_unit(row, min(first + a * lane.y, units - 1u));
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            let sum = team_sum(inv, sums[r]);
            if i < RESULTS && lane.x == 0u {
                results[r * RESULTS + i] = sum;
            }
        }
    }
    workgroupBarrier();
}
