// Keys of a tile through workgroup memory, then scores, then values from registers.

// Each item is four output elements of one head.
const ITEMS: u32 = GROUP * QUADS;
// A quad more, so that the rows of a tile begin at different banks.
const PITCH: u32 = QUADS + 1u;
var<workgroup> merged_totals: array<f32, MERGED>;
var<workgroup> merged: array<vec4<f32>, MERGED>;
var<workgroup> scores: array<f32, GROUP * TILE>;
var<workgroup> tile: array<Quad, TILE * PITCH>;
// Invocations beyond the items take other positions of a tile: slices of it.
const SLICES: u32 = max(WG / ITEMS, 1u);

// Keys and values of a tile on their way, in registers.
var<private> keys: array<Quad, KEYS>;
var<private> values_ahead: array<Quad, PER * VALUES>;

fn load_keys(thread: u32, kv_head: u32, at: u32, end: u32) {
    for (var i = 0u; i < KEYS; i++) {
        let quad = thread + i * WG;
        let position = at + quad / QUADS;
        if quad < TILE * QUADS && position < end {
            keys[i] = load_key(position * params.num_key_value_heads + kv_head, quad % QUADS);
        }
    }
}

fn load_values(thread: u32, kv_head: u32, at: u32, end: u32) {
    for (var i = 0u; i < PER; i++) {
        let item = thread % ITEMS + i * WG;
        for (var j = 0u; j < VALUES; j++) {
            let position = at + thread / ITEMS + j * SLICES;
            if position < end && item < ITEMS {
                values_ahead[i * VALUES + j] =
                    load_value(position * params.num_key_value_heads + kv_head, item % QUADS);
            }
        }
    }
}

// The value of position `t` of a tile instead of what came from memory, if it is this invocation's: of its `i`-th item.
fn put_value(thread: u32, i: u32, t: u32, quad: Quad) {
    for (var j = 0u; j < VALUES; j++) {
        if thread / ITEMS + j * SLICES == t {
            values_ahead[i * VALUES + j] = quad;
        }
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    if ROWS > 1u {
        row = group.z;
    }
    let kv_head = group.x;
    let piece = group.y;
    let range = piece_of(piece);
    let begin = range.begin;
    let end = range.end;

    // Everything that comes from memory is asked for before anything is waited for.
    load_keys(thread, kv_head, begin, end);
    load_values(thread, kv_head, begin, end);
    take_new(thread, kv_head);
    load_heads(thread, kv_head);
    let fresh = first_new(range);

    let slice = thread / ITEMS;
    var sums: array<vec4<f32>, PER>;
    var totals: array<f32, PER>;
    var largest: array<f32, PER>;
    for (var i = 0u; i < PER; i++) {
        largest[i] = UNSEEN;
    }
    for (var at = begin; at < end; at += TILE) {
        let count = min(TILE, end - at);
        let old = min(count, max(fresh, at) - at);
        for (var i = 0u; i < KEYS; i++) {
            let quad = thread + i * WG;
            if quad < old * QUADS {
                tile[quad / QUADS * PITCH + quad % QUADS] = keys[i];
            }
        }
        if old < count {
            place_new(thread, kv_head, at, count, fresh);
        }
        workgroupBarrier();
        load_keys(thread, kv_head, at + TILE, end);
        for (var i = thread; i < GROUP * TILE; i += WG) {
            let h = i / TILE;
            let t = i % TILE;
            var score = UNSEEN;
            if t < count {
                var dot4 = vec4<f32>(0.0);
                for (var d = 0u; d < QUADS; d++) {
                    let q = h * HEAD_DIM + 4u * d;
                    dot4 += vec4<f32>(heads[q], heads[q + 1u], heads[q + 2u], heads[q + 3u])
                        * unpack_quad(tile[t * PITCH + d]);
                }
                score = capped(dot4.x + dot4.y + dot4.z + dot4.w);
            }
            scores[i] = score;
        }
        workgroupBarrier();
        if slice < SLICES {
            for (var i = 0u; i < PER; i++) {
                let item = thread % ITEMS + i * WG;
                if item < ITEMS {
                    let h = item / QUADS;
                    var new_largest = largest[i];
                    for (var t = 0u; t < TILE; t++) {
                        new_largest = max(new_largest, scores[h * TILE + t]);
                    }
                    let shrink = exp(largest[i] - new_largest);
                    largest[i] = new_largest;
                    var sum = sums[i] * shrink;
                    var total = totals[i] * shrink;
                    for (var j = 0u; j < VALUES; j++) {
                        let t = slice + j * SLICES;
                        if t < count {
                            let weight = exp(scores[h * TILE + t] - new_largest);
                            total += weight;
                            sum += weight * unpack_quad(values_ahead[i * VALUES + j]);
                        }
                    }
                    sums[i] = sum;
                    totals[i] = total;
                }
            }
        }
        load_values(thread, kv_head, at + TILE, end);
    }
    // Slices share the largest score, so that their sums just add up.
    workgroupBarrier();
    for (var i = 0u; i < PER; i++) {
        if MERGED > 1u {
            merged[thread] = sums[i];
            merged_totals[thread] = totals[i];
            workgroupBarrier();
        }
        let item = thread + i * WG;
        if slice == 0u && item < ITEMS {
            var sum = sums[i];
            var total = totals[i];
            for (var s = 1u; s < SLICES && MERGED > 1u; s++) {
                sum += merged[thread + s * ITEMS];
                total += merged_totals[thread + s * ITEMS];
            }
            put_item(item, kv_head, piece, largest[i], total, sum);
        }
        workgroupBarrier();
    }
    finish(thread, kv_head);
}
