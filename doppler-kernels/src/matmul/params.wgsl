struct Params {
    rows: u32,
    out_features: u32,
    in_features: u32,
    y_stride: u32,
    y_offset: u32,
}

@group(0) @binding(1) var<storage, read> weight: array<u32>;      // [out_features, in_features], packed
@group(0) @binding(2) var<storage, read_write> y: array<f32>;     // [rows, y_stride]
@group(0) @binding(3) var<uniform> params: Params;

// 32 consecutive weights of one row, as `load_chunk` leaves them.
var<private> w: array<vec4<f32>, 8>;

// The dot product of the loaded chunk with a row of activations.
fn dot_chunk(x_row: u32, chunk: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < 8u; i++) {
        sum += dot(w[i], x4(x_row, chunk * 8u + i));
    }
    return sum;
}
