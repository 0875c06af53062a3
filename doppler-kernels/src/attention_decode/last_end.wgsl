// A group's heads end as a piece; the workgroup of a group that ends last puts its pieces together, in blocks of int8.

const ITEMS_AT_ONCE: u32 = min(GROUP * QUADS, WG);
// Invocations beyond the items take other pieces.
const PIECE_SLICES: u32 = WG / ITEMS_AT_ONCE;

var<workgroup> arrived: u32;
var<workgroup> slice_sums: array<vec4<f32>, WG>;
// The largest score, and the sum of the weights.
var<workgroup> slice_totals: array<vec2<f32>, WG>;

// Where a piece of a head is: its largest score and its sum of weights, then its quads.
fn place(head: u32, piece: u32) -> u32 {
    return ((row * params.num_attention_heads + head) * params.splits + piece) * (QUADS + 1u);
}

fn put_item(item: u32, kv_head: u32, piece: u32, largest: f32, total: f32, sum: vec4<f32>) {
    let at = place(kv_head * GROUP + item / QUADS, piece);
    if item % QUADS == 0u {
        partials[at] = vec4<f32>(largest, total, 0.0, 0.0);
    }
    partials[at + 1u + item % QUADS] = sum;
}

// Every PIECE_SLICES-th piece of an item from `first` on, four at a time.
fn sum_pieces(thread: u32, head: u32, quad: u32, first: u32) {
    var most = UNSEEN;
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var piece = first; piece < params.splits; piece += 4u * PIECE_SLICES) {
        let pieces = vec4<u32>(piece) + PIECE_SLICES * vec4<u32>(0u, 1u, 2u, 3u);
        let inside = pieces < vec4<u32>(params.splits);
        let near = min(pieces, vec4<u32>(params.splits - 1u));
        let a = place(head, near.x);
        let b = place(head, near.y);
        let c = place(head, near.z);
        let d = place(head, near.w);
        let ta = partials[a];
        let tb = partials[b];
        let tc = partials[c];
        let td = partials[d];
        let sa = partials[a + 1u + quad];
        let sb = partials[b + 1u + quad];
        let sc = partials[c + 1u + quad];
        let sd = partials[d + 1u + quad];
        let tops = select(vec4<f32>(UNSEEN), vec4<f32>(ta.x, tb.x, tc.x, td.x), inside);
        let new_most = max(max(most, max(tops.x, tops.y)), max(tops.z, tops.w));
        let factor = exp(most - new_most);
        let weights = select(vec4<f32>(0.0), exp(tops - new_most), inside);
        total = total * factor + dot(weights, vec4<f32>(ta.y, tb.y, tc.y, td.y));
        sum = sum * factor + weights.x * sa + weights.y * sb + weights.z * sc + weights.w * sd;
        most = new_most;
    }
    slice_sums[thread] = sum;
    slice_totals[thread] = vec2<f32>(most, total);
}

// The slices of an item put together, in the place of the first.
fn join_slices(thread: u32) {
    var most = UNSEEN;
    for (var at = thread; at < PIECE_SLICES * ITEMS_AT_ONCE; at += ITEMS_AT_ONCE) {
        most = max(most, slice_totals[at].x);
    }
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var at = thread; at < PIECE_SLICES * ITEMS_AT_ONCE; at += ITEMS_AT_ONCE) {
        let factor = exp(slice_totals[at].x - most);
        total += factor * slice_totals[at].y;
        sum += factor * slice_sums[at];
    }
    slice_sums[thread] = sum / total;
}

// Contains barriers: call in uniform control flow.
fn finish(thread: u32, kv_head: u32) {
    // Whoever sees that this workgroup has arrived sees what it wrote: naga makes this barrier one of the device's memory.
    storageBarrier();
    let counter = row * params.num_key_value_heads + kv_head;
    if thread == 0u {
        arrived = atomicAdd(&arrivals[counter], 1u);
    }
    if workgroupUniformLoad(&arrived) != params.splits - 1u {
        return;
    }
    storageBarrier();
    if thread == 0u {
        // For the next attention.
        atomicStore(&arrivals[counter], 0u);
    }
    for (var first = 0u; first < GROUP * QUADS; first += ITEMS_AT_ONCE) {
        let item = first + thread % ITEMS_AT_ONCE;
        if thread < PIECE_SLICES * ITEMS_AT_ONCE && item < GROUP * QUADS {
            sum_pieces(thread, kv_head * GROUP + item / QUADS, item % QUADS, thread / ITEMS_AT_ONCE);
        }
        workgroupBarrier();
        if thread < ITEMS_AT_ONCE {
            join_slices(thread);
        }
        workgroupBarrier();
        let left = 4u * min(GROUP * QUADS - first, ITEMS_AT_ONCE);
        for (var start_at = 0u; start_at < left; start_at += WG) {
            let i = start_at + thread;
            let at = min(i, left - 1u);
            let block = ((kv_head * GROUP) * HEAD_DIM + 4u * first + at) / 32u;
            write_a8(thread, slice_sums[at / 4u][at % 4u], params.num_attention_heads * HEAD_DIM, row, block, i < left);
        }
        workgroupBarrier();
    }
}
