@group(0) @binding(0) var<storage, read> x: array<u32>;                // [rows, in_features], A8

// Elements 4·i … 4·i + 3 of a row; zeros beyond the last column.
fn x4(row: u32, i: u32) -> vec4<f32> {
    let count = params.in_features / 4u;
    if i >= count {
        return vec4<f32>(0.0);
    }
    let start = row * (params.in_features / 32u * 10u);
    // Planes of sixteens.
    let word = i / 4u % 4u * (count / 4u) + i / 16u * 4u + i % 4u;
    return bitcast<f32>(x[start + count + i / 8u * 2u]) * vec4<f32>(unpack4xI8(x[start + word]));
}
