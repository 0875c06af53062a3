// Activations straight from memory: x.
const PLANE: u32 = STRIPS;
const CHUNK_STEPS: u32 = STRIPS;

fn take_activations(inv: Inv, first_step: u32, again: bool) {}

// Where a row of the workgroup begins.
fn row_start(inv: Inv, r: u32) -> u32 {
    return row_of(inv, r) * ROW_PITCH;
}

// Where a strip is in a plane.
fn place_of_strip(strip: u32, first_step: u32) -> u32 {
    return strip;
}

fn sixteen(at: u32) -> vec4<u32> {
    return x[at];
}

fn told_at(at: u32) -> vec4<f32> {
    return told(x[at]);
}
