// No norm before this product.
fn find_norm_factors(inv: Inv) {
    if inv.thread < ROWS {
        norm_factors[inv.thread] = 1.0;
    }
}
