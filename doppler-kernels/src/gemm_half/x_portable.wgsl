@group(0) @binding(0) var<storage, read> x: array<vec2<u32>>;          // [rows, in_features / 4], f16

// Elements 4·i … 4·i + 3 of a row; zeros beyond the last column.
fn x4(row: u32, i: u32) -> vec4<f32> {
    let count = params.in_features / 4u;
    if i >= count {
        return vec4<f32>(0.0);
    }
    let quad = x[row * count + i];
    return scale[row] * vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y));
}
