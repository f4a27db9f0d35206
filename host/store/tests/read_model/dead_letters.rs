//! Events that are set aside: they commit with rows and position, and are found again.

use cairn_model::{Position, StreamKey, Timestamp};
use cairn_store::{ApplyError, Batch, DeadLetter, LetterFilter};
use uuid::Uuid;

use crate::support::*;

fn stream(number: u128) -> StreamKey {
    StreamKey::new("default", "thing", Uuid::from_u128(number))
}

fn letter(position: Position, stream: &StreamKey, waits_for: Option<Position>) -> DeadLetter {
    DeadLetter {
        position,
        stream: stream.clone(),
        version: position,
        event_type: "ThingMade".into(),
        cause: "it's \"so\"\0".to_owned(),
        detail: Some("0: a\n1: b".to_owned()),
        attempts: if waits_for.is_some() { 0 } else { 4 },
        first_failed_at: Timestamp::from_micros(1_700_000_000_000_001),
        last_failed_at: Timestamp::from_micros(1_700_000_000_000_002),
        digest: "ab".repeat(32),
        fingerprint: format!("print-{}", waits_for.unwrap_or(position)),
        waits_for,
        edited: waits_for.is_none().then(|| r#"{"a":"\u0000é"}"#.to_owned()),
    }
}

fn parked(letters: Vec<DeadLetter>) -> Batch {
    Batch { parked: letters, ..Batch::default() }
}

pub async fn letters_commit_with_rows_and_position(place: Place) {
    let (store, model) = place.with(&small(vec![all_things()])).await;
    let (one, other) = (stream(1), stream(2));
    let all = vec![letter(2, &one, None), letter(3, &other, None), letter(4, &one, Some(2))];
    let batch = Batch { changes: vec![put(1, "a")], ..parked(all.clone()) };
    model.apply_under(1, batch, 0, 4).await.expect("applies");
    let found = model.dead_letters(&LetterFilter::default()).await.expect("letters");
    let clean = |letter: DeadLetter| DeadLetter { cause: "it's \"so\"\u{fffd}".to_owned(), ..letter };
    assert_eq!(found, all.iter().cloned().map(clean).collect::<Vec<_>>());
    let standing = model.standing().await.expect("a standing");
    assert_eq!((standing.position, standing.dead_letters, standing.out_of_order), (4, 3, false));
    assert_eq!(store.instance_standing("things", 0).await.expect("reads"), Some(standing));

    // Pages, streams and kinds.
    let positions = |filter: LetterFilter| {
        let model = model.clone();
        async move {
            let found = model.dead_letters(&filter).await.expect("letters");
            found.into_iter().map(|letter| letter.position).collect::<Vec<_>>()
        }
    };
    assert_eq!(positions(LetterFilter { after: 2, limit: 1, ..LetterFilter::default() }).await, [3]);
    assert_eq!(positions(LetterFilter::stream(&one)).await, [2, 4]);
    let kind = LetterFilter { fingerprint: Some("print-3".to_owned()), ..LetterFilter::default() };
    assert_eq!(positions(kind).await, [3]);
    let groups = model.letter_groups().await.expect("groups");
    let groups: Vec<_> =
        groups.iter().map(|group| (group.first, group.last, group.failed, group.waiting)).collect();
    assert_eq!(groups, [(2, 4, 1, 1), (3, 3, 1, 0)]);
    assert_eq!(model.parked_streams().await.expect("streams"), [one.clone(), other.clone()]);

    // One goes, another one fails again; a refused batch changes neither.
    let again = DeadLetter { attempts: 5, waits_for: None, ..letter(4, &one, Some(2)) };
    let batch = Batch { settled: vec![2], out_of_order: true, ..parked(vec![again]) };
    let late = model.apply_under(0, batch.clone(), 4, 5).await;
    assert!(matches!(late, Err(ApplyError::Superseded { .. })), "{late:?}");
    let elsewhere = model.apply_under(1, batch.clone(), 3, 5).await;
    assert!(matches!(elsewhere, Err(ApplyError::Fenced { .. })), "{elsewhere:?}");
    assert_eq!(positions(LetterFilter::default()).await, [2, 3, 4]);
    model.apply_under(1, batch, 4, 5).await.expect("applies");
    let found = model.dead_letters(&LetterFilter::stream(&one)).await.expect("letters");
    assert_eq!(found.iter().map(|letter| (letter.position, letter.attempts)).collect::<Vec<_>>(), [(4, 5)]);
    assert!(model.standing().await.expect("a standing").out_of_order);

    // An event that the model has not come past stops nobody's stream.
    model.apply_under(1, parked(vec![letter(9, &stream(9), None)]), 5, 5).await.expect("applies");
    assert_eq!(model.parked_streams().await.expect("streams"), [one, other]);
    model.reset().await.expect("resets");
    assert!(positions(LetterFilter::default()).await.is_empty());
}

pub async fn a_failure_is_noted_until_the_next_step(place: Place) {
    let (_store, model) = place.with(&small(vec![all_things()])).await;
    model.apply_under(2, Vec::new(), 0, 1).await.expect("applies");
    model.note_failure(1, "too late").await.expect("notes nothing");
    assert_eq!(model.standing().await.expect("a standing").failure, None);
    model.note_failure(2, "it fails").await.expect("notes");
    assert_eq!(model.standing().await.expect("a standing").failure.as_deref(), Some("it fails"));
    model.apply_under(2, Vec::new(), 1, 2).await.expect("applies");
    assert_eq!(model.standing().await.expect("a standing").failure, None);
}
