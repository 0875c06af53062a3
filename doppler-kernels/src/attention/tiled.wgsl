// BQ consecutive rows of queries of one head a workgroup; keys and values pass through workgroup memory, BK positions at a
// time, and serve all BQ rows.

var<workgroup> q_tile: array<f32, BQ * HEAD_DIM>;
var<workgroup> kv_tile: array<f32, BK * HEAD_DIM>;
var<workgroup> scores: array<f32, BQ * BK>;
var<workgroup> row_largest: array<f32, BQ>;
var<workgroup> row_total: array<f32, BQ>;
var<workgroup> row_shrink: array<f32, BQ>;

@group(0) @binding(4) var<storage, read_write> y: array<f32>;     // [rows, num_attention_heads, HEAD_DIM]

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let head = group.x;
    let first_row = group.y * BQ;
    let kv_head = head / (params.num_attention_heads / params.num_key_value_heads);
    let rows = min(BQ, params.rows - first_row);
    for (var i = lane; i < BQ * HEAD_DIM; i += WG) {
        let row = min(first_row + i / HEAD_DIM, params.rows - 1u);
        q_tile[i] = q[(row * params.num_attention_heads + head) * HEAD_DIM + i % HEAD_DIM];
    }
    if lane < BQ {
        row_largest[lane] = UNSEEN;
        row_total[lane] = 0.0;
    }
    // Output elements lane + i · WG of the tile.
    var sums: array<f32, PER>;
    let first_position = start[0] + first_row;
    let begin = first_seen(first_position) / BK * BK;
    let end = min(first_position + rows, params.capacity);
    workgroupBarrier();
    for (var tile = begin; tile < end; tile += BK) {
        for (var i = lane; i < BK * HEAD_DIM / 2u; i += WG) {
            let position = min(tile + i / (HEAD_DIM / 2u), params.capacity - 1u);
            let pair = key(kv_row(position, kv_head) + i % (HEAD_DIM / 2u));
            kv_tile[2u * i] = pair.x;
            kv_tile[2u * i + 1u] = pair.y;
        }
        workgroupBarrier();
        for (var i = lane; i < BQ * BK; i += WG) {
            let row = i / BK;
            let position = tile + i % BK;
            let own = first_position + row;
            var score = UNSEEN;
            if row < rows && position <= own && position >= first_seen(own) && position < params.capacity {
                var dot = 0.0;
                for (var d = 0u; d < HEAD_DIM; d++) {
                    dot += q_tile[row * HEAD_DIM + d] * kv_tile[(i % BK) * HEAD_DIM + d];
                }
                score = capped(dot);
            }
            scores[i] = score;
        }
        workgroupBarrier();
        if lane < BQ {
            var largest = row_largest[lane];
            for (var j = 0u; j < BK; j++) {
                largest = max(largest, scores[lane * BK + j]);
            }
            let shrink = exp(row_largest[lane] - largest);
            var total = row_total[lane] * shrink;
            for (var j = 0u; j < BK; j++) {
                let score = scores[lane * BK + j];
                let weight = select(exp(score - largest), 0.0, score == UNSEEN);
                scores[lane * BK + j] = weight;
                total += weight;
            }
            row_largest[lane] = largest;
            row_total[lane] = total;
            row_shrink[lane] = shrink;
        }
        for (var i = lane; i < BK * HEAD_DIM / 2u; i += WG) {
            let position = min(tile + i / (HEAD_DIM / 2u), params.capacity - 1u);
            let pair = value(kv_row(position, kv_head) + i % (HEAD_DIM / 2u));
            kv_tile[2u * i] = pair.x;
            kv_tile[2u * i + 1u] = pair.y;
        }
        workgroupBarrier();
        for (var i = 0u; i < PER; i++) {
            let at = lane + i * WG;
            if at < BQ * HEAD_DIM {
                let row = at / HEAD_DIM;
                var sum = sums[i] * row_shrink[row];
                for (var j = 0u; j < BK; j++) {
                    sum += scores[row * BK + j] * kv_tile[j * HEAD_DIM + at % HEAD_DIM];
                }
                sums[i] = sum;
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < PER; i++) {
        let at = lane + i * WG;
        let row = at / HEAD_DIM;
        if at < BQ * HEAD_DIM && row < rows {
            y[((first_row + row) * params.num_attention_heads + head) * HEAD_DIM + at % HEAD_DIM] = sums[i] / row_total[row];
        }
    }
}
