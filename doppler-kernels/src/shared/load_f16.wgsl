// F16 as pairs in words: any number of columns, so a row may start in the middle of a word; zeros beyond the last column.
fn pair(word: u32) -> vec2<f32> {
    return unpack2x16float(word);
}
