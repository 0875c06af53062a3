//! SentencePiece's table of character replacements: a trie over bytes in one array (Darts), then the texts that its
//! leaves point into. The library that follows it trusts it, so every step that it can take is checked here.

use crate::Error;
use crate::convert::gguf::{Array, Value};

/// NFKC with all its exceptions takes a third of a megabyte.
const MAX_BYTES: usize = 2 << 20;

/// A cell of the trie, 32 bits: what leads here, whether a match ends here, how far the children are.
#[derive(Clone, Copy)]
struct Cell(u32);

impl Cell {
    /// The byte that leads here; above 255 where none does.
    fn label(self) -> u32 {
        self.0 & (1 << 31 | 0xff)
    }

    fn has_leaf(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn offset(self) -> usize {
        (self.0 as usize >> 10) << ((self.0 & 1 << 9) >> 6)
    }

    /// Where a leaf's replacement begins.
    fn value(self) -> usize {
        (self.0 & !(1 << 31)) as usize
    }
}

/// A table that can be followed.
pub(super) struct Charsmap {
    bytes: Vec<u8>,
    /// Whether it puts letters and their accents together, as the Unicode normal forms C and KC do.
    pub composes: bool,
}

impl Charsmap {
    /// # Errors
    /// [`Error::TooLarge`], and [`Error::Charsmap`] when following it could lead out of it.
    pub fn checked(key: &str, list: Array<'_>) -> Result<Self, Error> {
        if list.len() > MAX_BYTES {
            let (size, limit) = (list.len() as u64, MAX_BYTES as u64);
            return Err(Error::TooLarge { what: format!("the length of `{key}`"), size, limit });
        }
        let byte = |value: Value<'_>| match value {
            Value::Unsigned(byte) => byte as u8,
            // The same bits.
            Value::Signed(byte) => byte as u8,
            _ => 0,
        };
        let bytes: Vec<u8> = list.iter().map(byte).collect();
        let composes = check(&bytes).map_err(|what| Error::Charsmap { key: key.to_owned(), what })?;
        Ok(Charsmap { bytes, composes })
    }

    pub fn to_base64(&self) -> String {
        base64(&self.bytes)
    }
}

/// Follows every path; whether the table composes.
fn check(bytes: &[u8]) -> Result<bool, &'static str> {
    const OUT: &str = "has a trie that leads out of itself";
    let (size, rest) = bytes.split_first_chunk().ok_or("is shorter than its header")?;
    let (trie, texts) = rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or("ends inside its trie")?;
    let texts = std::str::from_utf8(texts).map_err(|_| "has replacements that are not UTF-8")?;
    let (cells, []) = trie.as_chunks::<4>() else { return Err("has a trie that is not whole cells") };
    let cells: Vec<Cell> = cells.iter().map(|cell| Cell(u32::from_le_bytes(*cell))).collect();
    let root = cells.first().ok_or("has an empty trie")?.offset();
    // Nodes whose children are to be looked at, and those that were met: a trie that is none may lead in circles.
    let mut open = vec![root];
    let mut met = vec![false; cells.len()];
    while let Some(node) = open.pop() {
        // A child is at the node's place with its lowest byte changed.
        if node | 0xff >= cells.len() {
            return Err(OUT);
        }
        for byte in 1..=0xff {
            let Some((next, has_leaf)) = child(&cells, node, byte) else { continue };
            let leaf = cells.get(next).ok_or(OUT)?;
            if has_leaf && !texts.is_char_boundary(leaf.value()) {
                return Err("points at a replacement that is not there");
            }
            if met.get_mut(next).is_some_and(|met| !std::mem::replace(met, true)) {
                open.push(next);
            }
        }
    }
    let mut at = Some((root, false));
    for byte in "e\u{301}".bytes() {
        at = at.and_then(|(node, _)| child(&cells, node, byte));
    }
    let composed = at.filter(|(_, has_leaf)| *has_leaf).and_then(|(leaf, _)| texts.get(cells.get(leaf)?.value()..));
    Ok(composed.is_some_and(|text| text.starts_with("é\0")))
}

/// Where a byte leads from a node, and whether a match ends there.
fn child(cells: &[Cell], node: usize, byte: u8) -> Option<(usize, bool)> {
    let place = node ^ usize::from(byte);
    let cell = cells.get(place).filter(|cell| cell.label() == u32::from(byte))?;
    Some((place ^ cell.offset(), cell.has_leaf()))
}

/// The usual alphabet, padded.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let letter = LETTERS.get(bits >> (18 - 6 * i) & 63).copied().map_or('=', char::from);
            text.push(if i <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trie of 512 cells that replaces `a`, with the texts given.
    fn table(cells: &[(usize, u32)], texts: &[u8]) -> Vec<u8> {
        let mut trie = [0_u32; 512];
        // The root's children are around 256, `a` is at 256 ^ 97 = 353, its leaf at 353 ^ 77 = 300.
        (trie[0], trie[353], trie[300]) = (256 << 10, 97 | 1 << 8 | 77 << 10, 0);
        cells.iter().for_each(|(place, cell)| trie[*place] = *cell);
        let trie: Vec<u8> = trie.iter().flat_map(|cell| cell.to_le_bytes()).collect();
        [&(trie.len() as u32).to_le_bytes()[..], &trie, texts].concat()
    }

    #[test]
    fn tables() {
        let texts = "é\0".as_bytes();
        assert_eq!(check(&table(&[], texts)), Ok(false));
        assert!(check(&table(&[(300, 1)], texts)).unwrap_err().contains("not there"));
        assert!(check(&table(&[(300, 4)], texts)).unwrap_err().contains("not there"));
        assert!(check(&table(&[], &[0xff])).unwrap_err().contains("UTF-8"));
        assert!(check(&table(&[(0, 512 << 10)], texts)).unwrap_err().contains("out of itself"));
        assert!(check(&table(&[(353, 97 | 512 << 10)], texts)).unwrap_err().contains("out of itself"));
        // `a` leads back to the root's children: a text of many is followed, and this ends.
        assert_eq!(check(&table(&[(353, 97 | 97 << 10)], texts)), Ok(false));
        assert!(check(&[1, 0]).unwrap_err().contains("header"));
        assert!(check(&[8, 0, 0, 0, 1]).unwrap_err().contains("inside its trie"));
        assert!(check(&[0, 0, 0, 0]).unwrap_err().contains("empty"));
        assert!(check(&[2, 0, 0, 0, 1, 1]).unwrap_err().contains("whole cells"));
    }

    #[test]
    fn base64_of_every_remainder() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foo\u{ff}?", "Zm9vw78/")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
