// No norm before this product.
fn norm_factor(inv: Inv, r: u32) -> f32 {
    return 1.0;
}
