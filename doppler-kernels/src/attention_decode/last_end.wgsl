// A group's heads end as a piece; the workgroup of a group that ends last puts its pieces together, in blocks of int8.

const ITEMS_AT_ONCE: u32 = min(GROUP * QUADS, WG);
// Invocations beyond the items take other pieces.
const PIECE_SLICES: u32 = WG / ITEMS_AT_ONCE;

// Pieces that an invocation asks for before it waits for one.
const PIECES_AT_ONCE: u32 = 4u;

var<workgroup> arrived: u32;
// Of what is left of an invocation's pieces, the sum, the largest score, and the sum of the weights.
var<workgroup> slice_sums: array<vec4<f32>, WG>;
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

// Puts every PIECE_SLICES-th piece of an item together, from `first` on.
fn sum_pieces(thread: u32, kv_head: u32, item: u32, first: u32) {
    let start = place(kv_head * GROUP + item / QUADS, 0u);
    var most = UNSEEN;
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var piece = first; piece < params.splits; piece += PIECES_AT_ONCE * PIECE_SLICES) {
        var tops: array<vec2<f32>, PIECES_AT_ONCE>;
        var sums: array<vec4<f32>, PIECES_AT_ONCE>;
        for (var i = 0u; i < PIECES_AT_ONCE; i++) {
            // Beyond the last piece that one again, of which nothing is added.
            let at = start + min(piece + i * PIECE_SLICES, params.splits - 1u) * (QUADS + 1u);
            tops[i] = partials[at].xy;
            sums[i] = partials[at + 1u + item % QUADS];
        }
        var more = most;
        for (var i = 0u; i < PIECES_AT_ONCE; i++) {
            more = max(more, tops[i].x);
        }
        let factor = exp(most - more);
        total *= factor;
        sum *= factor;
        for (var i = 0u; i < PIECES_AT_ONCE; i++) {
            let weight = select(0.0, exp(tops[i].x - more), piece + i * PIECE_SLICES < params.splits);
            total += weight * tops[i].y;
            sum += weight * sums[i];
        }
        most = more;
    }
    slice_sums[thread] = sum;
    slice_totals[thread] = vec2<f32>(most, total);
}

// The slices of an item put together.
fn joined(item: u32) -> vec4<f32> {
    var most = UNSEEN;
    for (var slice = 0u; slice < PIECE_SLICES; slice++) {
        most = max(most, slice_totals[slice * ITEMS_AT_ONCE + item].x);
    }
    var total = 0.0;
    var sum = vec4<f32>(0.0);
    for (var slice = 0u; slice < PIECE_SLICES; slice++) {
        let at = slice * ITEMS_AT_ONCE + item;
        let factor = exp(slice_totals[at].x - most);
        total += factor * slice_totals[at].y;
        sum += factor * slice_sums[at];
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
