struct Params {
    rows: u32,
    out_features: u32,
    in_features: u32,
    y_stride: u32,
    y_offset: u32,
}

@group(0) @binding(2) var<storage, read_write> y: array<f32>;          // [rows, y_stride]
@group(0) @binding(3) var<storage, read> scale: array<f32>;            // [rows]
@group(0) @binding(4) var<uniform> params: Params;
