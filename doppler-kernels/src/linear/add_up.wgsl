// Adds up a turn's sums over the lanes of a team, one after the other, and keeps them. May contain barriers: call in uniform
// control flow.
fn add_up(inv: Inv, first: u32, sums: array<f32, SUMS>) {
    var own = sums;
    for (var i = 0u; i < SUMS; i++) {
        let sum = team_sum(inv, own[i]);
        if lane(inv).x == 0u {
            keep(first, i, sum);
        }
    }
}
