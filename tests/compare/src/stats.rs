//! Medians, percentiles, and ratios with their scatter.

/// The value below which `share` (0 to 1) of the values lie; the values need not be in order.
pub fn percentile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Rounds below which all of them count as scatter: the middle half of a few is next to nothing.
const FEW_ROUNDS: usize = 8;

/// A ratio of two figures over many rounds, and its scatter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The geometric mean (that of 2 and 1/2 is 1) of the rounds' ratios without the quarter of them, rounded up, at
    /// either end; so one in five may be anything, and a second one as well.
    pub mean: f64,
    /// The scatter: the least of the ratios that count, which are all of them in fewer than eight rounds.
    pub low: f64,
    /// The most of them.
    pub high: f64,
}

impl Ratio {
    /// Returns the ratio of rounds that found these; None if `ratios` is empty.
    pub fn of(ratios: &[f64]) -> Option<Self> {
        let mut ratios = ratios.to_vec();
        ratios.sort_by(f64::total_cmp);
        let end = ratios.len().div_ceil(4).min(ratios.len().saturating_sub(1) / 2);
        let middle = &ratios[end..ratios.len() - end];
        let sum: f64 = middle.iter().map(|ratio| ratio.ln()).sum();
        let mean = (sum / middle.len() as f64).exp();
        let scatter = if ratios.len() < FEW_ROUNDS { &ratios } else { middle };
        Some(Self { mean, low: *scatter.first()?, high: *scatter.last()? })
    }

    /// The ratio the other way round.
    pub fn inverse(self) -> Self {
        Self { mean: 1.0 / self.mean, low: 1.0 / self.high, high: 1.0 / self.low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
        for (share, expected) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            assert_eq!(percentile(&mut values, share), Some(expected), "{share}");
        }
        assert_eq!(percentile(&mut [], 0.5), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0], Some(5.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
        ] {
            assert_eq!(median(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn the_mean_of_ratios_does_not_ask_which_side_is_divided() {
        for (ratios, expected) in [
            (vec![2.0, 0.5], 1.0),
            (vec![1.0, 4.0], 2.0),
            (vec![3.0], 3.0),
            (vec![4.0, 16.0, 4.0, 0.01, 4.0], 4.0),
            (vec![4.0, 0.02, 4.0, 0.01, 4.0], 4.0),
            (vec![0.01, 0.1, 2.0, 8.0, 100.0, 1000.0], 4.0),
        ] {
            let mean = Ratio::of(&ratios).unwrap().mean;
            let upside_down: Vec<f64> = ratios.iter().map(|ratio| 1.0 / ratio).collect();
            let other = Ratio::of(&upside_down).unwrap().mean;
            assert!((mean - expected).abs() < 1e-9 && (mean * other - 1.0).abs() < 1e-9, "{ratios:?}");
        }
        assert_eq!(Ratio::of(&[]), None);
    }

    #[test]
    fn the_scatter_is_the_middle_half_or_everything_in_a_few_rounds() {
        for (ratios, scatter) in [
            (vec![3.0, 1.0, 2.0], [1.0, 3.0]),
            (vec![1.0; 1], [1.0, 1.0]),
            (vec![8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [3.0, 6.0]),
        ] {
            let ratio = Ratio::of(&ratios).unwrap();
            assert_eq!([ratio.low, ratio.high], scatter, "{ratios:?}");
            assert_eq!([ratio.inverse().high, ratio.inverse().low], scatter.map(|end| 1.0 / end));
        }
    }
}
