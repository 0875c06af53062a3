// Positions whose keys and values are not in memory yet, as far as a workgroup can see: from the first of these that `row` sees
// to where that sees no more. NEW_ROWS rows are made here, none where they are in memory already.

fn first_new(range: Piece) -> u32 {
    if NEW_ROWS == 0u {
        return range.end;
    }
    return select(start[0], range.position, NEW_ROWS == 1u);
}

// Whether a piece holds the position of a new row; it never does of one that comes later than its own.
fn holds(range: Piece, fresh: u32, new_row: u32) -> bool {
    return fresh + new_row >= range.begin && fresh + new_row < range.end;
}
