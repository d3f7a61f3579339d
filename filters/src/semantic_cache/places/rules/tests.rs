use super::*;
use crate::ask::Tenant;
use crate::semantic_cache::entry::Id;
use crate::semantic_cache::places::testing::{Folder, entry, id};

fn rules() -> Rules {
    Rules::open(None).expect("nothing to read")
}

fn every() -> Vec<Purge> {
    let tenant = Tenant::of(b"somebody");
    vec![
        Purge::All,
        Purge::Tenant(tenant),
        Purge::Model("model".into()),
        Purge::Model("with a space".into()),
        Purge::Tag(None, "tag".into()),
        Purge::Tag(None, "tag with space".into()),
        Purge::Tag(Some(tenant), "".into()),
        Purge::Id(Id([3; 32])),
    ]
}

#[test]
fn names_lead_back() {
    for what in every() {
        assert_eq!(Purge::named(&what.name()), Some(what.clone()), "{}", what.name());
    }
    assert_eq!(Purge::named("tag"), None);
    assert_eq!(Purge::named("id 12"), None);
    assert_eq!(Purge::named("else"), None);
}

#[test]
fn a_rule_hides_what_it_is_about_of_earlier_eras_and_nothing_else() {
    let tenant = Tenant::of(b"somebody");
    let other = Tenant::of(b"else");
    let hiding = [
        Purge::All,
        Purge::Tenant(tenant),
        Purge::Model("model".into()),
        Purge::Tag(None, "tag".into()),
        Purge::Tag(Some(tenant), "tag".into()),
        Purge::Id(id(1)),
    ];
    for what in hiding {
        let rules = rules();
        let (rule, _) = rules.make(what.clone());
        assert!(rules.hides(&entry(1)), "{what:?}");
        assert!(!rules.hides(&Entry { era: rule.era, ..entry(1) }), "{what:?}: asked after it");
    }
    let sparing = [
        Purge::Tenant(other),
        Purge::Model("mode".into()),
        Purge::Tag(None, "ta".into()),
        Purge::Tag(Some(other), "tag".into()),
        Purge::Id(id(2)),
    ];
    for what in sparing {
        let rules = rules();
        rules.make(what.clone()).1.expect("nothing to write");
        assert!(!rules.hides(&entry(1)), "{what:?}");
    }
}

#[test]
fn eras_only_go_up() {
    let rules = rules();
    let far = now() + 1_000_000;
    rules.take(vec![Rule { what: Purge::All, era: far, until: far }]).expect("nothing to write");
    let (rule, _) = rules.make(Purge::All);
    assert_eq!((rule.era, rules.era()), (far + 1, far + 1), "also where somebody's clock is ahead");
    rules.take(vec![Rule { what: Purge::All, era: 5, until: far }]).expect("nothing to write");
    assert_eq!(rules.era(), far + 1);
    assert!(rules.hides(&Entry { era: far, ..entry(1) }), "an older rule does not replace a newer one");
}

#[test]
fn rules_are_read_back_and_a_damaged_file_hides_everything() {
    let folder = Folder::new();
    let path = folder.0.join("rules.log");
    let rules = Rules::open(Some(&path)).expect("a new file");
    every().into_iter().for_each(|what| rules.make(what).1.expect("room"));
    let era = rules.era();
    drop(rules);
    let rules = Rules::open(Some(&path)).expect("a file");
    assert_eq!((rules.era(), rules.told(false).len()), (era, every().len()));
    drop(rules);
    let whole = std::fs::read(&path).expect("the file");
    let mut bad = whole.clone();
    bad[20] ^= 1;
    std::fs::write(&path, bad).expect("the file");
    let rules = Rules::open(Some(&path)).expect("a file");
    assert!(rules.hides(&entry(77)), "what the lost rules were about is not known");
    assert!(!rules.hides(&Entry { era: rules.era(), ..entry(77) }));
}

#[test]
fn too_many_rules_become_one_that_hides_no_less() {
    let rules = rules();
    let mut eras = Vec::new();
    for number in 0..MOST as u32 + 1 {
        eras.push(rules.make(Purge::Id(id(number))).0.era);
    }
    rules.sweep();
    let held = rules.told(true).len() + rules.told(false).len();
    assert!(held <= MOST, "{held} rules");
    for number in (0..=MOST as u32).step_by(97) {
        let before = Entry { era: eras[number as usize] - 1, ..entry(number) };
        assert!(rules.hides(&before), "rule {number} was lost");
    }
    let unrelated = Entry { era: rules.era() - 1, ..entry(999_999) };
    assert!(!rules.hides(&unrelated), "the newer half is still exact");
}

#[test]
fn what_all_know_is_no_longer_to_be_told() {
    let rules = rules();
    let (rule, _) = rules.make(Purge::All);
    assert_eq!(rules.told(false), std::slice::from_ref(&rule));
    assert!(rules.take(vec![rule.clone()]).expect("nothing to write"));
    assert_eq!((rules.told(false), rules.told(true)), (Vec::new(), vec![rule]));
}
