//! Integrals of functions that fall off.

/// Gauss-Legendre with eight points: nodes and weights on -1 to 1, of the positive half.
const NODES: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];
const PANELS: u32 = 2;

/// The integrals over x from 0 to `end` of both parts of `f`, a function that begins to fall on
/// the scale `scale` and may have a long tail: 16 points, evenly spread over ln(1 + x/scale).
pub(super) fn over_decay(end: f64, scale: f64, f: impl Fn(f64) -> (f64, f64)) -> (f64, f64) {
    let half = (end / scale).ln_1p() / f64::from(2 * PANELS);
    let (mut first, mut second) = (0.0, 0.0);
    for panel in 0..PANELS {
        let middle = half * f64::from(2 * panel + 1);
        for (node, weight) in NODES {
            for at in [middle - half * node, middle + half * node] {
                let x = scale * at.exp_m1();
                let (one, other) = f(x.min(end));
                // dx = (scale + x) du.
                first += weight * (scale + x) * one;
                second += weight * (scale + x) * other;
            }
        }
    }
    (first * half, second * half)
}
