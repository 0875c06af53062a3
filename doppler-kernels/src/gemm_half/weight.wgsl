@group(0) @binding(1) var<storage, read> weight: array<u32>;           // [out_features, in_features], packed

// 32 consecutive weights of one row, as `load_chunk` leaves them.
var<private> w: array<vec4<f32>, 8>;
