// The best of (value, id) pairs over a workgroup of WG: the larger value, then the lower id. NONE is no pair.

const NONE: u32 = 0xFFFFFFFFu;

var<workgroup> best_values: array<f32, WG>;
var<workgroup> best_ids: array<u32, WG>;

fn is_nan(v: f32) -> bool {
    return (bitcast<u32>(v) & 0x7FFFFFFFu) > 0x7F800000u;
}

// 1 when any invocation had a NaN.
var<workgroup> nans: atomic<u32>;

// Contains a barrier: call in uniform control flow, before `note_nan`.
fn forget_nans(lane: u32) {
    if lane == 0u {
        atomicStore(&nans, 0u);
    }
    workgroupBarrier();
}

fn note_nan(nan: bool) {
    if nan {
        atomicStore(&nans, 1u);
    }
}

fn better(value: f32, id: u32, than_value: f32, than_id: u32) -> bool {
    return id != NONE && (than_id == NONE || value > than_value || (value == than_value && id < than_id));
}

// Call in uniform control flow; every invocation gets the winner's id, and best_values[0] holds its value.
fn reduce_best(lane: u32, value: f32, id: u32) -> u32 {
    best_values[lane] = value;
    best_ids[lane] = id;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if lane < half && better(best_values[lane + half], best_ids[lane + half], best_values[lane], best_ids[lane]) {
            best_values[lane] = best_values[lane + half];
            best_ids[lane] = best_ids[lane + half];
        }
        workgroupBarrier();
    }
    return best_ids[0];
}
