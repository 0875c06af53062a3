struct Params {
    out_features: u32,
    in_features: u32,
    eps: f32,
    scale: f32,
}
