// Activations of some steps at a time in workgroup memory, where a lane waits for them a fraction of the time: all teams read the
// same. CHUNK strips of each row, planes as in memory.
const PLANE: u32 = CHUNK;
const CHUNK_STEPS: u32 = CHUNK / LANES;

const PLACES: u32 = ROWS * 5u * CHUNK;

var<workgroup> staged: array<vec4<u32>, PLACES>;

// `again` where others were there before. Contains barriers: call in uniform control flow.
fn take_activations(inv: Inv, first_step: u32, again: bool) {
    if again {
        workgroupBarrier();
    }
    // All invocations as often, so that their loads are on their way at once.
    for (var n = 0u; n < (PLACES + WG - 1u) / WG; n++) {
        let i = n * WG + inv.thread;
        let strip = min(first_step * LANES + i % CHUNK, STRIPS - 1u);
        let plane = min(first_row(inv) * 5u + i / CHUNK, ALL_ROWS * 5u - 1u);
        var own = x[plane * STRIPS + strip];
        // Sums are made once here, instead of by every lane that takes them.
        if OFFSETS && i / CHUNK % 5u == 4u {
            own = bitcast<vec4<u32>>(told(own));
        }
        if i < PLACES {
            staged[i] = own;
        }
    }
    workgroupBarrier();
}

// Where a row of the workgroup begins.
fn row_start(inv: Inv, r: u32) -> u32 {
    return r * ROW_PITCH;
}

// Where a strip is in a plane.
fn place_of_strip(strip: u32, first_step: u32) -> u32 {
    return strip - first_step * LANES;
}

fn sixteen(at: u32) -> vec4<u32> {
    return staged[at];
}

fn told_at(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(staged[at]);
}
