use proptest::prelude::*;

use super::*;

fn small() -> Entry {
    Entry {
        id: Id([7; 32]),
        scope: Scope([8; 32]),
        tenant: Tenant::of(b"somebody"),
        route: Route::Messages,
        model: "model".into(),
        tags: vec!["one".into(), "two".into()],
        text: Some("What is a trigger?".into()),
        era: 3,
        stored: 1_700_000_000_000,
        fresh: Duration::from_secs(60),
        kept: Duration::from_secs(600),
        made: Made { input_tokens: Some(12), output_tokens: None, millis: 250 },
        form: Form::Events { ends: vec![4, 9], usage: true },
        status: 200,
        headers: vec![("content-type".into(), Bytes::from_static(b"text/event-stream")), ("x".into(), Bytes::new())],
        body: Bytes::from_static(b"data:body"),
    }
}

fn bytes(entry: &Entry) -> Vec<u8> {
    encode(entry).expect("an entry of ordinary size")
}

#[test]
fn every_flipped_byte_is_refused() {
    let entry = small();
    let good = bytes(&entry);
    for at in 0..good.len() {
        for flip in [1, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            assert!(decode(&Bytes::from(bad), &entry.id).is_err(), "byte {at} flipped by {flip:#x} went unseen");
        }
    }
}

#[test]
fn every_truncation_and_anything_behind_the_end_is_refused() {
    let entry = small();
    let good = Bytes::from(bytes(&entry));
    for length in 0..good.len() {
        assert!(decode(&good.slice(..length), &entry.id).is_err(), "cut to {length} bytes it was taken for whole");
    }
    let longer = [good.as_ref(), b"x"].concat();
    assert_eq!(decode(&Bytes::from(longer), &entry.id), Err(Corrupt::Length));
}

#[test]
fn an_entry_of_another_id_is_refused() {
    let good = Bytes::from(bytes(&small()));
    assert_eq!(decode(&good, &Id([9; 32])), Err(Corrupt::Other));
}

#[test]
fn ends_of_events_beyond_the_body_are_refused() {
    for ends in [vec![4, 10], vec![5, 4]] {
        let entry = Entry { form: Form::Events { ends, usage: false }, ..small() };
        assert_eq!(decode(&Bytes::from(bytes(&entry)), &entry.id), Err(Corrupt::Metadata));
    }
}

#[test]
fn the_body_and_the_headers_are_slices_of_what_was_read() {
    let good = Bytes::from(bytes(&small()));
    let entry = decode(&good, &Id([7; 32])).expect("a good entry");
    let whole = good.as_ptr_range();
    assert!(whole.contains(&entry.body.as_ptr()), "the body was copied");
    assert!(whole.contains(&entry.headers[0].1.as_ptr()), "a header was copied");
}

prop_compose! {
    fn any_entry()(
        (id, scope, tenant, route) in (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 8]>(), 0..Route::ALL.len()),
        (model, tags, text) in (".{0,20}", proptest::collection::vec(".{0,10}", 0..4), proptest::option::of(".{0,200}")),
        (era, stored, fresh, kept) in (any::<u64>(), any::<u64>(), any::<Duration>(), any::<Duration>()),
        (input_tokens, output_tokens, millis) in (any::<Option<u64>>(), any::<Option<u64>>(), any::<u64>()),
        headers in proptest::collection::vec(("[a-z-]{1,12}", proptest::collection::vec(any::<u8>(), 0..40)), 0..5),
        status in any::<u16>(),
        body in proptest::collection::vec(any::<u8>(), 0..2000),
        cuts in proptest::option::of(proptest::collection::vec(0.0..=1.0_f64, 0..20)),
        usage in any::<bool>(),
    ) -> Entry {
        let form = cuts.map_or(Form::Whole, |mut cuts| {
            cuts.sort_by(f64::total_cmp);
            Form::Events { ends: cuts.iter().map(|cut| (cut * body.len() as f64) as u32).collect(), usage }
        });
        Entry {
            id: Id(id),
            scope: Scope(scope),
            tenant: Tenant::of(&tenant),
            route: Route::ALL[route],
            model: model.into(),
            tags: tags.into_iter().map(Into::into).collect(),
            text: text.map(Into::into),
            era, stored, fresh, kept,
            made: Made { input_tokens, output_tokens, millis },
            form,
            status,
            headers: headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            body: body.into(),
        }
    }
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out(entry in any_entry()) {
        prop_assert_eq!(decode(&Bytes::from(bytes(&entry)), &entry.id), Ok(entry));
    }

    #[test]
    fn no_bytes_make_it_panic(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&Bytes::from(noise), &Id([0; 32]));
    }
}
