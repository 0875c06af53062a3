// The dot products of a workgroup's RESULTS weight rows with all ROWS rows of activations, one weight row a team at a time.

var<workgroup> results: array<f32, RESULTS * ROWS>;
var<workgroup> norm_factors: array<f32, ROWS>;

// `weight_row(i)` is the row behind result i. Ends with a barrier.
fn products(inv: Inv, first_feature: u32) {
    let units = params.in_features / 32u;
    let team = team(inv);
    let lane = lane(inv);
    for (var first = 0u; first < RESULTS; first += team.y) {
        let i = first + team.x;
        let row = weight_row(first_feature, i);
        var sums: array<f32, ROWS>;
        if i < RESULTS && row != NO_ROW {
            for (var unit = lane.x; unit < units; unit += lane.y) {
                load_unit(row, unit);
                for (var r = 0u; r < ROWS; r++) {
                    sums[r] += dot_half(first_half, r * units) + dot_half(second_half, r * units);
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

const NO_ROW: u32 = 0xFFFFFFFFu;
