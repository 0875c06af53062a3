fn activate(v: f32) -> f32 {
    return v / (1.0 + exp(-max(v, -80.0)));
}
