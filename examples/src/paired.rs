//! Two configurations against each other: times in pairs, and how sure their difference is.

/// How much longer B takes than A, in percent of A: the mean of the pairs, and the interval that holds the true one in 95
/// of 100 comparisons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The middle.
    pub percent: f64,
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Difference {
    /// Of pairs `(a, b)` that were measured one right after the other. `None` for fewer than two.
    #[must_use]
    pub fn of(pairs: &[(f64, f64)]) -> Option<Difference> {
        let count = pairs.len() as f64;
        if pairs.len() < 2 {
            return None;
        }
        // Logarithms, so that A against B is the reverse of B against A.
        let logs: Vec<f64> = pairs.iter().map(|(a, b)| (b / a).ln()).collect();
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let half = student(pairs.len() - 1) * (variance / count).sqrt();
        let percent = |log: f64| (log.exp() - 1.0) * 100.0;
        Some(Difference { percent: percent(mean), low: percent(mean - half), high: percent(mean + half) })
    }

    /// In words.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match self {
            d if d.high < 0.0 => "B is faster",
            d if d.low > 0.0 => "A is faster",
            _ => "no difference was found",
        }
    }
}

/// The 0.975 quantile of Student's distribution.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    // From there on, the last one errs on the side of doubt, by 4 % at most.
    TABLE[freedom.clamp(1, TABLE.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Logarithms 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, half width 4.303 · 0.1 / √3.
        let pairs = [0.1f64, 0.2, 0.3].map(|log| (2.0, 2.0 * log.exp()));
        let Difference { percent, low, high } = Difference::of(&pairs).unwrap();
        let half = 4.303 * 0.1 / 3f64.sqrt();
        for (value, log) in [(percent, 0.2), (low, 0.2 - half), (high, 0.2 + half)] {
            assert!((value - (log.exp() - 1.0) * 100.0).abs() < 1e-9);
        }
        assert_eq!(Difference::of(&pairs).unwrap().verdict(), "no difference was found");
        assert_eq!(Difference::of(&[(1.0, 2.0), (1.0, 2.1), (1.1, 2.0)]).unwrap().verdict(), "A is faster");
        assert_eq!(Difference::of(&pairs[..1]), None);
    }
}
