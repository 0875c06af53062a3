fn activate(v: f32) -> f32 {
    // tanh saturates far below the range where some drivers overflow.
    let inner = clamp(0.7978845608028654 * (v + 0.044715 * v * v * v), -15.0, 15.0);
    return 0.5 * v * (1.0 + tanh(inner));
}
