//! Which values are written beside an axis: round ones, few enough not to crowd.

use crate::load::report::figure::fixed;

/// What a linear axis aims at.
const STEPS: f64 = 5.0;

/// Of time, in seconds.
const TIME_STEPS: [f64; 20] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0,
    21_600.0, 43_200.0,
];
const MOST_TIMES: f64 = 9.0;
/// Of ones, twos and fives.
const MOST_LOGARITHMIC: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub text: String,
}

/// From 0 to the first round number that is not below the greatest value.
pub fn linear(greatest: f64) -> Vec<Tick> {
    let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
    let rough = greatest / STEPS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let decimals = if (step / power - 2.5).abs() < 0.01 { 1 } else { 0 } - power.log10().round() as i32;
    let last = (greatest / step - 1e-9).ceil() as i32;
    let text = |at| fixed(at, usize::try_from(decimals).unwrap_or(0));
    (0..=last.max(1)).map(|place| f64::from(place) * step).map(|at| Tick { at, text: text(at) }).collect()
}

/// Ones, twos and fives, or powers of ten alone where those would crowd; both ends are ticks.
pub fn logarithmic(low: f64, high: f64) -> Vec<Tick> {
    let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let all: Vec<f64> =
        decades.clone().flat_map(|power| [1.0, 2.0, 5.0].map(|times| times * 10_f64.powi(power))).collect();
    let all = between(&all, low, high);
    if all.len() <= MOST_LOGARITHMIC {
        return all.iter().map(|at| power_tick(*at)).collect();
    }
    let tens: Vec<f64> = decades.map(|power| 10_f64.powi(power)).collect();
    between(&tens, low, high).iter().map(|at| power_tick(*at)).collect()
}

/// From the last that is not above the low end to the first that is not below the high one.
fn between(all: &[f64], low: f64, high: f64) -> &[f64] {
    let first = all.iter().rposition(|at| *at <= low * 1.000_001).unwrap_or(0);
    let last = all.iter().position(|at| *at >= high * 0.999_999).unwrap_or(all.len() - 1);
    &all[first..=last.max(first)]
}

fn power_tick(at: f64) -> Tick {
    let decimals = -(at.log10() + 1e-9).floor();
    Tick { at, text: fixed(at, decimals.max(0.0) as usize) }
}

pub fn time(seconds: f64) -> Vec<Tick> {
    let step = TIME_STEPS.into_iter().find(|step| seconds / step <= MOST_TIMES);
    let step = step.unwrap_or_else(|| 86_400.0 * (seconds / 86_400.0 / MOST_TIMES).ceil());
    let text = |at: f64| match seconds {
        0.0..=180.0 => format!("{} s", fixed(at, usize::from(step < 1.0))),
        180.0..=7200.0 => format!("{}:{:02}", at as u64 / 60, at as u64 % 60),
        _ => format!("{} h {:02}", at as u64 / 3600, at as u64 % 3600 / 60),
    };
    let last = (seconds / step + 1e-9).floor() as u32;
    (0..=last).map(|place| f64::from(place) * step).map(|at| Tick { at, text: text(at) }).collect()
}

/// 0, 50, 90, 99, … as far as so many nines reach.
pub fn percentiles(nines: f64) -> Vec<Tick> {
    let whole = (1..=(nines + 1e-9).floor() as i32).map(|nines| 1.0 - 10_f64.powi(-nines));
    [0.0, 0.5].into_iter().chain(whole).map(|at| Tick { at, text: percent(at) }).collect()
}

/// A quantile in per cent, with the nines that it has.
pub fn percent(quantile: f64) -> String {
    let nines = -(1.0 - quantile).max(1e-12).log10();
    let broken = nines > 1.01 && (nines - nines.round()).abs() > 0.01;
    let decimals = (nines + 1e-6).floor().max(2.0) as usize - 2 + usize::from(broken);
    format!("{:.decimals$} %", quantile * 100.0)
}
