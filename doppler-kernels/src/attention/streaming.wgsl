// One row of queries of one head a workgroup; keys and values come straight from the cache, WG positions at a time.

var<workgroup> q_row: array<f32, HEAD_DIM>;
var<workgroup> weights: array<f32, WG>;
var<workgroup> reduced: array<f32, WG>;

// Each invocation sums PAIRS pairs of output elements: pair lane + i · WG.
var<private> sums: array<vec2<f32>, PAIRS>;
var<private> largest: f32;
var<private> total: f32;

fn maximum(lane: u32, x: f32) -> f32 {
    reduced[lane] = x;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if lane < half {
            reduced[lane] = max(reduced[lane], reduced[lane + half]);
        }
        workgroupBarrier();
    }
    let result = reduced[0];
    workgroupBarrier();
    return result;
}

// Online softmax over positions begin … end - 1.
fn attend(lane: u32, query: u32, kv_head: u32, begin: u32, end: u32) {
    for (var d = lane; d < HEAD_DIM; d += WG) {
        q_row[d] = q[query * HEAD_DIM + d];
    }
    for (var i = 0u; i < PAIRS; i++) {
        sums[i] = vec2<f32>(0.0);
    }
    largest = UNSEEN;
    total = 0.0;
    workgroupBarrier();
    for (var tile = begin; tile < end; tile += WG) {
        let position = tile + lane;
        var score = UNSEEN;
        if position < end {
            let row = kv_row(position, kv_head);
            var dot = 0.0;
            for (var d = 0u; d < HEAD_DIM / 2u; d++) {
                let pair = key(row + d);
                dot += q_row[2u * d] * pair.x + q_row[2u * d + 1u] * pair.y;
            }
            score = capped(dot);
        }
        let new_largest = max(largest, maximum(lane, score));
        let shrink = exp(largest - new_largest);
        weights[lane] = select(exp(score - new_largest), 0.0, position >= end);
        largest = new_largest;
        workgroupBarrier();
        let count = min(WG, end - tile);
        total *= shrink;
        for (var j = 0u; j < count; j++) {
            total += weights[j];
        }
        for (var i = 0u; i < PAIRS; i++) {
            let pair = lane + i * WG;
            if pair < HEAD_DIM / 2u {
                var sum = sums[i] * shrink;
                for (var j = 0u; j < count; j++) {
                    sum += weights[j] * value(kv_row(tile + j, kv_head) + pair);
                }
                sums[i] = sum;
            }
        }
        workgroupBarrier();
    }
}
