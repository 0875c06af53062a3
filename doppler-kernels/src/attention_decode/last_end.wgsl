// A group's heads end as a piece; the workgroup of a group that ends last puts its pieces together, in blocks of int8.

const ITEMS_AT_ONCE: u32 = min(GROUP * QUADS, WG);
// Invocations beyond the items take other pieces.
const PIECE_SLICES: u32 = WG / ITEMS_AT_ONCE;

var<workgroup> arrived: u32;
// Of each head's pieces, the largest score and the sum of the weights.
var<workgroup> tops: array<vec2<f32>, GROUP * MOST_PIECES>;
var<workgroup> slice_sums: array<vec4<f32>, WG>;
var<workgroup> slice_totals: array<f32, WG>;

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

fn take_tops(thread: u32, kv_head: u32) {
    for (var first = 0u; first < GROUP * MOST_PIECES; first += WG) {
        let i = first + thread;
        let piece = i % MOST_PIECES;
        if i < GROUP * MOST_PIECES && piece < params.splits {
            tops[i] = partials[place(kv_head * GROUP + i / MOST_PIECES, piece)].xy;
        }
    }
}

// Every PIECE_SLICES-th piece of an item from `first` on, four at a time: all are asked for before one is waited for.
fn sum_pieces(thread: u32, kv_head: u32, item: u32, first: u32) {
    let h = item / QUADS;
    let start = place(kv_head * GROUP + h, 0u) + 1u + item % QUADS;
    var most = UNSEEN;
    for (var piece = 0u; piece < params.splits; piece++) {
        most = max(most, tops[h * MOST_PIECES + piece].x);
    }
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var piece = first; piece < params.splits; piece += 4u * PIECE_SLICES) {
        let near = min(vec4<u32>(piece) + PIECE_SLICES * vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.splits - 1u));
        let a = partials[start + near.x * (QUADS + 1u)];
        let b = partials[start + near.y * (QUADS + 1u)];
        let c = partials[start + near.z * (QUADS + 1u)];
        let d = partials[start + near.w * (QUADS + 1u)];
        let wa = weight_of(h, piece, most);
        let wb = weight_of(h, piece + PIECE_SLICES, most);
        let wc = weight_of(h, piece + 2u * PIECE_SLICES, most);
        let wd = weight_of(h, piece + 3u * PIECE_SLICES, most);
        total += wa.y + wb.y + wc.y + wd.y;
        sum += wa.x * a + wb.x * b + wc.x * c + wd.x * d;
    }
    slice_sums[thread] = sum;
    slice_totals[thread] = total;
}

// What a piece of a head counts, and its sum of weights times that; nothing beyond the last.
fn weight_of(h: u32, piece: u32, most: f32) -> vec2<f32> {
    let top = tops[h * MOST_PIECES + min(piece, params.splits - 1u)];
    let factor = select(0.0, exp(top.x - most), piece < params.splits);
    return vec2<f32>(factor, factor * top.y);
}

// The slices of an item put together.
fn joined(item: u32) -> vec4<f32> {
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var slice = 0u; slice < PIECE_SLICES; slice++) {
        total += slice_totals[slice * ITEMS_AT_ONCE + item];
        sum += slice_sums[slice * ITEMS_AT_ONCE + item];
    }
    return sum / total;
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
    take_tops(thread, kv_head);
    workgroupBarrier();
    for (var first = 0u; first < GROUP * QUADS; first += ITEMS_AT_ONCE) {
        let item = first + thread % ITEMS_AT_ONCE;
        if thread < PIECE_SLICES * ITEMS_AT_ONCE && item < GROUP * QUADS {
            sum_pieces(thread, kv_head, item, thread / ITEMS_AT_ONCE);
        }
        workgroupBarrier();
        // Heads are whole blocks, and so is what is left of them.
        let near = min(thread, ITEMS_AT_ONCE - 1u);
        let block = (kv_head * GROUP * HEAD_DIM + 4u * (first + near)) / 32u;
        let cols = params.num_attention_heads * HEAD_DIM;
        let valid = thread < ITEMS_AT_ONCE && first + thread < GROUP * QUADS;
        write_a8_quad(thread, joined(near), cols, row, block, valid);
        workgroupBarrier();
    }
}
