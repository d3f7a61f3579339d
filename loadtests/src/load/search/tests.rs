use super::{Bounds, Found, Probe, search};

const BOUNDS: Bounds = Bounds { min: 100.0, max: 10_000.0, precision: 1.03, searches: 5, confidence: 0.95 };

/// A target that meets a rate with a chance that falls from 1 to 0 around its limit, on a scale of the logarithm.
async fn target(limit: f64, scale: f64, draw: &mut fastrand::Rng) -> Found {
    let probe = async |rate: f64| {
        let chance = 1.0 / (1.0 + ((rate / limit).ln() / scale).exp());
        Ok(Probe { rate, met: draw.f64() < chance, lagged: false })
    };
    search(BOUNDS, probe).await.unwrap()
}

#[tokio::test]
async fn a_sharp_limit_is_found_within_the_precision() {
    let mut draw = fastrand::Rng::with_seed(1);
    for limit in [101.0, 333.0, 5000.0, 9900.0] {
        let found = target(limit, 1e-6, &mut draw).await;
        let rate = found.rate.unwrap();
        assert!((rate / limit).ln().abs() < BOUNDS.precision.ln(), "{rate} for {limit}");
        assert!(found.low.unwrap() < rate && rate < found.high.unwrap(), "{found:?}");
        assert!(!found.beyond && !found.limited_by_lag);
    }
}

#[tokio::test]
async fn the_interval_holds_a_blurred_limit_about_as_often_as_it_says() {
    let mut draw = fastrand::Rng::with_seed(2);
    let (mut held, mut probes) = (0, 0);
    for _ in 0..400 {
        let found = target(1000.0, 0.03, &mut draw).await;
        held += u32::from(found.low.unwrap() <= 1000.0 && 1000.0 <= found.high.unwrap());
        probes += found.probes.len();
    }
    assert!(held >= 360, "95 % are promised, and of 400 intervals {held} hold the limit");
    assert!(probes < 400 * 45, "{} probes a search", probes / 400);
}

#[tokio::test]
async fn what_is_beyond_or_below_the_bounds_is_told() {
    let mut draw = fastrand::Rng::with_seed(3);
    let found = target(1e6, 1e-6, &mut draw).await;
    assert!(found.beyond && (found.rate.unwrap() / BOUNDS.max - 1.0).abs() < 1e-9, "{found:?}");
    assert_eq!(found.probes.len(), 2, "the least and the greatest");
    let found = target(1.0, 1e-6, &mut draw).await;
    assert_eq!((found.rate, found.probes.len()), (None, 1), "one probe says it");
}

#[tokio::test]
async fn a_limit_that_is_the_load_testers_own_is_told() {
    let probe = async |rate: f64| Ok(Probe { rate, met: rate < 700.0, lagged: rate >= 700.0 });
    assert!(search(BOUNDS, probe).await.unwrap().limited_by_lag);
}

#[tokio::test]
async fn bounds_that_are_none_are_refused() {
    let probe = async |rate: f64| Ok(Probe { rate, met: true, lagged: false });
    assert!(search(Bounds { min: 5.0, max: 5.0, ..BOUNDS }, probe).await.is_err());
}
