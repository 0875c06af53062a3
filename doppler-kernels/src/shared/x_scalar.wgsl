// Rows of activations of any number of columns.
@group(0) @binding(0) var<storage, read> x: array<f32>;           // [rows, in_features]

// Elements 4·i … 4·i + 3 of a row; zeros beyond the last column.
fn x4(row: u32, i: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    for (var c = 0u; c < 4u; c++) {
        if 4u * i + c < params.in_features {
            v[c] = x[row * params.in_features + 4u * i + c];
        }
    }
    return v;
}
