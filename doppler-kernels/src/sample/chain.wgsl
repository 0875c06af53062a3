// The sampler's settings, and the best logit.

@group(0) @binding(1) var<storage, read> best_values: array<u32>;      // [parts], f32
@group(0) @binding(2) var<storage, read> settings: array<u32>;         // [12]

const BUCKETS: u32 = 256u;
const BUCKET: u32 = OCTAVE / 8u;

// Tokens to keep; 0: all.
fn top_k() -> u32 {
    return settings[0];
}

// Share to keep; 0: all.
fn top_p() -> u32 {
    return settings[1] | (settings[2] << 16u);
}

// Octaves behind the best to keep; NONE: all.
fn min_p() -> u32 {
    return settings[3] | (settings[4] << 16u);
}

// That of the draw.
fn drawn_scale() -> Scale {
    return Scale(settings[5] | (settings[6] << 16u), i32(settings[7]) - 1024);
}

fn keeps_all() -> bool {
    return top_k() == 0u && top_p() == 0u && min_p() == NONE;
}

// Bits of the best logit.
fn best_of(parts: u32) -> u32 {
    var best = best_values[0];
    for (var i = 1u; i < parts; i++) {
        let value = best_values[i];
        best = select(best, value, rank(value) < rank(best));
    }
    return best;
}

fn bucket_of(best: u32, x: u32) -> u32 {
    return min(octaves(PLAIN, best, x) / BUCKET, BUCKETS - 1u);
}
