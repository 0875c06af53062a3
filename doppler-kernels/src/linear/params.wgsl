struct Params {
    eps: f32,
    scale: f32,
}
