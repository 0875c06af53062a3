// Of a workgroup that waits for no other.
@group(0) @binding(6) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> arrivals: array<u32>;
