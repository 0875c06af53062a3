// The dot products of a workgroup's RESULTS weight rows with all ROWS rows of activations, one weight row a team at a time: for
// long rows, AHEAD units of every lane at a time.

var<workgroup> results: array<f32, RESULTS * ROWS>;
var<workgroup> norm_factors: array<f32, ROWS>;

// `weight_row(i)` is the row behind result i, or any other where there is none. Ends with a barrier.
fn products(inv: Inv, first_feature: u32) {
    let units = params.in_features / 32u;
    // A row of activations in 16 bytes: 40 bytes for each 32 elements.
    let row_pitch = params.in_features / 64u * 5u;
    let team = team(inv);
    let lane = lane(inv);
    find_norm_factors(inv);
    for (var first = 0u; first < RESULTS; first += team.y) {
        let i = first + team.x;
        var sums: array<f32, ROWS>;
        if i < RESULTS {
            let row = weight_row(first_feature, i);
            var unit = lane.x;
            for (; unit + (AHEAD - 1u) * lane.y < units; unit += AHEAD * lane.y) {
                var raw: array<Raw, AHEAD>;
                for (var a = 0u; a < AHEAD; a++) {
                    raw[a] = load_unit(row, unit + a * lane.y);
                }
                for (var a = 0u; a < AHEAD; a++) {
                    let w = unpack_unit(raw[a], unit + a * lane.y);
                    for (var r = 0u; r < ROWS; r++) {
                        sums[r] += dot_unit(w, unit + a * lane.y, r * row_pitch);
                    }
                }
            }
            for (; unit < units; unit += lane.y) {
                let w = unpack_unit(load_unit(row, unit), unit);
                for (var r = 0u; r < ROWS; r++) {
                    sums[r] += dot_unit(w, unit, r * row_pitch);
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
