//! A figure: what is measured, what is to be reached, and what several runs made of it.

use serde::Serialize;

/// What has to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl Reach {
    fn is_reached(self, measured: f64) -> bool {
        match self {
            Self::AtMost(bound) => measured <= bound,
            Self::AtLeast(bound) => measured >= bound,
        }
    }
}

/// Median and spread of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// `None` without values. What is no number counts as the most.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// One figure and its values, one a run.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What is measured.
    pub name: String,
    /// Of the values: `us`, `jobs/s`.
    pub unit: &'static str,
    /// `None` where the figure only stands beside another.
    pub reach: Option<Reach>,
    values: Vec<f64>,
}

/// A figure as one line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    bench: &'a str,
    name: &'a str,
    unit: &'a str,
    reach: Option<Reach>,
    measured: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    runs: usize,
    pass: Option<bool>,
}

impl Figure {
    /// Median and spread of the runs.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(&self.values)
    }

    /// How many values it has.
    pub fn runs(&self) -> usize {
        self.values.len()
    }

    /// Whether the median reaches what is to be reached; `None` where nothing is.
    pub fn is_reached(&self) -> Option<bool> {
        let reach = self.reach?;
        Some(self.spread().is_some_and(|spread| reach.is_reached(spread.median)))
    }

    /// - `bench`: to which it belongs.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON.
    pub fn json_line(&self, bench: &str) -> serde_json::Result<String> {
        let spread = self.spread();
        serde_json::to_string(&Line {
            bench,
            name: &self.name,
            unit: self.unit,
            reach: self.reach,
            measured: spread.map(|spread| spread.median),
            min: spread.map(|spread| spread.min),
            max: spread.map(|spread| spread.max),
            runs: self.runs(),
            pass: self.is_reached(),
        })
    }
}

/// All figures of a bench, in the order in which they were first measured.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Adds the value of one run.
    pub fn record(&mut self, name: &str, unit: &'static str, reach: Option<Reach>, value: f64) {
        if let Some(figure) = self.0.iter_mut().find(|figure| figure.name == name) {
            figure.values.push(value);
        } else {
            self.0.push(Figure { name: name.to_owned(), unit, reach, values: vec![value] });
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Figure] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(reach: Option<Reach>, values: &[f64]) -> Figure {
        Figure { name: "a figure".to_owned(), unit: "us", reach, values: values.to_vec() }
    }

    #[test]
    fn the_median_is_in_the_middle_and_the_spread_reaches_from_least_to_most() {
        let of = |values: &[f64]| Spread::of(values).map(|s| (s.median, s.min, s.max));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 10.0]), Some((3.0, 1.0, 10.0)));
        assert_eq!(of(&[7.0]), Some((7.0, 7.0, 7.0)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_median_decides_whether_a_figure_is_reached() {
        let reached = |reach, values: &[f64]| figure(reach, values).is_reached();
        assert_eq!(reached(Some(Reach::AtMost(20.0)), &[20.0]), Some(true));
        assert_eq!(reached(Some(Reach::AtMost(20.0)), &[19.0, 21.0, 30.0]), Some(false));
        assert_eq!(reached(Some(Reach::AtLeast(5.0)), &[5.0, 9.0, 1.0]), Some(true));
        assert_eq!(reached(Some(Reach::AtLeast(5.0)), &[4.9]), Some(false));
        assert_eq!(reached(None, &[4.9]), None);
    }

    #[test]
    fn a_figure_that_is_no_number_or_was_never_measured_is_not_reached() {
        for reach in [Reach::AtMost(20.0), Reach::AtLeast(5.0)] {
            assert_eq!(figure(Some(reach), &[f64::NAN]).is_reached(), Some(false));
            assert_eq!(figure(Some(reach), &[]).is_reached(), Some(false));
        }
    }

    #[test]
    fn a_figure_is_one_line_of_json() {
        let line = figure(Some(Reach::AtMost(20.0)), &[12.0, 11.0, 14.0]).json_line("queue");
        assert_eq!(
            line.unwrap(),
            r#"{"bench":"queue","name":"a figure","unit":"us","reach":{"at_most":20.0},"measured":12.0,"min":11.0,"max":14.0,"runs":3,"pass":true}"#
        );
    }

    #[test]
    fn values_of_one_name_are_runs_of_one_figure() {
        let mut figures = Figures::default();
        for value in [1.0, 5.0, 3.0] {
            figures.record("one", "us", None, value);
            figures.record("other", "ms", None, value * 2.0);
        }
        let median = |figure: &Figure| figure.spread().map(|spread| spread.median);
        assert_eq!(figures.all().iter().map(median).collect::<Vec<_>>(), [Some(3.0), Some(6.0)]);
        assert_eq!(figures.all().iter().map(Figure::runs).collect::<Vec<_>>(), [3, 3]);
    }
}
