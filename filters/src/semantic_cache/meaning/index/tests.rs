use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const SCOPE: Scope = Scope([1; 32]);
const OTHER: Scope = Scope([2; 32]);

fn id(number: u32) -> Id {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_le_bytes());
    Id(id)
}

/// Numbers that look random, the same for the same seed.
fn vector(seed: u32) -> Vector {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let numbers: Vec<f32> = (0..384)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect();
    Vector::new(&numbers).expect("a direction")
}

fn card(number: u32) -> Card {
    let text = number.to_string().into();
    Card { id: id(number), text, until: 100, vector: vector(number), gate: Some(vector(number)) }
}

fn ids(found: &[Found]) -> Vec<Id> {
    found.iter().map(|found| found.id).collect()
}

proptest! {
    #[test]
    fn a_search_finds_what_looking_at_each_finds(steps in prop::collection::vec((0u32..60, any::<bool>()), 1..150), asked in 0u32..60) {
        let index = Index::new(1_000);
        let mut kept = HashMap::new();
        for (number, comes) in steps {
            if comes {
                index.insert(&SCOPE, card(number));
                kept.insert(number, vector(number));
            } else {
                index.remove(&SCOPE, &id(number));
                kept.remove(&number);
            }
        }
        let asked = vector(asked);
        let mut expected: Vec<(u32, f32)> = kept.iter().map(|(number, vector)| (*number, vector.cosine(&asked))).collect();
        expected.sort_by(|left, right| right.1.total_cmp(&left.1));
        expected.truncate(8);
        let expected: Vec<Id> = expected.into_iter().map(|(number, _)| id(number)).collect();
        prop_assert_eq!(ids(&index.nearest(&SCOPE, &asked, 8, 0)), expected);
        prop_assert_eq!(index.len(), kept.len());
        prop_assert_eq!(index.scopes(), usize::from(!kept.is_empty()), "an empty scope is gone");
        prop_assert_eq!(index.nearest_gate(&SCOPE, &asked).is_some(), !kept.is_empty());
    }
}

/// Beyond the size up to which all vectors are compared, signs choose which are.
#[test]
fn the_two_steps_find_near_ones_among_many() {
    let index = Index::new(20_000);
    (0..10_000).for_each(|number| index.insert(&SCOPE, card(number)));
    for number in [0, 77, 5_000, 9_999] {
        let mut near: Vec<f32> = vector(number).values.iter().map(|value| f32::from(*value)).collect();
        near.iter_mut().step_by(5).for_each(|value| *value = 0.0);
        let near = Vector::new(&near).expect("a direction");
        assert_eq!(index.nearest(&SCOPE, &near, 1, 0)[0].id, id(number), "cosine {}", near.cosine(&vector(number)));
    }
}

#[test]
fn what_is_removed_or_over_is_not_found() {
    let index = Index::new(10);
    (0..3).for_each(|number| index.insert(&SCOPE, card(number)));
    assert_eq!(index.nearest(&SCOPE, &vector(1), 1, 99)[0].id, id(1));
    assert!(index.nearest(&SCOPE, &vector(1), 8, 100).is_empty(), "their time is over");
    index.remove(&SCOPE, &id(1));
    assert_ne!(index.nearest(&SCOPE, &vector(1), 1, 0)[0].id, id(1));
    assert!(index.nearest(&OTHER, &vector(0), 8, 0).is_empty(), "another scope");
}

#[test]
fn the_oldest_of_all_scopes_leave_first() {
    let index = Index::new(4);
    index.insert(&OTHER, card(0));
    (1..=3).for_each(|number| index.insert(&SCOPE, card(number)));
    index.insert(&OTHER, card(0));
    index.insert(&SCOPE, card(4));
    assert_eq!(index.len(), 4);
    assert_eq!(index.len_of(&OTHER), 1, "it was put in again, so it is not the oldest");
    assert_ne!(index.nearest(&SCOPE, &vector(1), 1, 0)[0].id, id(1), "it was");
    (5..9).for_each(|number| index.insert(&SCOPE, card(number)));
    assert_eq!((index.len(), index.scopes()), (4, 1));
}

#[test]
fn what_comes_and_goes_leaves_nothing_behind() {
    let index = Index::new(100);
    for number in 0..20_000 {
        index.insert(&SCOPE, card(number % 50));
        index.remove(&SCOPE, &id(number % 50));
    }
    assert_eq!((index.len(), index.scopes()), (0, 0));
    assert!(index.bytes() < 1_000_000, "{} bytes", index.bytes());
}

#[test]
fn changes_from_many_threads_lose_nothing() {
    let index = Arc::new(Index::new(10_000));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let index = index.clone();
            std::thread::spawn(move || {
                for number in 0..300 {
                    index.insert(&SCOPE, card(thread * 1_000 + number));
                    index.nearest(&SCOPE, &vector(number), 1, 0);
                    if number % 2 == 0 {
                        index.remove(&SCOPE, &id(thread * 1_000 + number));
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    assert_eq!((index.len(), index.len_of(&SCOPE)), (600, 600));
}
