//! Both machines alone, on a clock that stands still.

use super::*;

/// Looks again and again, `EVERY` apart; what is told, with the time since the start.
struct Watch {
    scaling: Scaling,
    began: Instant,
    now: Instant,
    refused: u64,
}

impl Watch {
    fn new() -> Self {
        let now = Instant::now();
        Watch { scaling: Scaling::default(), began: now, now, refused: 0 }
    }

    /// For so many seconds the same; `refused` is what is refused between two looks.
    fn see(&mut self, seconds: f64, seen: Seen) -> Vec<(f64, Change)> {
        let looks = (seconds / EVERY.as_secs_f64()).round() as u64;
        let mut told = Vec::new();
        for _ in 0..looks {
            self.refused += seen.refused;
            let changes = self.scaling.look(self.now, Seen { refused: self.refused, ..seen });
            told.extend(changes.into_iter().map(|change| ((self.now - self.began).as_secs_f64(), change)));
            self.now += EVERY;
        }
        told
    }
}

fn of(outriggers: u32, backends: u32) -> Seen {
    Seen { outriggers: Some(outriggers), backends: Some(backends), held: 0, refused: 0 }
}

fn held(held: u64) -> Seen {
    Seen { held, ..of(1, 1) }
}

fn replicas(of: Of, direction: Direction, from: u32, to: u32) -> Change {
    Change::Replicas { of, direction, from, to }
}

#[test]
fn the_first_number_is_no_change_and_is_known_once_it_has_stood() {
    let mut watch = Watch::new();
    assert_eq!(watch.see(2.0, of(2, 3)), []);
    assert_eq!(watch.scaling.replicas(Of::Outrigger), None, "it has not stood yet");
    assert_eq!(watch.see(4.0, of(2, 3)), []);
    let known = Of::ALL.map(|of| watch.scaling.replicas(of));
    assert_eq!(known, [Some(2), Some(3)]);
}

#[test]
fn a_number_that_stands_is_told_once_with_its_direction() {
    let mut watch = Watch::new();
    watch.see(5.0, of(1, 2));
    let told = watch.see(10.0, of(3, 1));
    let at = 5.0 + STANDS.as_secs_f64();
    let up = (at, replicas(Of::Outrigger, Direction::Up, 1, 3));
    let down = (at, replicas(Of::Backend, Direction::Down, 2, 1));
    assert_eq!(told, [up, down], "each once, after it has stood");
}

#[test]
fn a_rollout_is_one_change_and_a_number_that_comes_back_is_none() {
    let mut watch = Watch::new();
    watch.see(5.0, of(1, 4));
    let mut told = Vec::new();
    for backends in [5, 6, 5, 6, 7] {
        told.extend(watch.see(1.5, of(1, backends)));
    }
    told.extend(watch.see(5.0, of(1, 7)));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].1, replicas(Of::Backend, Direction::Up, 4, 7));
    assert_eq!(watch.see(2.0, of(1, 3)), [], "one that is late with its sign of life");
    assert_eq!(watch.see(5.0, of(1, 7)), []);
}

#[test]
fn a_number_that_never_stands_is_taken_as_it_is_after_a_while() {
    let mut watch = Watch::new();
    watch.see(5.0, of(1, 4));
    let mut told = Vec::new();
    for look in 0..80 {
        told.extend(watch.see(0.5, of(1, 5 + look % 2)));
    }
    let at = 5.0 + PATIENCE.as_secs_f64();
    assert_eq!(told.first().map(|(at, _)| *at), Some(at), "{told:?}");
}

#[test]
fn what_cannot_be_known_stands_as_it_was() {
    let mut watch = Watch::new();
    watch.see(5.0, of(3, 1));
    watch.see(2.0, of(2, 1));
    assert_eq!(watch.see(60.0, Seen { outriggers: None, ..of(3, 1) }), [], "Redis is lost");
    assert_eq!(watch.scaling.replicas(Of::Outrigger), Some(3));
    assert_eq!(watch.see(2.0, of(2, 1)), [], "it must stand anew");
    assert_eq!(watch.see(5.0, of(2, 1)).len(), 1);
}

#[test]
fn a_burst_that_fits_a_moment_later_is_no_pressure() {
    let mut watch = Watch::new();
    watch.see(5.0, of(1, 1));
    assert_eq!(watch.see(1.5, held(40)), []);
    assert_eq!(watch.see(20.0, held(0)), []);
    assert!(!watch.scaling.is_pressed());
}

#[test]
fn pressure_lasts_from_the_first_that_is_held_to_the_last_and_then_says_how_long() {
    let mut watch = Watch::new();
    watch.see(5.0, of(1, 1));
    let told = watch.see(20.0, held(7));
    assert_eq!(told, [(7.0, Change::Pressure { held: 7 })], "once it has lasted for a moment");
    assert!(watch.scaling.is_pressed());
    assert_eq!(watch.see(4.0, held(0)), [], "it may come back");
    assert_eq!(watch.see(6.0, held(1)), [], "and does");
    let told = watch.see(10.0, held(0));
    let relief = Change::Relief { after: Duration::from_secs(30), scaled: Scaled::Nothing };
    assert_eq!(told, [(40.0, relief)], "the time of calm that it takes to be sure is not a part of it");
    assert!(!watch.scaling.is_pressed());
}

#[test]
fn what_is_refused_for_want_of_room_is_pressure_though_nobody_waits() {
    let mut watch = Watch::new();
    watch.see(5.0, of(1, 1));
    let told = watch.see(5.0, Seen { refused: 3, ..of(1, 1) });
    assert_eq!(told, [(7.0, Change::Pressure { held: 0 })]);
    let mut late = Watch::new();
    late.refused = 1_000;
    assert_eq!(late.see(20.0, of(1, 1)), [], "what was refused before the first look is not told anew");
}

#[test]
fn the_relief_names_who_was_added_meanwhile() {
    let pressed = |outriggers, backends| Seen { held: 5, ..of(outriggers, backends) };
    let cases = [
        (pressed(2, 1), Scaled::Outrigger),
        (pressed(1, 2), Scaled::Backend),
        (pressed(2, 2), Scaled::Backend),
        (pressed(1, 1), Scaled::Nothing),
    ];
    for (then, expected) in cases {
        let mut watch = Watch::new();
        watch.see(5.0, of(1, 1));
        watch.see(10.0, pressed(1, 1));
        watch.see(2.0, then);
        let told = watch.see(10.0, Seen { held: 0, ..then });
        let relief = told.iter().find_map(|(_, change)| match change {
            Change::Relief { after, scaled } => Some((*after, *scaled)),
            _ => None,
        });
        let expected = Some((Duration::from_secs(12), expected));
        assert_eq!(relief, expected, "also of one that is sure only after the last was held");
    }
}

#[test]
fn who_comes_when_it_is_over_or_goes_is_not_named() {
    let mut watch = Watch::new();
    watch.see(5.0, of(1, 2));
    watch.see(10.0, Seen { held: 5, ..of(1, 2) });
    watch.see(5.0, Seen { held: 5, ..of(1, 1) });
    watch.see(1.0, of(1, 1));
    let told = watch.see(10.0, of(1, 2));
    let scaled = told.iter().find_map(|(_, change)| match change {
        Change::Relief { scaled, .. } => Some(*scaled),
        _ => None,
    });
    assert_eq!(scaled, Some(Scaled::Nothing), "{told:?}");
}

#[test]
fn what_is_told_is_written_in_these_words() {
    let words = |change: Change| serde_json::to_value(change).unwrap();
    let up = json!({ "what": "replicas", "of": "backend", "direction": "up", "from": 1, "to": 2 });
    assert_eq!(words(replicas(Of::Backend, Direction::Up, 1, 2)), up);
    assert_eq!(words(Change::Pressure { held: 3 }), json!({ "what": "pressure", "held": 3 }));
    let relief = Change::Relief { after: Duration::from_millis(1_500), scaled: Scaled::Outrigger };
    assert_eq!(words(relief), json!({ "what": "relief", "after_ms": 1500, "scaled": "outrigger" }));
}
