// LANES lanes of a subgroup share a position, PER_LANE quads of its head each, for all heads of the group. Each such team goes
// through every n-th position of the piece with a softmax of its own; the teams are put together at the end.

const TEAMS: u32 = WG / LANES;
const PER_LANE: u32 = QUADS / LANES;

var<workgroup> team_largest: array<f32, TEAMS * GROUP>;
var<workgroup> team_totals: array<f32, TEAMS * GROUP>;
// Sums of the upper half of the teams, then of the upper quarter, and so on.
var<workgroup> team_sums: array<vec4<f32>, TEAMS / 2u * GROUP * QUADS>;

fn lanes_sum(v: f32) -> f32 {
    var sum = v;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        sum += subgroupShuffleXor(sum, half);
    }
    return sum;
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let kv_head = group.x;
    let piece = group.y;
    let team = thread / LANES;
    let lane = thread % LANES;
    let range = piece_of(piece);

    // The first positions' keys and values are asked for before anything is waited for.
    var keys: array<Quad, AHEAD * PER_LANE>;
    var values: array<Quad, AHEAD * PER_LANE>;
    for (var a = 0u; a < AHEAD; a++) {
        let position = range.begin + team + a * TEAMS;
        if position < range.end {
            let row = (position * params.num_key_value_heads + kv_head) * QUADS + lane;
            for (var i = 0u; i < PER_LANE; i++) {
                keys[a * PER_LANE + i] = k[row + i * LANES];
                values[a * PER_LANE + i] = v[row + i * LANES];
            }
        }
    }
    load_heads(thread, kv_head);
    if range.begin <= range.position && range.position < range.end {
        write_cache(thread, kv_head, range.position);
    }
    var q: array<vec4<f32>, GROUP * PER_LANE>;
    for (var g = 0u; g < GROUP; g++) {
        for (var i = 0u; i < PER_LANE; i++) {
            let at = g * HEAD_DIM + 4u * (lane + i * LANES);
            q[g * PER_LANE + i] = vec4<f32>(heads[at], heads[at + 1u], heads[at + 2u], heads[at + 3u]);
        }
    }

    var largest: array<f32, GROUP>;
    var totals: array<f32, GROUP>;
    var sums: array<vec4<f32>, GROUP * PER_LANE>;
    for (var g = 0u; g < GROUP; g++) {
        largest[g] = UNSEEN;
    }
    for (var at = range.begin + team; at < range.end; at += AHEAD * TEAMS) {
        if at != range.begin + team {
            for (var a = 0u; a < AHEAD; a++) {
                let position = at + a * TEAMS;
                if position < range.end {
                    let row = (position * params.num_key_value_heads + kv_head) * QUADS + lane;
                    for (var i = 0u; i < PER_LANE; i++) {
                        keys[a * PER_LANE + i] = k[row + i * LANES];
                        values[a * PER_LANE + i] = v[row + i * LANES];
                    }
                }
            }
        }
        // The new position is not in memory yet, as far as this workgroup can see.
        for (var a = 0u; a < AHEAD; a++) {
            if at + a * TEAMS == range.position {
                for (var i = 0u; i < PER_LANE; i++) {
                    keys[a * PER_LANE + i] = new_key_quad(lane + i * LANES);
                    values[a * PER_LANE + i] = new_value_quad(kv_head, lane + i * LANES);
                }
            }
        }
        for (var g = 0u; g < GROUP; g++) {
            var scores: array<f32, AHEAD>;
            var new_largest = largest[g];
            for (var a = 0u; a < AHEAD; a++) {
                var products = vec4<f32>(0.0);
                for (var i = 0u; i < PER_LANE; i++) {
                    products += q[g * PER_LANE + i] * unpack_quad(keys[a * PER_LANE + i]);
                }
                let product = lanes_sum(products.x + products.y + products.z + products.w);
                scores[a] = select(UNSEEN, capped(product), at + a * TEAMS < range.end);
                new_largest = max(new_largest, scores[a]);
            }
            let shrink = exp(largest[g] - new_largest);
            largest[g] = new_largest;
            totals[g] *= shrink;
            for (var i = 0u; i < PER_LANE; i++) {
                sums[g * PER_LANE + i] *= shrink;
            }
            for (var a = 0u; a < AHEAD; a++) {
                if at + a * TEAMS < range.end {
                    let weight = exp(scores[a] - new_largest);
                    totals[g] += weight;
                    for (var i = 0u; i < PER_LANE; i++) {
                        sums[g * PER_LANE + i] += weight * unpack_quad(values[a * PER_LANE + i]);
                    }
                }
            }
        }
    }

    // All teams on the scale of the largest score of any, then their sums by halves.
    if lane == 0u {
        for (var g = 0u; g < GROUP; g++) {
            team_largest[team * GROUP + g] = largest[g];
            team_totals[team * GROUP + g] = totals[g];
        }
    }
    workgroupBarrier();
    for (var g = 0u; g < GROUP; g++) {
        var all = UNSEEN;
        for (var t = 0u; t < TEAMS; t++) {
            all = max(all, team_largest[t * GROUP + g]);
        }
        let shrink = exp(largest[g] - all);
        largest[g] = all;
        for (var i = 0u; i < PER_LANE; i++) {
            sums[g * PER_LANE + i] *= shrink;
        }
        if thread == g {
            var total = 0.0;
            for (var t = 0u; t < TEAMS; t++) {
                total += team_totals[t * GROUP + g] * exp(team_largest[t * GROUP + g] - all);
            }
            let out = ((kv_head * GROUP + g) * params.splits + piece) * (HEAD_DIM + 2u);
            partials[out] = all;
            partials[out + 1u] = total;
        }
    }
    for (var half = TEAMS / 2u; half > 0u; half /= 2u) {
        if team >= half && team < 2u * half {
            for (var i = 0u; i < GROUP * PER_LANE; i++) {
                team_sums[((team - half) * GROUP * PER_LANE + i) * LANES + lane] = sums[i];
            }
        }
        workgroupBarrier();
        if team < half {
            for (var i = 0u; i < GROUP * PER_LANE; i++) {
                sums[i] += team_sums[(team * GROUP * PER_LANE + i) * LANES + lane];
            }
        }
        workgroupBarrier();
    }
    if team == 0u {
        for (var g = 0u; g < GROUP; g++) {
            for (var i = 0u; i < PER_LANE; i++) {
                let sum = sums[g * PER_LANE + i];
                let out = ((kv_head * GROUP + g) * params.splits + piece) * (HEAD_DIM + 2u) + 2u + 4u * (lane + i * LANES);
                partials[out] = sum.x;
                partials[out + 1u] = sum.y;
                partials[out + 2u] = sum.z;
                partials[out + 3u] = sum.w;
            }
        }
    }
}
