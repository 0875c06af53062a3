struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(1) var<storage, read_write> y: array<u32>;          // [rows, cols], A8
@group(0) @binding(2) var<uniform> params: Params;
