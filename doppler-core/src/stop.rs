//! Stop strings in a text that arrives in pieces. Knows nothing of tokens.

/// Looks for stop strings across the borders of pieces and holds back what may be the beginning of one.
///
/// The stop string that is complete first ends the text; of those that end together, the longest. So the cut does not
/// depend on how the text was split into pieces.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// A matcher for `stops`; empty ones are ignored.
    #[must_use]
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Self {
        let stops = stops.iter().map(|s| s.as_ref().to_owned()).filter(|s| !s.is_empty()).collect();
        StopMatcher { stops, held: String::new(), stopped: false }
    }

    /// The text that became certain with `piece`: before a stop string, or not the beginning of one. After a stop
    /// string there is none.
    pub fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        if self.stops.is_empty() {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        if let Some(start) = self.first_complete() {
            self.stopped = true;
            self.held.truncate(start);
            return std::mem::take(&mut self.held);
        }
        let keep = self.stops.iter().map(|stop| open_end(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// Whether a stop string came.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The end of the text without a stop string: what was held is part of it.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the stop string that ends first begins.
    fn first_complete(&self) -> Option<usize> {
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at)));
        found.min().map(|(_, start)| start)
    }
}

/// Length of the longest end of `text` that is a proper beginning of `stop`.
fn open_end(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    // A beginning of `stop` that is cut inside a character ends no text, so `as_bytes` finds whole characters only.
    (1..=longest).rev().find(|n| text.as_bytes().ends_with(&stop.as_bytes()[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool, String) {
        let mut matcher = StopMatcher::new(stops);
        let out = pieces.iter().map(|p| matcher.push(p)).collect();
        let rest = matcher.finish();
        (out, matcher.stopped, rest)
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn by_hand() {
        assert_eq!(run(&[], &["a", "b"]), (owned(&["a", "b"]), false, String::new()));
        assert_eq!(run(&[""], &["a"]), (owned(&["a"]), false, String::new()));
        assert_eq!(
            run(&["###"], &["a#", "#b", "##", "#c", "d"]),
            (owned(&["a", "##b", "", "", ""]), true, String::new())
        );
        assert_eq!(run(&["###"], &["a##"]), (owned(&["a"]), false, "##".to_owned()));
        // After a false start the held text may still end in a beginning.
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), (owned(&["", "", "a", ""]), true, String::new()));
        assert_eq!(run(&["é!"], &["xé", "y"]), (owned(&["x", "éy"]), false, String::new()));
    }

    #[test]
    fn the_first_complete_one_wins_and_then_the_longest() {
        assert_eq!(run(&["b", "abc"], &["abc"]).0, ["a"]);
        assert_eq!(run(&["b", "ab"], &["xab"]).0, ["x"]);
    }

    /// The definition: the shortest beginning of the text that ends in a stop string, without that string.
    fn naive(text: &str, stops: &[String]) -> Option<String> {
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        ends.map(|end| &text[..end]).find_map(|head| {
            let longest = stops.iter().filter(|s| head.ends_with(s.as_str())).map(String::len).max()?;
            Some(head[..head.len() - longest].to_owned())
        })
    }

    proptest! {
        #[test]
        fn as_the_naive_search(
            pieces in prop::collection::vec("[abé]{0,4}", 0..30),
            stops in prop::collection::vec("[abé]{1,5}", 0..4),
        ) {
            let text = pieces.concat();
            let mut matcher = StopMatcher::new(&stops);
            let mut out = String::new();
            let mut fed = String::new();
            for piece in &pieces {
                fed.push_str(piece);
                out.push_str(&matcher.push(piece));
                // What is held is never more than could still become a stop string.
                prop_assert!(matcher.stopped() || stops.is_empty() && out == fed
                    || fed.len() - out.len() < stops.iter().map(String::len).max().unwrap_or(0).max(1));
            }
            let expected = naive(&text, &stops);
            prop_assert_eq!(matcher.stopped(), expected.is_some());
            out.push_str(&matcher.finish());
            prop_assert_eq!(out, expected.unwrap_or(text));
        }
    }
}
