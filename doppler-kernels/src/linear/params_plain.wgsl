struct Params {
    y_stride: u32,
    y_offset: u32,
    eps: f32,
}
