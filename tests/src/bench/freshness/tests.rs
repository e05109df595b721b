//! The simulation agrees with the closed forms.

use super::trial::{Setting, Who};
use super::universe::{Rates, Universe};

fn setting(recall: f64) -> Setting {
    let universe = Universe {
        rates: Rates::LogNormal,
        records: 200,
        recall,
        budget: 0.5,
        weighted: true,
        warm_up_looks: 40.0,
    };
    Setting::new(&universe, 1)
}

#[test]
fn uniform_sampling_is_as_stale_as_its_closed_form_says() {
    for recall in [0.0, 0.9] {
        let setting = setting(recall);
        let measured = setting.run(Who::Uniform, 2).measured();
        let off = (measured / setting.uniform - 1.0).abs();
        assert!(off < 0.03, "{measured} instead of {}", setting.uniform);
    }
}

#[test]
fn the_planner_comes_close_to_the_bound_with_known_rates_and_with_learnt_ones() {
    let setting = setting(0.0);
    let gain = setting.uniform - setting.optimum;
    let captured = |who| (setting.uniform - setting.run(who, 2).measured()) / gain;
    assert!((0.93..1.03).contains(&captured(Who::Known)));
    assert!((0.85..1.03).contains(&captured(Who::Learnt)));
    assert!(captured(Who::OldestFirst) < 0.85);
}

#[test]
fn a_seed_gives_the_same_figures_twice() {
    let setting = setting(0.9);
    let [first, second] = [3, 3].map(|seed| setting.run(Who::Learnt, seed).stale);
    assert_eq!(first.map(f64::to_bits), second.map(f64::to_bits));
}
