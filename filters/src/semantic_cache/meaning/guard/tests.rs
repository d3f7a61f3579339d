use super::*;

fn between(left: &str, right: &str) -> Option<Veto> {
    let (left, right) = (Reading::new(left), Reading::new(right));
    let vetoes = (veto(&left, &right), veto(&right, &left));
    assert_eq!(vetoes.0.is_some(), vetoes.1.is_some(), "it is the same both ways");
    vetoes.0
}

#[test]
fn what_asks_for_something_else_is_vetoed() {
    for (left, right, why) in [
        ("what is 20% of 50", "what is 25% of 50", Veto::Number),
        ("how do i send two hundred dollars", "how do i send three hundred dollars", Veto::Number),
        ("which fruits are good for dogs", "which fruits are not good for dogs", Veto::Negation),
        ("why can i log in", "why can't i log in", Veto::Negation),
        ("how many miles is a marathon", "how many kilometers is a marathon", Veto::Unit),
        ("is it open in june", "is it open in july", Veto::Date),
        ("who founded Acme", "who founded Initech", Veto::Name),
        ("convert mp3 files", "convert mp4 files", Veto::Name),
        ("how do i say hello in italian", "how do i say hello in german", Veto::Place),
        ("convert cups to grams", "convert grams to cups", Veto::Direction),
        ("how do i pay into my account", "how do i pay from my account", Veto::Direction),
        ("is a lion stronger than a tiger", "is a tiger stronger than a lion", Veto::Direction),
        ("how do i log in to the app", "how do i log out of the app", Veto::Direction),
        ("how do i enable dark mode", "how do i disable dark mode", Veto::Antonym),
        ("buying a house", "selling a house", Veto::Antonym),
        ("delete all messages", "delete some messages", Veto::Quantity),
        ("why is the sky blue", "when is the sky blue", Veto::Ask),
        ("how many people are there", "how much people are there", Veto::Ask),
        ("what is your name", "what is my name", Veto::Owner),
    ] {
        let found = between(left, right);
        assert!(found.is_some(), "{left} | {right}");
        assert_eq!(found, Some(why), "{left} | {right}");
    }
}

#[test]
fn what_asks_for_the_same_is_not() {
    for (left, right) in [
        ("how do i reset my password", "what is the way to reset my password"),
        ("How can I reset my password?", "how do i reset the password"),
        ("what is twenty percent of 50", "what is 20% of fifty"),
        ("my card doesn't work", "my card is not working"),
        ("who founded Acme", "who was acme founded by"),
        ("in the app, how do i change my pin", "how do i change my pin in the app"),
        ("can you tell me how to transfer money", "how do i transfer money"),
    ] {
        assert_eq!(between(left, right), None, "{left} | {right}");
    }
}
