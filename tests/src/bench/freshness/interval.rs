//! A mean over seeds, and how far off it may be.

/// Quantiles of Student's distribution for 95 %, both sides, of 1, 2, ... degrees of freedom.
const STUDENT: [f64; 10] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23];

/// The mean, and half the width of its 95 % confidence interval; infinite for one value.
pub(super) fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.iter().fold(0.0, |count, _| count + 1.0);
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    let Some(free) = values.len().checked_sub(2) else { return (mean, f64::INFINITY) };
    let quantile = STUDENT.get(free).copied().unwrap_or(2.0);
    (mean, quantile * (squares / (count - 1.0) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_student() {
        let (middle, half) = mean(&[1.0, 2.0, 3.0]);
        // A standard deviation of 1 over three values: 4.30/sqrt(3).
        assert!((middle - 2.0).abs() < 1e-12 && (half - 2.483).abs() < 1e-2, "{middle} {half}");
        assert_eq!(mean(&[5.0]), (5.0, f64::INFINITY));
    }
}
