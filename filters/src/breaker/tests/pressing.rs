//! What presses from without, and what becomes of requests then.

use super::*;

const LEASE: Duration = Duration::from_secs(10);

fn pressed(house: &House, name: &str, pressure: Pressure) {
    assert!(house.fleet.press(name, pressure, LEASE), "there is a backend {name}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_to_be_avoided_is_asked_only_where_no_other_has_room() {
    for balance in ["least_in_flight", "round_robin", "prefix"] {
        let slow = Script::late(Duration::from_secs(1), "{}");
        let room = json!({ "balance": balance, "admission": { "adaptive": false, "initial_limit": 2, "max_limit": 2, "min_limit": 1 } });
        let house = house(room, &[std::slice::from_ref(&slow), std::slice::from_ref(&slow)]);
        pressed(&house, "a", Pressure::Avoid);
        let two = futures::future::join_all((0..2).map(|_| house.ask())).await;
        assert!(two.iter().all(Result::is_ok));
        assert_eq!(house.calls(), [0, 2], "{balance}: the other has room");
        let four = futures::future::join_all((0..4).map(|_| house.ask())).await;
        assert!(four.iter().all(Result::is_ok));
        assert_eq!(house.calls(), [2, 4], "{balance}: it is asked before anybody waits");
        assert_eq!(house.state(0), "closed", "to be avoided is no fault");
        pressed(&house, "a", Pressure::None);
        futures::future::join_all((0..4).map(|_| house.ask())).await;
        assert_eq!(house.calls(), [4, 6], "{balance}: as before");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_waits_where_it_is_soonest() {
    let slow = Script::late(Duration::from_millis(300), "{}");
    let room = json!({ "admission": { "adaptive": false, "initial_limit": 1, "max_limit": 1, "min_limit": 1 } });
    let house = house(room, &[std::slice::from_ref(&slow), std::slice::from_ref(&slow)]);
    pressed(&house, "a", Pressure::Avoid);
    let all = futures::future::join_all((0..4).map(|_| house.ask())).await;
    assert!(all.iter().all(Result::is_ok), "nobody is refused where one that is to be avoided can answer");
    assert_eq!(house.calls().iter().sum::<usize>(), 4);
    assert!(house.calls()[0] >= 1, "{:?}", house.calls());
}

#[tokio::test(start_paused = true)]
async fn alone_one_that_is_to_be_avoided_is_asked() {
    let house = house(json!({}), &[&[ok()]]);
    pressed(&house, "a", Pressure::Avoid);
    assert!(house.ask().await.is_ok());
    assert_eq!(house.fleet.report(None).unwrap()["backends"][0]["pressure"], "avoid");
}

#[tokio::test(start_paused = true)]
async fn one_that_sheds_is_asked_nothing_new_and_says_when_to_come_again() {
    let house = house(json!({}), &[&[ok()]]);
    pressed(&house, "a", Pressure::Shed);
    advance(Duration::from_secs(3)).await;
    let refusal = house.ask().await.err().expect("it sheds");
    assert_eq!((refusal.reason, house.calls()), (Reason::Overloaded, vec![0]));
    let headers = refusal.headers.unwrap();
    assert_eq!(header(&headers, "retry-after"), "7", "{headers:?}");
    let report = house.fleet.report(None).unwrap();
    let backend = &report["backends"][0];
    assert_eq!(
        (&backend["state"], &backend["why"], &backend["pressure"]),
        (&json!("shed"), &json!("pressure"), &json!("shed"))
    );
    assert_eq!(house.fleet.health()["status"], "degraded", "with too much to do is not sick");
    assert_eq!(house.fleet.down(), (0, 1), "and not down");
    sleep(Duration::from_secs(7)).await;
    assert!(house.ask().await.is_ok(), "who comes when it was told is answered");
}

#[tokio::test(start_paused = true)]
async fn what_one_sheds_another_takes_and_a_higher_tier_too() {
    let house = house(json!({}), &[&[ok()], &[ok()]]);
    pressed(&house, "b", Pressure::Shed);
    for _ in 0..10 {
        assert!(house.ask().await.is_ok());
    }
    assert_eq!(house.calls(), [10, 0]);
    let members = [Backend::named("a"), Backend { tier: 1, ..Backend::named("b") }];
    let house = house_of(json!({}), &members, &[&[ok()], &[ok()]]);
    pressed(&house, "a", Pressure::Shed);
    let reply = house.ask().await.expect("the other tier takes it");
    assert_eq!(header(&reply.headers, degraded::HEADER), degraded::FALLBACK_POOL);
    assert_eq!(house.calls(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_pressure_that_nobody_renews_is_over() {
    let house = house(json!({}), &[&[ok()]]);
    pressed(&house, "a", Pressure::Shed);
    sleep(LEASE / 2).await;
    pressed(&house, "a", Pressure::Shed);
    sleep(LEASE - Duration::from_millis(1)).await;
    assert!(house.ask().await.is_err(), "it was renewed");
    sleep(Duration::from_millis(1)).await;
    assert!(house.ask().await.is_ok(), "whoever pressed may have died");
    assert_eq!(house.state(0), "closed");
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_goes_on_and_who_waits_is_told_at_once() {
    let slow = Script::late(Duration::from_secs(5), "{}");
    let room = json!({ "admission": { "adaptive": false, "initial_limit": 1, "max_limit": 1, "min_limit": 1 } });
    let house = house(room, &[&[slow]]);
    let begun = Instant::now();
    let waits = async {
        sleep(Duration::from_millis(1)).await;
        let answer = house.ask().await;
        (answer.err().expect("it was turned away").reason, begun.elapsed())
    };
    let presses = async {
        sleep(Duration::from_secs(1)).await;
        pressed(&house, "a", Pressure::Shed);
    };
    let (first, (reason, after), ()) = tokio::join!(house.ask(), waits, presses);
    assert!(first.is_ok(), "what it is at goes on to its end");
    assert_eq!(reason, Reason::Overloaded);
    assert!(after < Duration::from_millis(1100), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn the_operators_word_stands_above_any_pressure() {
    let house = house(json!({}), &[&[ok()]]);
    pressed(&house, "a", Pressure::Shed);
    house.fleet.obey(house.fleet.named("a").unwrap(), Override::ForcedClosed);
    assert!(house.ask().await.is_ok());
    assert!(!house.fleet.press("nobody", Pressure::Shed, LEASE), "a name that is nobody's presses nobody");
}
